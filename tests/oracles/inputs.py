"""What the oracles are asked: small batches and weights from NumPy's random numbers, and the file they are kept in.

Weights have the names and shapes of our parameters, `Dense_0/kernel` being `[inputs, outputs]`. A file holds flat names
with slashes; whatever starts with `expected/` is the oracle's answer, the rest is the question.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
Numbers = dict[str, np.ndarray]


def weights(rng: np.random.Generator, name: str, sizes: tuple[int, ...]) -> Numbers:
    """Dense layers between those sizes, uniform within 1 / sqrt(inputs) as PyTorch draws them."""
    found = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        bound = inputs**-0.5
        found[f"{name}/Dense_{layer}/bias"] = rng.uniform(-bound, bound, outputs).astype(np.float32)
        found[f"{name}/Dense_{layer}/kernel"] = rng.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
    return found


def pendulum(rng: np.random.Generator, lengths: tuple[int, ...], num_actions: int = 1) -> Numbers:
    """Whole episodes, one behind the other: observations `[B, 3]`, standard normal noise `[B, A]`, rewards, ends."""
    size = sum(lengths)
    angles = np.cumsum(rng.normal(0.1, 0.3, size))
    observations = np.stack([np.cos(angles), np.sin(angles), rng.normal(0.0, 2.0, size)], axis=1)
    ended = np.zeros(size, bool)
    ended[np.cumsum(lengths) - 1] = True
    return {
        "observations": observations.astype(np.float32),
        "noise": rng.normal(size=(size, num_actions)).astype(np.float32),
        "rewards": (-(angles**2) % 7.0 - 0.1 * observations[:, 2] ** 2).astype(np.float32),
        "ended": ended,
    }


def cart_poles(rng: np.random.Generator, lengths: np.ndarray, num_steps: int, ends_early: np.ndarray) -> Numbers:
    """Trajectories of CartPole's shape, `[T, N, ...]`: observations, successors, noise for actions, rewards, ends.

    Args:
      rng: of everything.
      lengths: `[N]` steps that are real; the ones behind repeat the last, as the lecture pads.
      num_steps: T.
      ends_early: `[N]` bool, whether the last real step ends the episode.
    """
    num_envs = lengths.size
    walk = np.cumsum(rng.normal(0.0, 0.3, (num_steps + 1, num_envs, 4)), axis=0).astype(np.float32)
    real = np.minimum(np.arange(num_steps)[:, None], lengths - 1)
    columns = np.arange(num_envs)
    return {
        "observations": walk[real, columns],
        "next_observations": walk[real + 1, columns],
        "noise": rng.uniform(size=(num_steps, num_envs)).astype(np.float32)[real, columns],
        "rewards": np.ones((num_steps, num_envs), np.float32),
        "ended": (real == lengths - 1) & ends_early,
    }


def save(name: str, numbers: Numbers) -> None:
    """Writes a file, doubles as floats where nothing is lost that a test could see."""
    kept = {key: value.astype(np.float32) if value.dtype == np.float64 else value for key, value in numbers.items()}
    np.savez_compressed(FOLDER / name, **kept)
    print(f"{name}: {len(kept)} arrays, {(FOLDER / name).stat().st_size / 1e3:.0f} kB")


def load(name: str) -> dict:
    """A file's numbers as nested dictionaries, one level for each slash."""
    tree: dict = {}
    with np.load(FOLDER / name) as arrays:
        for key in arrays.files:
            *above, last = key.split("/")
            place = tree
            for part in above:
                place = place.setdefault(part, {})
            place[last] = arrays[key]
    return tree
