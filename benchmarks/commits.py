"""python -m benchmarks.commits COMMIT: the rows of `benchmarks.training`, this library here beside itself at a commit.

Each side is a process of its own that runs one piece of code, `benchmarks.any_commit`, with the package of its tree.
Both get the same config and train in turns. A ratio over one says that the working tree is faster. Where both trees
compile to the same instructions, as is said, ratios are noise.
"""

import contextlib
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.arguments import refuse_unknown_rows
from benchmarks.measure import ROOT, Side, Timing, bar, interleave, print_table, write_json
from benchmarks.training import ROWS, SETTINGS, Row
from benchmarks.worker import start

KNOWN = tuple(name for name, row in ROWS.items() if row.algorithm in SETTINGS)


@dataclass(frozen=True)
class Options:
    """Times training here and at a commit."""

    commit: Annotated[str, tyro.conf.Positional]
    """what to compare the working tree with"""
    rows: tuple[str, ...] = KNOWN
    """which rows; all, if not given"""
    repeats: int = 3
    """turns that count, in each pair of processes"""
    processes: int = 5
    """pairs of processes"""
    speed: float = 0.97
    """bar: speed here over speed there, at least"""
    compile: float = 1.05
    """bar: compile time here over compile time there, at most"""
    json: Path | None = None
    """file to write"""


def spec_of(row: Row) -> dict[str, Any]:
    """Returns the keywords of a side: the settings of `benchmarks.training`."""
    shape = {"env": row.env, "num_envs": row.num_envs, "num_steps": row.num_steps}
    shape["total_timesteps"] = row.num_envs * row.num_steps * row.updates
    return {"algorithm": row.algorithm, "fields": shape | SETTINGS[row.algorithm], "num_seeds": row.num_seeds}


@contextlib.contextmanager
def package_at(commit: str) -> Iterator[Path]:
    """A folder with nothing but the package as it was, for a process to be started in."""
    with tempfile.TemporaryDirectory() as scratch:
        tree, folder = Path(scratch) / "tree", Path(scratch) / "package"
        subprocess.run(["git", "worktree", "add", "--detach", "-q", tree, commit], cwd=ROOT, check=True)
        try:
            folder.mkdir()
            (folder / "purejaxrl_gae").symlink_to(tree / "purejaxrl_gae")
            yield folder
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)


def timed(row: Row, folders: dict[str, Path], options: Options) -> list[Timing]:
    """Both sides in turns, in several pairs of processes: one process may be a tenth faster than its twin."""
    spec = spec_of(row)
    sides: dict[str, Side] = {
        name: lambda folder=folder: start("benchmarks.any_commit:side", spec, folder=folder)
        for name, folder in folders.items()
    }
    pairs = [interleave(sides, options.repeats) for _ in range(options.processes)]
    return [merged(of_one_side) for of_one_side in zip(*pairs, strict=True)]


def merged(timings: Sequence[Timing]) -> Timing:
    """One side's timings of several processes: all runs, the median ratio, the shortest time to compile."""
    return replace(
        timings[0],
        compile_seconds=min(timing.compile_seconds for timing in timings),
        seconds=statistics.median(timing.seconds for timing in timings),
        per_second=statistics.median(timing.per_second for timing in timings),
        ratio=statistics.median(timing.ratio for timing in timings),
        runs=[seconds for timing in timings for seconds in timing.runs],
    )


def same_program(here: Timing, before: Timing) -> str:
    """Says whether the compilers made one program of both sides, which no noise can hide."""
    if not here.notes.get("instructions"):
        return "programs not compared"
    same = here.notes["instructions"] == before.notes["instructions"]
    return "the same instructions, one by one" if same else "other instructions"


def main() -> None:
    options = tyro.cli(Options, prog="python -m benchmarks.commits")
    refuse_unknown_rows(options.rows, KNOWN)
    results = {}
    with package_at(options.commit) as there:
        for name in options.rows:
            here, before = timings = timed(ROWS[name], {"here": ROOT, options.commit: there}, options)
            print_table(ROWS[name].title, timings)
            print(f"{name}: {same_program(here, before)}", flush=True)
            compiling = here.compile_seconds / before.compile_seconds
            bars = [
                bar(f"{name}, speed", before.ratio, options.speed, at_least=True),
                bar(f"{name}, compile time", compiling, options.compile, at_least=False),
            ]
            results[name] = {"row": asdict(ROWS[name]), "timings": timings, "bars": bars}
            write_json(options.json, results)


if __name__ == "__main__":
    main()
