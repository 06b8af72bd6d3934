"""The package's folders are its floors: imports point downwards, and sizes stay what one can read."""

import ast
import functools
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "purejaxrl_gae"
FLOORS = ["kernels", "settings", "parallel", "environments", "program", "runs"]  # from the ground up
COMMANDS = len(FLOORS)  # what lies directly in the package stands on all floors
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION, DEEPEST_FUNCTION = 300, 50, 2
NO_VERBS = (
    "Actions|Advantages|Arguments|Arrays|Axes|Bytes|Its|Keys|Logits|Means|Moments|Observations|Outputs|Ratios|Rewards|"
    "Rows|Samples|States|This|Types|Values|Weights"
)


@functools.cache
def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text())


def name_of(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def floor_of(parts: tuple[str, ...]) -> int:
    return FLOORS.index(parts[0]) if parts and parts[0] in FLOORS else COMMANDS


def imported(tree: ast.Module) -> set[tuple[str, ...]]:
    """Modules of the package that a module imports anywhere, as parts below the package's name."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {(*node.module.split("."), alias.name) for alias in node.names}
    return {parts[1:] for parts in found if parts[0] == "purejaxrl_gae"}


def test_imports_point_downwards():
    upwards = []
    for module in MODULES:
        parts = module.relative_to(PACKAGE).with_suffix("").parts
        others = set() if parts == ("__init__",) else imported(parsed(module))  # it names all floors
        upwards += [f"{'.'.join(parts)} -> {'.'.join(other)}" for other in others if floor_of(other) > floor_of(parts)]
    assert not upwards


def test_no_module_imports_itself_by_way_of_others():
    names = {module.relative_to(PACKAGE).with_suffix("").parts: imported(parsed(module)) for module in MODULES}
    graph = {  # from a module to those that it imports, or names of which
        name: {other for each in reached for other in (each, each[:-1]) if other in names} - {name}
        for name, reached in names.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_every_folder_is_a_floor():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(FLOORS)


def functions(node: ast.AST, depth: int = 1) -> Iterator[tuple[ast.FunctionDef, int]]:
    """Functions and how deep each lies in others: 1 for one that lies in none."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield child, depth
        yield from functions(child, depth + isinstance(child, ast.FunctionDef))


def code_lines(function: ast.FunctionDef) -> int:
    """Counts lines but for the docstring's: equation, shapes and example of a kernel may be as long as need be."""
    first = function.body[0]
    has_docstring = ast.get_docstring(function) is not None
    docstring = first.end_lineno - first.lineno + 1 if has_docstring else 0
    return function.end_lineno - function.lineno + 1 - docstring


def begins_with_a_verb(docstring: str) -> bool:
    word = re.match(r"\w*", docstring)[0]
    return word == "See" or (re.fullmatch("[A-Z][a-z]+s", word) is not None and not re.fullmatch(NO_VERBS, word))


def test_modules_and_functions_are_read_at_once():
    long = {name_of(module): count_lines(module) for module in MODULES}
    assert not {name: lines for name, lines in long.items() if lines > LONGEST_MODULE}
    found = [(module, each, depth) for module in MODULES for each, depth in functions(parsed(module))]
    assert not {
        f"{name_of(module)}: {each.name}": code_lines(each)
        for module, each, _ in found
        if code_lines(each) > LONGEST_FUNCTION
    }
    assert not [f"{name_of(module)}: {each.name}" for module, each, depth in found if depth > DEEPEST_FUNCTION]


def test_tests_are_no_longer_than_what_they_test():
    tests = Path(__file__).parent.rglob("*.py")
    assert sum(map(count_lines, tests)) <= sum(map(count_lines, MODULES))


def count_lines(module: Path) -> int:
    return len(module.read_text().splitlines())


def test_docstrings_of_functions_say_what_they_do():
    found = [(module, each) for module in MODULES for each, _ in functions(parsed(module))]
    docstrings = [
        (f"{name_of(module)}: {each.name}", ast.get_docstring(each)) for module, each in found if not is_property(each)
    ]
    assert not {name: text for name, text in docstrings if text and not begins_with_a_verb(text)}


def is_property(function: ast.FunctionDef) -> bool:
    return any("property" in ast.unparse(each) for each in function.decorator_list)


def defined(tree: ast.Module) -> set[str]:
    """Names of all functions, classes, assigned values and imports of a module, at any depth."""
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    found |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imports = [
        alias for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
    ]
    return found | {(alias.asname or alias.name).rpartition(".")[2] for alias in imports}


def test_what_docstrings_refer_to_is_there():
    names = {folder: {each.stem for each in (PACKAGE / folder).glob("*.py")} for folder in FLOORS}
    for module in MODULES:
        owner = module.parent.name if module.stem == "__init__" else module.stem
        names[owner] = names.get(owner, set()) | defined(parsed(module))
    stale = []
    for module in MODULES:
        for reference in re.findall(r"`(?:\w+\.)*(\w+\.\w+)(?:\(.*?\))?`", module.read_text()):
            owner, name = reference.split(".")
            if name not in names.get(owner, {name}) and name not in ("yaml", "npz", "py"):
                stale.append(f"{module.name}: {reference}")
    assert not stale
