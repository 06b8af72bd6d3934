"""python -m benchmarks.time_limits: draws the truth table of docs/theory/gae.md, the advantages of four treatments."""

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import tyro

from purejaxrl_gae import kernels

PICTURE = Path(__file__).parent.parent / "docs" / "time_limits.png"


@dataclass(frozen=True)
class Options:
    """Draws the picture."""

    picture: Path = PICTURE
    """where to"""


def treatments() -> dict[str, np.ndarray]:
    """Returns the advantages of the four steps under each treatment of the time limit after the second."""
    values = jnp.array([5.0, 4.0, 3.0, 2.0])
    next_values = jnp.array([4.0, 3.5, 2.0, 1.0])
    never, limit = jnp.zeros(4, bool), jnp.array([False, True, False, False])
    known = {
        "truncated: right": (next_values, never, limit),
        "taken for an end": (next_values, limit, never),
        "end ignored": (next_values, never, never),
        "value of the next start": (next_values.at[1].set(values[2]), never, limit),
    }
    advantages = {}
    for name, (beyond, terminated, truncated) in known.items():
        found, _ = kernels.gae(jnp.ones(4), values, beyond, terminated, truncated, gamma=0.99, gae_lambda=0.95)
        advantages[name] = np.asarray(found)
    return advantages


def draw(advantages: dict[str, np.ndarray], path: Path) -> None:
    """Draws a group of bars for each step."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
    for row, (name, found) in enumerate(advantages.items()):
        places = np.arange(4) + 0.2 * (row - 1.5)
        bars = axis.bar(places, found, 0.18, label=name, color=f"C{row}")
        axis.bar_label(bars, [f"{each:.2f}" for each in found], fontsize=7, padding=2)
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.axvline(1.5, color="black", linestyle=":", label="the time limit")
    axis.set(xticks=range(4), xticklabels=[f"step {t}" for t in range(4)], ylabel="advantage", ylim=(-3.6, 1.2))
    axis.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=130)
    print(f"wrote {path}")


def main() -> None:
    options = tyro.cli(Options)
    draw(treatments(), options.picture)


if __name__ == "__main__":
    main()
