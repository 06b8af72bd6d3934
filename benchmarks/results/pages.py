"""Tables in README and docs that come from a suite: marked by a comment that names it, made by --update, tested.

<!-- suite classic -->
| | PPO | ...
<!-- end of suite -->

`<!-- suite classic ppo -->` is for one algorithm of it.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.results import suites, tables
from benchmarks.results.records import ResultsFile
from benchmarks.results.suites import ROOT

MARKED = re.compile(r"(<!-- suite ([\w-]+(?: \w+)?) -->\n)(.*?)(<!-- end of suite -->)", re.DOTALL)


def pages(root: Path = ROOT) -> list[Path]:
    """Lists the pages that may have such tables."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def marked(text: str) -> list[tuple[str, str]]:
    """Lists the suites that a page names, each with what stands between the marks."""
    return [(found[2], found[3]) for found in MARKED.finditer(text)]


def table_of(name: str, results: Path = ROOT / "docs" / "results") -> str:
    """Returns the table that a mark names, `SUITE` or `SUITE ALGORITHM`, of the records in a folder."""
    suite_name, _, algorithm = name.partition(" ")
    suite = suites.load(suite_name)
    if algorithm:
        suite = replace(suite, configurations=tuple(each for each in suite.configurations if each.algo == algorithm))
    return tables.table(suite, ResultsFile(results / f"{suite_name}.json").read().records)


def updated(text: str, table_of: Callable[[str], str]) -> str:
    """Returns a page with every marked table as its suite's records have it."""
    return MARKED.sub(lambda found: f"{found[1]}{table_of(found[2])}{found[4]}", text)
