"""The package's folders are its floors: imports point downwards, and sizes stay what one can read."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "purejaxrl_gae"
FLOORS = ["kernels", "settings", "parallel", "environments", "program", "runs"]  # from the ground up
COMMANDS = len(FLOORS)  # what lies directly in the package stands on all floors
MODULES = sorted(PACKAGE.rglob("*.py"))


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
        others = set() if parts == ("__init__",) else imported(ast.parse(module.read_text()))  # it names all floors
        upwards += [f"{'.'.join(parts)} -> {'.'.join(other)}" for other in others if floor_of(other) > floor_of(parts)]
    assert not upwards


def test_every_folder_is_a_floor():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(FLOORS)
