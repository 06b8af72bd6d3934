"""python -m benchmarks.scaling: speed and memory of PPO against environments, seeds and devices.

    envs      one agent with 1 ... 65,536 environments, the steps of a rollout fixed
    seeds     1 ... 1,024 agents of a few environments each, divided among all devices as `--num-seeds` does it
    devices   the same agents, and one agent with many environments, on 1 ... all devices; on a CPU every core is one

Every point gets a process of its own, so that memory and devices are its own too. Memory is the most that was in use on
a device where the device counts it, and elsewhere what the compiled program holds there at once: arguments, outputs,
temporaries. A point that does not fit, or whose process fails, is left out, which is said.
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a GPU's memory is for the points' processes

import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from benchmarks.measure import write_json
from benchmarks.worker import Prepared, Unavailable, start

ENVS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)
SEEDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
WIDE = 2048  # environments of the one agent that is divided among devices


@dataclass(frozen=True)
class Options:
    """Trains PPO at many sizes."""

    env: str = "Pendulum-v1"
    """environment"""
    over: tuple[str, ...] = ("envs", "seeds", "devices")
    """what is varied"""
    num_envs: tuple[int, ...] = ENVS
    """sizes of one agent"""
    num_seeds: tuple[int, ...] = SEEDS
    """numbers of agents"""
    num_steps: int = 32
    """steps of a rollout where environments are varied"""
    seconds: float = 1.0
    """a run makes as many updates as take about so long"""
    repeats: int = 5
    """runs that count"""
    picture: Path | None = Path("scaling.png")
    """picture to write; needs matplotlib"""
    json: Path | None = None
    """file to write"""


@dataclass(frozen=True)
class Point:
    """One size.

    Attributes:
      series: what is varied.
      x: its value.
      env: environment.
      num_envs: of one agent.
      num_steps: of a rollout.
      num_agents: agents.
      devices: to use; 0 for as many as there are, of CPU cores for agents only.
    """

    series: str
    x: int
    env: str
    num_envs: int
    num_steps: int
    num_agents: int = 1
    devices: int = 0


def points(options: Options, num_devices: int) -> list[Point]:
    """All sizes, series by series."""
    found = []
    if "envs" in options.over:
        found += [Point("envs", size, options.env, size, options.num_steps) for size in options.num_envs]
    if "seeds" in options.over:
        found += [Point("seeds", size, options.env, 16, 128, size) for size in options.num_seeds]
    if "devices" in options.over:
        for number in range(1, num_devices + 1):
            if WIDE % number == 0:
                found.append(Point("devices, one agent", number, options.env, WIDE, 32, 1, number))
            found.append(Point("devices, agents", number, options.env, 16, 128, 8 * num_devices, number))
    return found


def num_minibatches(num_envs: int, num_steps: int) -> int:
    """4, or fewer where a rollout has not so many steps."""
    return next(number for number in (4, 2, 1) if num_envs * num_steps % number == 0)


def prepare(seconds: float, **point: Any) -> Prepared:
    """In a point's own process: compiles, and chooses how many updates a run makes."""
    import resource

    from purejaxrl_gae import PPOConfig
    from purejaxrl_gae.program import algorithms
    from purejaxrl_gae.runs import devices
    from purejaxrl_gae.runs.programs import AgentPrograms, OneAgent
    from purejaxrl_gae.runs.run_options import RunOptions

    size = Point(**point)
    claimed = devices.claim(RunOptions(devices=size.devices), size.num_agents)
    minibatches = num_minibatches(size.num_envs, size.num_steps)
    config = PPOConfig(
        env=size.env,
        num_envs=size.num_envs,
        num_steps=size.num_steps,
        num_minibatches=minibatches,
        update_epochs=4,
        normalize_observations=False,
        anneal_lr=False,
    )
    algorithm = algorithms.make_algorithm(config)
    if size.num_agents == 1:
        programs = OneAgent(algorithm, claimed)
    else:
        each = jax.tree.map(lambda value: np.full(size.num_agents, value), algorithm.hyperparameters)
        programs = AgentPrograms(algorithm, size.num_agents, claimed).run_of(np.arange(size.num_agents), each)
    held = {"state": programs.init()}
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(held["state"]))

    def seconds_of(updates: int) -> float:
        started = time.perf_counter()
        held["state"], _ = programs.advance(held["state"], updates)
        jax.block_until_ready(held["state"])
        return time.perf_counter() - started

    seconds_of(1)
    updates = max(1, min(10_000, round(seconds / seconds_of(1))))
    statistics_of_device = claimed[0].memory_stats() or {}
    notes = {
        "updates": updates,
        "devices": len(claimed),
        "state_bytes": state_bytes,
        "program_bytes": programs.program_bytes,
        "peak_bytes": statistics_of_device.get("peak_bytes_in_use"),
        "process_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    items = size.num_agents * size.num_envs * size.num_steps * updates
    return Prepared(programs.compile_seconds, lambda _: seconds_of(updates), items, notes=notes)


def measure(point: Point, options: Options) -> dict[str, Any] | None:
    """Speed and memory of one size, or None where it cannot be had."""
    try:
        ready = start("benchmarks.scaling:prepare", {"seconds": options.seconds, **asdict(point)})
        seconds = [ready.run(turn) for turn in range(options.repeats)]
        ready.close()
    except Unavailable as reason:
        print(f"{point.series:<20} {point.x:>8,} left out: {reason}", flush=True)
        return None
    speed = ready.items / statistics.median(seconds)
    memory = ready.notes["peak_bytes"] or ready.notes["program_bytes"]
    print(
        f"{point.series:<20} {point.x:>8,} {speed:>14,.0f} steps/s {memory / 1e6:>10,.0f} MB   "
        f"compile {ready.compile_seconds:>5.1f} s",
        flush=True,
    )
    return {**asdict(point), "steps_per_second": speed, "seconds": seconds, "bytes": memory, **ready.notes}


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Speed above, memory below, both axes logarithmic; one column for each thing that is varied."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = sorted({result["series"].split(",")[0] for result in results}, key=("envs", "seeds", "devices").index)
    figure, axes = plt.subplots(2, len(columns), figsize=(4.2 * len(columns), 6.2), layout="constrained", squeeze=False)
    labels = {"envs": "environments of one agent", "seeds": "agents", "devices": "devices"}
    for column, name in enumerate(columns):
        for series in dict.fromkeys(result["series"] for result in results if result["series"].startswith(name)):
            chosen = [result for result in results if result["series"] == series]
            x = [result["x"] for result in chosen]
            label = series.partition(", ")[2]
            axes[0, column].loglog(x, [result["steps_per_second"] for result in chosen], "o-", label=label)
            axes[1, column].loglog(x, [result["bytes"] / 1e6 for result in chosen], "o-", label=label)
        for row, what in enumerate(("environment steps per second", "memory, MB")):
            axes[row, column].set_xlabel(labels[name])
            axes[row, column].set_ylabel(what)
            axes[row, column].grid(alpha=0.3, which="both")
        if name == "devices":
            axes[0, column].legend(frameon=False)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


def main() -> None:
    options = tyro.cli(Options)
    wrong = [name for name in options.over if name not in ("envs", "seeds", "devices")]
    if wrong:
        raise SystemExit(f"over has {wrong[0]!r}; it must be some of envs, seeds, devices")
    on_cpu = jax.default_backend() == "cpu"
    num_devices = (os.cpu_count() or 1) if on_cpu else jax.device_count()
    results = [measure(point, options) for point in points(options, num_devices)]
    measured = [result for result in results if result is not None]
    write_json(options.json, measured)
    if options.picture is not None and measured:
        draw(measured, options.picture)


if __name__ == "__main__":
    main()
