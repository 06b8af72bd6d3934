"""The page on conventions names options that there are."""

import dataclasses
import re
from pathlib import Path

import purejaxrl_gae
from purejaxrl_gae.program.algorithms import CONFIG_CLASSES

PAGE = Path(__file__).parents[1] / "docs" / "parity.md"


def test_the_parity_page_names_options_that_there_are():
    configs = [purejaxrl_gae.program.algorithms.config_class(name) for name in CONFIG_CLASSES]
    known = {field.name for config in configs for field in dataclasses.fields(config)}
    rows = [line.split("|")[2] for line in PAGE.read_text().splitlines() if line.count("|") > 4]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(named) > 15
    assert named - {"make_value_function"} <= known
    assert hasattr(purejaxrl_gae, "make_value_function")
