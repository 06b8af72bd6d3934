"""The tutorial: its two forms are in step, open in Colab and run. The site executes the Markdown when it is built."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

from tests.pages import ROOT

SPEC = importlib.util.spec_from_file_location("notebooks", ROOT / "docs" / "notebooks.py")
notebooks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(notebooks)
SOURCES = notebooks.sources()


def name_of(source: Path) -> str:
    return source.stem


def cells_of(source: Path) -> list[dict]:
    return json.loads(notebooks.target(source).read_text())["cells"]


def test_there_are_five_and_no_notebook_without_its_source():
    assert len(SOURCES) == 5
    assert sorted(notebooks.target(SOURCES[0]).parent.iterdir()) == [notebooks.target(source) for source in SOURCES]


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_both_forms_are_in_step(source):
    message = "run `python docs/notebooks.py`"
    assert notebooks.target(source).read_text() == notebooks.as_notebook(source), message
    code = ["".join(cell["source"]) for cell in cells_of(source) if cell["cell_type"] == "code"]
    assert code[1:] == notebooks.code_cells(source)


def first_cell_run(monkeypatch, is_installed, repository=None):
    """Runs the first cell, and returns what it would have pip install."""
    installed = []
    code = re.sub(r"%pip install -q (.*)", r"install(f\1)", notebooks.installing(repository))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SPEC if is_installed else None)
    exec(code, {"install": installed.append})
    return installed


def test_the_first_cell_installs_a_wheel_that_lies_beside_or_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert first_cell_run(monkeypatch, is_installed=True) == []
    with pytest.raises(SystemExit, match="upload a wheel beside this notebook"):
        first_cell_run(monkeypatch, is_installed=False)
    (tmp_path / "purejaxrl_gae-0.1.0-py3-none-any.whl").touch()
    assert first_cell_run(monkeypatch, is_installed=False) == ["purejaxrl_gae-0.1.0-py3-none-any.whl[plot]"]


def test_the_first_cell_takes_the_address_of_pyproject_once_there_is_one(monkeypatch):
    address = "https://somewhere.net/purejaxrl_gae.git"
    assert first_cell_run(monkeypatch, is_installed=True, repository=address) == []
    found = first_cell_run(monkeypatch, is_installed=False, repository=address)
    assert found == [f"purejaxrl-gae[plot] @ git+{address}"]


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_every_notebook_begins_with_it(source):
    assert "".join(cells_of(source)[0]["source"]) == notebooks.installing()


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_no_outputs_are_kept(source):
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells_of(source))


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_it_is_python_and_ends_in_exercises(source):
    for code in notebooks.code_cells(source):
        ast.parse(code)
    assert "\n## Exercises\n\n1. " in source.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_it_runs_from_top_to_bottom(source):
    import matplotlib

    matplotlib.use("Agg")
    names: dict[str, object] = {"__name__": source.stem}
    for number, code in enumerate(notebooks.code_cells(source)):
        exec(compile(code, f"{source.name}, cell {number}", "exec"), names)
