"""python -m benchmarks.results SUITE: trains what a suite names and has not been trained yet, two processes at once.

    python -m benchmarks.results classic              # start, or go on after whatever stopped it
    python -m benchmarks.results classic --retry      # run the failed ones again too, one seed a process
    python -m benchmarks.results classic --table      # print the table of what there is
    python -m benchmarks.results classic --figures    # draw it
    python -m benchmarks.results all --update         # put every suite's table where README and docs name it

Records are docs/results/SUITE.json, run folders runs/suites/SUITE/. How to run the long ones: docs/evidence.md.
"""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from tyro.conf import Positional

from benchmarks.results import children, drawing, pages, processes, suites, tables
from benchmarks.results.records import Record, ResultsFile, has_failed
from benchmarks.results.schedule import Scheduler
from benchmarks.results.suites import ROOT, Configuration, Job, Key, Suite
from purejaxrl_gae.runs.interrupts import StopRequests
from purejaxrl_gae.settings.errors import Interrupted, RunError, UserError


@dataclass(frozen=True)
class Options:
    """Runs a suite, or shows what there is of it."""

    suite: Positional[str]
    """name of a file of benchmarks/suites, or its path; `all` with --update"""
    table: bool = False
    """print its table as Markdown"""
    figures: bool = False
    """draw learning curves and performance profiles, or heat maps"""
    update: bool = False
    """put its table between its marks in README and docs"""
    retry: bool = False
    """run those again that failed"""
    seeds: int = 0
    """train only so many seeds of each configuration; 0: all"""
    envs: tuple[str, ...] = ()
    """train only these tasks"""
    algorithms: tuple[str, ...] = ()
    """train only these algorithms"""
    processes: int = 2
    """runs at once"""
    results: Path = ROOT / "docs" / "results"
    """folder of the records and figures"""
    folders: Path = ROOT / "runs" / "suites"
    """folder of the run folders"""


def chosen(suite: Suite, options: Options) -> list[Configuration]:
    """Returns the configurations, with the seeds, that the options leave."""
    left = [
        each
        for each in suite.configurations
        if (not options.envs or each.env in options.envs)
        and (not options.algorithms or each.algo in options.algorithms)
    ]
    if not left:
        raise UserError(f"suite {suite.name} has nothing of envs {options.envs} and algorithms {options.algorithms}")
    return [replace(each, seeds=each.seeds[: options.seeds or None]) for each in left]


def waiting(configurations: list[Configuration], records: dict[Key, Record], retry: bool) -> list[Job]:
    """Returns the jobs to be run: what has no record, and with `retry` what failed, one seed a process."""
    ended = set(records)
    left = suites.jobs(configurations, ended)
    if not retry:
        return left
    worked = {key for key, record in records.items() if not has_failed(record)}
    unseen = {key for configuration in configurations for key in configuration.keys} - ended
    return left + suites.jobs(configurations, worked | unseen, alone=True)


def run(suite: Suite, options: Options) -> None:
    """Runs what is missing.

    Raises:
      UserError: something in the suite is wrong, or another process runs it.
      RunError: a run failed.
      Interrupted: it was asked to stop; what had ended is kept.
    """
    configurations = chosen(suite, options)
    for configuration in configurations:
        if not configuration.is_peer:
            configuration.training_config()
    file = ResultsFile(options.results / f"{suite.name}.json")
    file.lock()
    try:
        file.read()
        jobs = waiting(configurations, file.records, options.retry)
        with StopRequests() as stop:
            _run_jobs(suite, jobs, file, options, stop)
        if stop.signal is not None:
            raise Interrupted(128 + stop.signal)
        _say_failed(configurations, file)
    finally:
        file.close()


def _run_jobs(suite: Suite, jobs: list[Job], file: ResultsFile, options: Options, stop: StopRequests) -> None:
    versions, started = {"commit": processes.commit()}, time.perf_counter()
    total, ended = sum(len(job.seeds) for job in jobs), 0
    at_once = f"{options.processes} at once, at {versions['commit']}"
    print(f"{suite.name}: {total} runs in {tables.counted(len(jobs), 'process')}, {at_once}", flush=True)

    def start(job: Job, slot: int) -> processes.RunProcess:
        folder = options.folders.resolve() / suite.name / processes.folder_of(job)
        return processes.RunProcess(job, folder, versions, children.cores_of(slot, options.processes))

    def keep(job: Job, records: list[Record]) -> None:
        nonlocal ended
        file.add(records)
        for record in records:
            ended += 1
            found = f"failed: {record['error']}" if has_failed(record) else tables.number(record["eval_mean"])
            seconds = time.perf_counter() - started
            name = f"{job.configuration.name}, seed {record['seed']}"
            print(f"[{seconds:6.0f} s] {ended} of {total}: {name}: {found}", flush=True)

    Scheduler(start, keep, slots=options.processes, stopped=lambda: stop.signal is not None).run(jobs)


def _say_failed(configurations: list[Configuration], file: ResultsFile) -> None:
    wanted = [key for configuration in configurations for key in configuration.keys]
    failures = [key for key in wanted if key in file.records and has_failed(file.records[key])]
    if failures:
        raise RunError(
            f"{len(failures)} of {len(wanted)} runs failed; {file.path} says of each why, --retry runs them again"
        )


def update(options: Options) -> None:
    """Rewrites the marked tables of a suite, or of all."""
    for page in pages.pages():
        text = page.read_text()
        named = [name for name, _ in pages.marked(text) if options.suite in (name.split()[0], "all")]
        bodies = dict(pages.marked(text)) | {name: pages.table_of(name, options.results) for name in named}
        page.write_text(pages.updated(text, bodies.__getitem__))
        print("\n".join(f"{page.relative_to(ROOT)}: {name}" for name in named), end="\n" if named else "")


def show_or_run(options: Options) -> None:
    """Does what the options ask for."""
    if options.processes < 1 or options.seeds < 0:
        raise UserError(f"processes is {options.processes} and seeds {options.seeds}; they must be at least 1 and 0")
    if options.update:
        return update(options)
    suite = suites.load(options.suite)
    if not (options.table or options.figures):
        return run(suite, options)
    records = ResultsFile(options.results / f"{suite.name}.json").read().records
    if options.table:
        print(tables.table(suite, records), end="")
    if options.figures:
        print("\n".join(f"wrote {path}" for path in drawing.draw(suite, records, options.results)))


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits."""
    from purejaxrl_gae.cli import run_and_exit

    options = tyro.cli(Options, args=sys.argv[1:] if arguments is None else arguments)
    run_and_exit(lambda: show_or_run(options))


if __name__ == "__main__":
    main()
