"""The site: every name and page is in it, links lead somewhere, code runs as written. `.ci/run` builds it."""

import ast
import doctest
import re
import sys
from pathlib import Path

import pytest

import purejaxrl_gae
from purejaxrl_gae import UserError, kernels
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.settings import config
from tests.pages import ROOT, anchors, blocks, commands, links, prose, refuse_wrong_command

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
LINKED = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
PACKAGE = ROOT / "purejaxrl_gae"
MODULES = {
    "kernels": PACKAGE / "kernels" / "__init__.py",
    "environments": PACKAGE / "environments" / "__init__.py",
    "networks": PACKAGE / "program" / "networks.py",
}
DIRECTIVE = re.compile(r"^\.\. (?:auto|py:)(?:function|class|data):: (\w+)", flags=re.MULTILINE)
WITH_CODE = [page for page in PAGES if {"python", "pycon"} & {block.kind for block in blocks(page)}]
WITH_SLOW_CODE = [page for page in WITH_CODE if any(block.is_slow for block in blocks(page))]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def public_names(module: Path) -> set[str]:
    """What a package re-exports (`import x as x`), or else what a module defines."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef) and module.name != "__init__.py" and not node.col_offset:
            found.add(node.name)
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_in_the_reference(name):
    documented = DIRECTIVE.findall((DOCS / "api" / f"{name}.md").read_text())
    assert sorted(documented) == sorted(public_names(MODULES[name]))


def test_every_name_of_the_package_is_in_the_reference():
    documented = DIRECTIVE.findall((DOCS / "api" / "package.md").read_text())
    assert sorted(documented) == sorted(purejaxrl_gae._EXPORTS)
    everything: dict = {}
    exec("from purejaxrl_gae import *", everything)
    assert set(purejaxrl_gae.__all__) == everything.keys() - {"__builtins__"} >= {*documented, "kernels"}


def test_every_page_is_in_a_table_of_contents():
    listed = {Path("docs/index.md")}
    for page in PAGES:
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE):
            entries = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {(page.parent / f"{entry}.md").relative_to(ROOT) for entry in entries}
    assert sorted(listed) == [page.relative_to(ROOT) for page in PAGES]


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links_and_anchors_lead_somewhere(page):
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_included_is_there(page):
    for path, options in re.findall(r"^```\{(?:literal)?include\} (\S+)\n((?::.*\n)*)", page.read_text(), re.MULTILINE):
        text = (page.parent / path).read_text()
        given = dict(re.findall(r"^:([\w-]+): (.*)$", options, re.MULTILINE))
        if "pyobject" in given:
            node: ast.AST = ast.parse(text)
            for name in given["pyobject"].split("."):
                node = next(each for each in ast.iter_child_nodes(node) if getattr(each, "name", None) == name)
        for marker in ("start-at", "end-at", "start-after", "end-before"):
            assert given.get(marker, "").strip("\"'") in text, given


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name_of)
def test_every_command_is_one_that_the_package_takes(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in commands(page):
        if "my_" not in command:  # a module that the page tells the reader to write
            refuse_wrong_command(command)


def run_blocks(page: Path, slow: bool) -> None:
    """Runs a page's Python from top to bottom in one namespace, and compares what its examples print."""
    names: dict[str, object] = {"__name__": page.stem}
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for number, block in enumerate(blocks(page)):
        where = f"{name_of(page)}, block {number}"
        if block.is_slow and not slow:
            continue
        if block.kind == "python":
            exec(compile(block.text, where, "exec"), names)
        elif block.kind == "pycon":
            example = parser.get_doctest(block.text, {}, where, name_of(page), 0)
            example.globs = names  # not a copy: what an example assigns, functions of the page see
            runner.run(example, clear_globs=False)
            assert not runner.failures, where


@pytest.fixture
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """An empty folder to write to, with the examples beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(DOCS / "examples"))
    yield
    for name in [name for name in sys.modules if name.startswith("my_")]:
        sys.modules.pop(name)


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_code_runs_as_written(page, in_a_folder_of_its_own, capsys):
    run_blocks(page, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_SLOW_CODE, ids=name_of)
def test_code_that_trains_runs_as_written(page, in_a_folder_of_its_own, capsys):
    run_blocks(page, slow=True)


def is_taken(name: str, **fields: object) -> bool:
    kind = algorithms.config_class(name)
    if not set(fields) <= config.field_types(kind).keys():
        return False
    try:
        algorithms.make_algorithm(kind(env="CartPole-v1", **fields))
    except UserError:
        return False
    return True


def test_the_table_of_features_is_true():
    rows = [line.split("|")[1:-1] for line in (DOCS / "choosing.md").read_text().splitlines() if line.startswith("| ")]
    (_, *names), *rows = [[cell.strip() for cell in row] for row in rows]
    features = {
        "network shared": {"network": "shared"},
        "own objective": {"objective": kernels.unclipped_loss},
        "own advantage": {"advantage": kernels.td_residuals},
        "critic in a trust region": {"critic": "trust_region"},
        "rate that follows the KL": {"schedule": "kl_adaptive"},
    }
    assert names == list(features) and [row[0] for row in rows] == list(algorithms.CONFIG_CLASSES)
    for name, *cells in rows:
        assert cells == ["yes" if is_taken(name, **fields) else "no" for fields in features.values()], name


@pytest.mark.parametrize("page", [page for page in PAGES if "$" in prose(page)], ids=name_of)
def test_fractions_have_braces(page):
    """docutils takes `\\tfrac12` for 12 over whatever follows."""
    assert not re.findall(r"\\t?frac[^{]", prose(page))
