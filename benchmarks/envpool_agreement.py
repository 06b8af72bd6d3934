"""python -m benchmarks.envpool_agreement: EnvPool's MuJoCo tasks beside Gymnasium's, step by step from equal states.

Copies of EnvPool's act at random. Gymnasium's environment is put into the state that each observation shows, the place
left out of it at 0, takes the same action, and what both say of that step is compared. The solver's warm start is not
observed, so a difference of about its tolerance stays. Steps from velocities that an observation clips are left out.
First observations are compared by their means and deviations.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro

CLIPPED = 10.0  # a velocity that Hopper observes when it is as large or larger


@dataclass(frozen=True)
class Options:
    """Compares tasks whose observation is all of the state but the first coordinate."""

    tasks: tuple[str, ...] = ("HalfCheetah-v5", "Hopper-v5")
    """names that both libraries know"""
    steps: int = 1000
    """of each of 8 copies"""


def their_step(world: Any, observation: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """Gymnasium's step from the state that an observation shows."""
    inner, joints = world.unwrapped, world.unwrapped.model.nq
    inner.set_state(np.concatenate([[0.0], observation[: joints - 1]]), observation[joints - 1 :])
    shown, reward, terminated, *_ = inner.step(action)
    return shown, float(reward), terminated


def compare(task: str, steps: int) -> dict[str, float]:
    """Steps and ends, differences over all of them, and of first observations' moments in deviations of one."""
    import envpool
    import gymnasium

    pool, world = envpool.make(task, env_type="gymnasium", num_envs=8, seed=0), gymnasium.make(task)
    rng, joints = np.random.default_rng(0), world.unwrapped.model.nq
    world.reset(seed=0)
    observations, rows = np.array(pool.reset()[0]), []
    for _ in range(steps):
        actions = rng.uniform(-1.0, 1.0, (8, *world.action_space.shape))
        following, rewards, terminated, truncated, _ = pool.step(actions)
        known = np.all(np.abs(observations[:, joints - 1 :]) != CLIPPED, axis=1)
        for i in np.flatnonzero(known):
            shown, reward, ended = their_step(world, observations[i], actions[i])
            apart = np.abs(shown - following[i]).max(), abs(reward - rewards[i])
            rows.append((*apart, ended != terminated[i], terminated[i]))
        observations = np.array(following)
        if len(over := np.flatnonzero(terminated | truncated).astype(np.int32)):
            observations[over] = pool.reset(over)[0]
    first = np.concatenate([pool.reset()[0] for _ in range(250)])
    theirs = np.stack([world.reset()[0] for _ in range(2000)])
    spread = theirs.std(axis=0)
    by_reset = np.abs([first.mean(axis=0) - theirs.mean(axis=0), first.std(axis=0) - spread]) / spread
    found = np.array(rows, float)
    return {
        "steps": len(found),
        "ends": int(found[:, 3].sum()),
        "ends that differ": int(found[:, 2].sum()),
        "observation, median": float(np.median(found[:, 0])),
        "observation, largest": float(found[:, 0].max()),
        "reward, largest": float(found[:, 1].max()),
        "first observations": float(by_reset.max()),
    }


def main(options: Options) -> None:
    for task in options.tasks:
        print(task, *(f"{name}: {value:.3g}" for name, value in compare(task, options.steps).items()), sep="\n  ")


if __name__ == "__main__":
    main(tyro.cli(Options))
