"""python -m benchmarks.trpo_vs_gae: TRPO with Monte-Carlo advantages against TRPO with GAE on the pendulum.

Both sides are whole training runs, vmapped over seeds. `--presets seeds` takes the source documents' own settings,
`--presets tuned` the tuned preset with nothing but the advantage changed. Prints a table, draws their learning
curves, and writes the numbers behind both.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from benchmarks.curves import SeedRuns, train_seeds
from purejaxrl_gae import TRPOConfig, with_preset
from purejaxrl_gae.runs.figures import Curve, draw_curves
from purejaxrl_gae.settings.config import with_values
from purejaxrl_gae.settings.config_files import configs_directory, read_yaml

GOAL = -300.0
EPISODE_STEPS = 200
SETTINGS = {"seeds": "the source documents' settings", "tuned": "the tuned preset"}


@dataclass(frozen=True)
class Options:
    """Compares the two on Pendulum-v1."""

    presets: Literal["seeds", "tuned"] = "seeds"
    """the source documents' settings, or the tuned preset"""
    num_seeds: int = 10
    """agents of each side"""
    picture: Path | None = Path("trpo_vs_gae.png")
    """picture to write"""
    output: Path | None = None
    """JSON file to write"""


def seed_preset(name: str) -> TRPOConfig:
    """A file of configs/seeds as a config."""
    values = read_yaml(configs_directory() / "seeds" / f"{name}.yaml")
    del values["algorithm"], values["goal_score"]
    return with_values(TRPOConfig(), values, name)


def sides_of(presets: str) -> dict[str, TRPOConfig]:
    """Label -> config."""
    if presets == "seeds":
        return {"TRPO": seed_preset("trpo_pendulum"), "TRPO + GAE": seed_preset("trpo_gae_pendulum")}
    tuned = with_preset(TRPOConfig(env="Pendulum-v1"))
    return {"TRPO": replace(tuned, advantage="monte_carlo"), "TRPO + GAE": tuned}


def steps_to_goal(side: SeedRuns) -> list[float]:
    """For each seed, environment steps until 100 episodes averaged the goal; infinite where never."""
    full = side.env_steps >= 100 * EPISODE_STEPS
    reached = (side.scores >= GOAL) & full
    return [float(side.env_steps[np.argmax(row)]) if row.any() else float("inf") for row in reached]


def print_table(results: dict[str, SeedRuns]) -> None:
    """One line for each side."""
    print(f"{'':<12}{'seeds at goal':>14}{'median steps to it':>20}{'best score':>12}{'final score':>13}{'range':>20}"
          f"{'largest KL':>12}{'failed searches':>17}")  # fmt: skip
    for label, side in results.items():
        steps = np.array(steps_to_goal(side))
        final = side.scores[:, -1]
        largest_kl, failed = side.metrics["kl"].max(), side.metrics["line_search_failed"].mean()
        print(
            f"{label:<12}{f'{np.isfinite(steps).sum()} of {len(steps)}':>14}{np.median(steps):>20,.0f}"
            f"{np.nanmax(side.scores, axis=1).mean():>12.1f}{final.mean():>13.1f}"
            f"{f'{final.min():.1f} .. {final.max():.1f}':>20}{largest_kl:>12.5f}{failed:>17.1%}"
        )


def main() -> None:
    options = tyro.cli(Options)
    results = {label: train_seeds(config, options.num_seeds) for label, config in sides_of(options.presets).items()}
    print_table(results)
    if options.picture is not None:
        curves = [
            Curve(label, side.env_steps[np.isfinite(scores)], scores[np.isfinite(scores)])
            for label, side in results.items()
            for scores in side.scores
        ]
        draw_curves(curves, options.picture, f"Pendulum-v1, {SETTINGS[options.presets]}")
        print(f"wrote {options.picture}")
    if options.output is not None:
        document = {
            label: {
                "steps_to_goal": [steps if np.isfinite(steps) else None for steps in steps_to_goal(side)],
                "env_steps": side.env_steps.tolist(),
                "mean": side.scores.mean(axis=0).round(2).tolist(),
                "lowest": side.scores.min(axis=0).round(2).tolist(),
                "highest": side.scores.max(axis=0).round(2).tolist(),
                "seconds": side.seconds,
            }
            for label, side in results.items()
        }
        options.output.write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
