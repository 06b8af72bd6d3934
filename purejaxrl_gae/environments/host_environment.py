"""Environments that run on the host: the contract.

They step NumPy arrays outside any compiled program. What they report has the same meaning as what a pure environment
reports; see `contract.Step`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from purejaxrl_gae.environments import structures
from purejaxrl_gae.environments.contract import ActionSpace, OneHot, OneHotLeaves
from purejaxrl_gae.settings.errors import EnvironmentFailure, described


class HostStep(NamedTuple):
    """One step of N environments.

    Attributes:
      observations: `[N, *shape]` to act on next; of the new episode where one ended. uint8 or float32.
      rewards: `[N]` float32, to learn from.
      terminated: `[N]` bool; a terminal state was reached.
      truncated: `[N]` bool; a time limit cut the episode.
      final_observations: `[N, *shape]` the true successors, before any reset.
      scores: `[N]` float32 what an episode's return adds up; the rewards where None.
      finished: `[N]` bool; where an episode whose return is reported is over; None: where terminated or truncated.
    """

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    final_observations: np.ndarray
    scores: np.ndarray | None = None
    finished: np.ndarray | None = None

    def reported(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns scores and finished, with what they are where they are None."""
        scores = self.rewards if self.scores is None else self.scores
        return scores, (self.terminated | self.truncated) if self.finished is None else self.finished


class HostCopies(Protocol):
    """N running copies of an environment."""

    def reset(self, seed: int | None = None) -> np.ndarray:
        """Begins new episodes everywhere: observations `[N, *shape]`. A seed makes all that follows repeatable."""
        ...

    def step(self, actions: np.ndarray) -> HostStep:
        """Steps every copy with actions `[N]` or `[N, *shape]`; a copy whose episode ends is reset."""
        ...

    def reset_where(self, mask: np.ndarray) -> np.ndarray:
        """Begins new episodes where `[N]` is set; returns all copies' observations `[N, *shape]` to act on next."""
        ...

    def frame(self) -> np.ndarray:
        """Draws copy 0, `[H, W, 3]` uint8; only where opened with `render=True`."""
        ...

    def close(self) -> None:
        """Frees what the copies hold."""
        ...


@dataclass(frozen=True, eq=False)
class HostEnvironment:
    """An environment that runs on the host.

    Attributes:
      name: for run folders and messages.
      observation_shape: of one observation, where that is one array; a pytree of `jax.ShapeDtypeStruct` of several.
      actions: the action space.
      max_episode_steps: the time limit, or None where there is none.
      open: `(num_envs, seed, render=False, training=False) -> HostCopies`. The seed is that of the first reset. For
        training, rewards may be changed and episodes cut, if scores and finished say what they were.
      observation_dtype: uint8 or float32, of one array.
      num_envs: how many copies there are, or None where it is as many as asked for.
      one_hot: how its own observations became these, where they are whole numbers; None elsewhere.
      action_mask: see `contract.Environment`.
    """

    name: str
    observation_shape: Any
    actions: ActionSpace
    max_episode_steps: int | None
    open: Callable[..., HostCopies]
    observation_dtype: Any = np.float32
    num_envs: int | None = None
    one_hot: OneHot | OneHotLeaves | None = None
    action_mask: str | None = None

    @property
    def observations(self) -> Any:
        """Shape and type of one observation: a `jax.ShapeDtypeStruct`, or a pytree of them."""
        return structures.types_of(self.observation_shape, self.observation_dtype)


class CopyFailure(Exception):
    """A copy raised, or returned what no environment may.

    Args:
      copy: its number.
      error: what happened, or that in words.

    Attributes:
      copy: its number.
    """

    def __init__(self, copy: int, error: BaseException | str):
        super().__init__(error if isinstance(error, str) else described(error))
        self.copy = copy


def failure_of(name: str, error: BaseException, when: str) -> EnvironmentFailure:
    """Words which environment failed, which of its copies where that is known, when and how, in one line.

    Args:
      name: of the environment.
      error: what was caught.
      when: as `in step 3 of update 7`.
    """
    copy = f", copy {error.copy}," if isinstance(error, CopyFailure) else ""
    how = str(error) if isinstance(error, CopyFailure) else described(error)
    return EnvironmentFailure(f"env {name}{copy} failed {when}: {how}")


def copy_seeds(seed: int, num_envs: int) -> list[int]:
    """Draws a seed for each copy, in [0, 2^30); those of neighbouring seeds have nothing in common."""
    return [int(value) for value in np.random.SeedSequence(seed).generate_state(num_envs) >> 2]
