"""python -m benchmarks.overhead: what logging, progress and checkpoints cost a run, by switching them off.

The same run through `runs.training_run`, in turns: "off" is one call of the compiled program for all updates with
nothing written on the way; "on" is what a user gets, reports, tensorboard events, progress and a checkpoint every 30
seconds; "checkpoints" is that with a few checkpoints forced, from which follows what one costs. Seconds are the run's
own: without compiling and evaluating, with everything between the program's calls. So that a short run says what a
long one pays, a thirtieth of a checkpoint's cost is added for every second.
"""

import contextlib
import io
import os
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import tyro

from benchmarks.arguments import refuse_unknown_rows
from benchmarks.measure import bar, write_json
from purejaxrl_gae import PPOConfig
from purejaxrl_gae.runs import training_run
from purejaxrl_gae.runs.checkpoints import CHECKPOINT_SECONDS
from purejaxrl_gae.runs.run_options import RunOptions

ROWS = {"16x128": (16, 128), "2048x32": (2048, 32)}
LIMIT = 0.02


@dataclass(frozen=True)
class Options:
    """Times runs of PPO on Pendulum-v1."""

    rows: tuple[str, ...] = tuple(ROWS)
    """environments x steps"""
    total_timesteps: int = 5_000_000
    """environment steps of a run"""
    checkpoints: int = 4
    """checkpoints that are forced"""
    repeats: int = 5
    """turns that count"""
    json: Path | None = None
    """file to write"""


def run_options(config: PPOConfig, checkpoints: int) -> dict[str, RunOptions]:
    """Name -> what a run does besides training."""
    on = RunOptions(eval_episodes=1, devices=1)
    off = replace(on, updates_per_report=config.num_updates, progress=False, tensorboard=False)
    return {
        "off": off,
        "on": on,
        "checkpoints": replace(on, checkpoint_freq=-(-config.env_steps // (checkpoints + 1))),
    }


def seconds_of_a_run(config: PPOConfig, options: RunOptions) -> float:
    """In a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        summary = training_run.run(config, replace(options, run_dir=Path(folder) / "run"))
    return summary["run_seconds"]


def overhead(seconds: dict[str, list[float]], checkpoints: int) -> dict[str, float]:
    """From the seconds of each turn: shares of the training's time, and seconds of one checkpoint.

    Args:
      seconds: of "off", "on" and "checkpoints".
      checkpoints: that were forced in the last.
    """
    turns = list(zip(seconds["off"], seconds["on"], seconds["checkpoints"], strict=True))
    logging = statistics.median(on / off for off, on, _ in turns) - 1.0
    checkpoint = statistics.median((forced - on) / checkpoints for _, on, forced in turns)
    return {
        "logging and progress": logging,
        "seconds of a checkpoint": checkpoint,
        "checkpoints": max(0.0, checkpoint) / CHECKPOINT_SECONDS,
        "in all": logging + max(0.0, checkpoint) / CHECKPOINT_SECONDS,
    }


def measure(row: str, options: Options) -> dict:
    """One row, in turns after one that does not count."""
    num_envs, num_steps = ROWS[row]
    config = PPOConfig(
        env="Pendulum-v1",
        total_timesteps=options.total_timesteps,
        num_envs=num_envs,
        num_steps=num_steps,
        num_minibatches=4,
        update_epochs=4,
        normalize_observations=False,
    )
    sides = run_options(config, options.checkpoints)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(options.repeats + 1):
        for name, side in sides.items():
            elapsed = seconds_of_a_run(config, side)
            if turn > 0:
                seconds[name].append(elapsed)
    found = overhead(seconds, options.checkpoints)
    for name, times in seconds.items():
        print(f"PPO Pendulum {row:<10} {name:<14} {config.env_steps / statistics.median(times):>12,.0f} steps/s")
    print(
        f"logging and progress {found['logging and progress']:+.2%}, a checkpoint "
        f"{found['seconds of a checkpoint'] * 1e3:.0f} ms, "
        f"{found['checkpoints']:.2%} at one in {CHECKPOINT_SECONDS:g} s"
    )
    bars = [bar(f"PPO Pendulum {row}, share of time lost", found["in all"], LIMIT, at_least=False)]
    return {"seconds": seconds, "overhead": found, "bars": bars}


def main() -> None:
    options = tyro.cli(Options)
    refuse_unknown_rows(options.rows, ROWS)
    jax.config.update("jax_num_cpu_devices", 1)
    os.environ["FORCE_COLOR"] = "1"  # progress is drawn as on a terminal
    write_json(options.json, {row: measure(row, options) for row in options.rows})


if __name__ == "__main__":
    main()
