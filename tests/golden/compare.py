"""python -m tests.golden.compare COMMIT: the golden runs at a commit and here, on this machine, bit for bit."""

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Makes both sides and prints what differs; exit code 1 where anything does."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.compare", description=__doc__)
    parser.add_argument("commit", help="what to compare the working tree with")
    parser.add_argument("--only", nargs="*", default=None, metavar="NAME", help="runs to make; all, if not given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", "-q", tree, options.commit], cwd=ROOT, check=True)
        try:
            before = numbers_of(tree, Path(scratch) / "before", options.only)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
        after = numbers_of(ROOT, Path(scratch) / "after", options.only)
    differing = {name: differences(before[name], after[name]) for name in before}
    for name, found in differing.items():
        print(f"{name:28} {'equal' if not found else f'{len(found)} differ: ' + '; '.join(found[:3])}")
    sys.exit(any(differing.values()))


def numbers_of(tree: Path, folder: Path, only: list[str] | None) -> dict[str, dict[str, Any]]:
    """What each run gives with the package of a tree, made in one process of its own."""
    folder.mkdir()
    script = (
        "import json, pickle, sys; from pathlib import Path; sys.path[:0] = sys.argv[1:3]\n"
        "from tests.golden import runs\n"
        "names, folder = json.loads(sys.argv[4]) or list(runs.RUNS), Path(sys.argv[3])\n"
        "found = {name: runs.make(name, folder / name) for name in names}\n"
        "(folder / 'numbers.pickle').write_bytes(pickle.dumps(found))\n"
    )
    arguments = [str(tree), str(ROOT), str(folder), json.dumps(only)]
    subprocess.run([sys.executable, "-c", script, *arguments], cwd=folder, check=True)
    return pickle.loads((folder / "numbers.pickle").read_bytes())


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of what is not the same to the last bit, or is there on one side only."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            found.append(f"{name} is only {'before' if name in before else 'here'}")
        elif not np.array_equal(np.asarray(before[name]), np.asarray(after[name]), equal_nan=_is_real(before[name])):
            found.append(name)
    return found


def _is_real(values: Any) -> bool:
    return np.issubdtype(np.asarray(values).dtype, np.floating)


if __name__ == "__main__":
    main()
