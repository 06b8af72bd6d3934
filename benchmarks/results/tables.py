"""Tables of a suite as Markdown, made of its records and of nothing else."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.results.records import Record, has_failed
from benchmarks.results.suites import Configuration, Key, Suite, grid_name
from purejaxrl_gae.runs.statistics import Aggregate, mean_of_task_means, with_interval

ALGORITHMS = {
    "ppo": "PPO",
    "trpo": "TRPO",
    "a2c": "A2C",
    "reinforce": "REINFORCE",
    "off_policy": "off-policy actor-critic",
    "sb3_ppo": "SB3 PPO",
    "sb3_trpo": "sb3-contrib TRPO",
}
SCORES = {
    "eval_mean": "mean return of 100 evaluation episodes by the policy's mode",
    "eval_sampled_mean": "mean return of 100 evaluation episodes with actions sampled",
    "train_last100": "mean return of the last 100 training episodes",
}
Records = Mapping[Key, Record]


def table(suite: Suite, records: Records) -> str:
    """Returns a suite's table, with a line on what its numbers are and one on the runs that are missing or failed."""
    make: dict[str, Callable[[Suite, Records], str]] = {
        "scores": scores_table,
        "normalised": normalised_table,
        "grid": grid_tables,
        "paired": paired_table,
    }
    return f"{make[suite.table](suite, records)}\n\n{missing(suite, records)}\n"


def missing(suite: Suite, records: Records) -> str:
    """Returns how many runs there are, which failed, at which commits, and the command that makes the others."""
    keys = suite.keys
    ended = [records[key] for key in keys if key in records]
    errors = [record for record in ended if has_failed(record)]
    done = len(ended) - len(errors)
    said = f"{done} of {len(keys)} runs."
    if errors:
        names = [f"{record['algo']} on {task_name(record['env'])}, seed {record['seed']}" for record in errors]
        said += f" Failed: {'; '.join(names)}."
    if len(ended) < len(keys):
        said += f" The others: `python -m benchmarks.results {suite.name}`."
    commits = sorted(
        {short_commit(record["versions"].get("commit", "?")) for record in ended if not has_failed(record)}
    )
    return said + (f" Commits: {', '.join(commits)}." if commits else "")


def scores_of(suite: Suite, configuration: Configuration, records: Records) -> dict[int, float]:
    """Returns seed -> score of the runs of a configuration that have ended well and have one."""
    found = {key.seed: records[key][suite.score] for key in configuration.keys if key in records}
    return {seed: score for seed, score in found.items() if score is not None}


def scores_table(suite: Suite, records: Records) -> str:
    """Returns tasks down, algorithms and variants across: the IQM over seeds with its interval."""
    columns = list(dict.fromkeys((each.algo, each.variant) for each in suite.configurations))
    by_cell = {(each.env, each.algo, each.variant): each for each in suite.configurations}
    most = max(len(each.seeds) for each in suite.configurations)
    rows = []
    for env in dict.fromkeys(each.env for each in suite.configurations):
        cells = [by_cell.get((env, *column)) for column in columns]
        rows.append(
            [task_name(env), *("" if cell is None else _score_cell(suite, cell, records, most) for cell in cells)]
        )
    beside = ["worst seed"] * suite.worst + ["environment steps of a run"] + ["its median seconds"] * suite.wall
    heads = [ALGORITHMS.get(algo, algo) + (f", {variant}" if variant else "") for algo, variant in columns]
    fewer = ", or as many as are said," if any(" seed" in cell for row in rows for cell in row[1:]) else ""
    return markdown(["", *heads], rows) + (
        f"\n\nInterquartile mean over {counted(most, 'seed')}{fewer} of the {SCORES[suite.score]}, with its 95% "
        f"bootstrap interval where it has a width. In round brackets: {', '.join(beside)}."
    )


def _score_cell(suite: Suite, configuration: Configuration, records: Records, most: int) -> str:
    scores = scores_of(suite, configuration, records)
    if not scores:
        return "failed" if any(key in records for key in configuration.keys) else "not run"
    ended = [records[key] for key in configuration.keys if key.seed in scores and key in records]
    said = [f"worst {number(min(scores.values()))}"] if suite.worst else []
    said += [short_steps(max(record["env_steps"] for record in ended))]
    said += [counted(len(scores), "seed")] if len(scores) != most else []
    said += [f"{np.median([record['wall_seconds'] for record in ended]):.0f} s"] if suite.wall else []
    return f"{interval(with_interval(np.array(list(scores.values()))))} ({', '.join(said)})"


def normalised_table(suite: Suite, records: Records) -> str:
    """Returns variants down: scores with the random policy at 0 and the task's best row at 1, beside the paper's.

    A task counts once every variant has a seed; of each variant as many seeds count as all have.
    """
    by_cell = {(each.env, each.variant): scores_of(suite, each, records) for each in suite.configurations}
    named = dict.fromkeys([*suite.paper, *(each.variant for each in suite.configurations)])  # in the paper's order
    variants = [name for name in named if name != suite.random]
    tasks = [
        env
        for env in dict.fromkeys(each.env for each in suite.configurations)
        if all(by_cell.get((env, name)) for name in (*variants, suite.random))
    ]
    if not tasks:
        return "No task has a run of every row yet."
    seeds = min(len(by_cell[env, name]) for env in tasks for name in variants)
    raw = np.array([[list(by_cell[env, name].values())[:seeds] for env in tasks] for name in variants])  # [V, K, R]
    random = np.array([np.mean(list(by_cell[env, suite.random].values())) for env in tasks])
    scaled = normalised(raw, random)
    rows = []
    for name, of_row in zip(variants, scaled, strict=True):
        figure = with_interval(of_row.T, mean_of_task_means)
        paper = f"{suite.paper[name]:.2f}" if name in suite.paper else ""
        here = [f"{figure.value:.2f}", f"{figure.low:.2f} .. {figure.high:.2f}"]
        rows.append([name, *here, paper, *(f"{score:.2f}" for score in of_row.mean(axis=1))])
    heads = ["", "here", "95% interval", "paper", *map(task_name, tasks)]
    return markdown(heads, rows) + (
        f"\n\nThe {SCORES[suite.score]}, 0 for a random policy and 1 for the best row of a task; mean over "
        f"{counted(len(tasks), 'task')} and {counted(seeds, 'seed')}, with its 95% stratified bootstrap interval."
    )


def normalised(raw: np.ndarray, random: np.ndarray) -> np.ndarray:
    """Scales scores `[V, K, R]` so that the random policy's `[K]` is 0 and the mean of a task's best row 1."""
    best = raw.mean(axis=2).max(axis=0)
    return (raw - random[:, None]) / (best - random)[:, None]


def grid_tables(suite: Suite, records: Records) -> str:
    """Returns one table for each task: the first field of the grid down, the second across, the IQM over seeds."""
    down, across = suite.grid
    by_cell = {(each.env, each.variant): scores_of(suite, each, records) for each in suite.configurations}
    parts = []
    for env in dict.fromkeys(each.env for each in suite.configurations):
        rows = [
            [f"{value:g}"]
            + [_middle(by_cell[env, grid_name({down: value, across: other})].values()) for other in suite.grid[across]]
            for value in suite.grid[down]
        ]
        parts.append(
            markdown([f"{task_name(env)}: {down} \\ {across}", *(f"{value:g}" for value in suite.grid[across])], rows)
        )
    seeds = max(len(each.seeds) for each in suite.configurations)
    return "\n\n".join(parts) + f"\n\nInterquartile mean over {counted(seeds, 'seed')} of the {SCORES[suite.score]}."


def _middle(scores: Any) -> str:
    values = np.array(list(scores))
    return number(with_interval(values).value) if values.size else "not run"


def paired_table(suite: Suite, records: Records) -> str:
    """Returns comparisons down, tasks across: mean difference of the runs of equal seeds, with its interval."""
    by_cell = {(each.env, each.variant): scores_of(suite, each, records) for each in suite.configurations}
    tasks = list(dict.fromkeys(each.env for each in suite.configurations))
    rows = []
    for name, (first, second) in suite.pairs.items():
        cells = [_difference(by_cell.get((env, first), {}), by_cell.get((env, second), {})) for env in tasks]
        rows.append([name, *cells])
    seeds = max(len(each.seeds) for each in suite.configurations)
    return markdown(["effect of", *map(task_name, tasks)], rows) + (
        f"\n\nMean over {seeds} pairs of runs of one seed, with and without it, of what it adds to the "
        f"{SCORES[suite.score]}, with its 95% paired bootstrap interval; bold where that leaves out 0."
    )


def _difference(first: dict[int, float], second: dict[int, float]) -> str:
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return "not run"
    found = with_interval(np.array([second[seed] - first[seed] for seed in seeds]), mean_of_task_means)
    text = f"{_signed(found.value)} [{_signed(found.low)}, {_signed(found.high)}]"
    return f"**{text}**" if found.low > 0.0 or found.high < 0.0 else text


def counted(count: int, what: str) -> str:
    """Returns `1 seed` or `3 seeds`, `1 process` or `2 processes`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}{'es' if what.endswith('s') else 's'}"


def _signed(value: float) -> str:
    text = number(value)
    return text if text.startswith("-") or not float(text) else f"+{text}"


def interval(aggregate: Aggregate) -> str:
    """Returns a value, and its interval where it shows a width."""
    value, low, high = (number(each) for each in aggregate)
    return value if low == value == high else f"{value} [{low}, {high}]"


def task_name(env: str) -> str:
    """Returns an environment's name without the package that it is imported from, where it is."""
    library, _, name = env.rpartition(":")
    return name if "." in library else env


def number(value: float | None) -> str:
    """Returns about three digits; `none` where there is no number."""
    if value is None:
        return "none"
    text = f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
    return text.removeprefix("-") if not float(text) else text


def short_commit(commit: str) -> str:
    """Returns the first ten digits of a commit, and what is said of it."""
    digits, space, said = commit.partition(" ")
    return f"{digits[:10]}{space}{said}"


def short_steps(steps: int) -> str:
    """Returns 1,003,520 as 1M and 200,192 as 200k."""
    return f"{steps / 1e6:.2g}M" if steps >= 999_500 else f"{steps / 1e3:.0f}k" if steps >= 1_000 else str(steps)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]]).replace("|  |", "| |")
