"""Environments that run on the host: the contract, and functions from one to another.

They step NumPy arrays outside any compiled program. What they report has the same meaning as what a pure environment
reports; see `contract.Step`.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from purejaxrl_gae.environments.contract import ActionSpace, OneHot
from purejaxrl_gae.settings.errors import EnvironmentFailure, described

STAGGER_STREAM = 0x57A6  # separate these random numbers from the environments' own
STICKY_STREAM = 0x571C


class HostStep(NamedTuple):
    """What one step of N environments yields.

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
        """Scores and finished, with what they are where they are None."""
        scores = self.rewards if self.scores is None else self.scores
        return scores, (self.terminated | self.truncated) if self.finished is None else self.finished


class HostCopies(Protocol):
    """N running copies of an environment."""

    def reset(self, seed: int | None = None) -> np.ndarray:
        """New episodes everywhere: observations `[N, *shape]`. A seed makes everything that follows repeatable."""
        ...

    def step(self, actions: np.ndarray) -> HostStep:
        """One step of every copy with actions `[N]` or `[N, *shape]`; a copy whose episode ends is reset."""
        ...

    def reset_where(self, mask: np.ndarray) -> np.ndarray:
        """New episodes where `[N]` is set; the observations `[N, *shape]` to act on next, of all copies."""
        ...

    def frame(self) -> np.ndarray:
        """`[H, W, 3]` uint8, what copy 0 looks like; only where opened with `render=True`."""
        ...

    def close(self) -> None:
        """Frees what the copies hold."""
        ...


@dataclass(frozen=True, eq=False)
class HostEnvironment:
    """An environment that runs on the host.

    Attributes:
      name: for run folders and messages.
      observation_shape: of one observation.
      actions: the action space.
      max_episode_steps: the time limit, or None where there is none.
      open: `(num_envs, seed, render=False, training=False) -> HostCopies`. The seed is that of the first reset. For
        training, rewards may be changed and episodes cut, if scores and finished say what they were.
      observation_dtype: uint8 or float32.
      num_envs: how many copies there are, or None where it is as many as asked for.
      one_hot: how its own observations became these, where they are whole numbers; None elsewhere.
    """

    name: str
    observation_shape: tuple[int, ...]
    actions: ActionSpace
    max_episode_steps: int | None
    open: Callable[..., HostCopies]
    observation_dtype: Any = np.float32
    num_envs: int | None = None
    one_hot: OneHot | None = None


class CopyFailure(Exception):
    """A copy raised, or returned what no environment may.

    Args:
      copy: its number.
      error: what happened.

    Attributes:
      copy: its number.
    """

    def __init__(self, copy: int, error: BaseException):
        super().__init__(described(error))
        self.copy = copy


def failure_of(name: str, error: BaseException, when: str) -> EnvironmentFailure:
    """The one line that says which environment failed, which of its copies where that is known, when and how.

    Args:
      name: of the environment.
      error: what was caught.
      when: as `in step 3 of update 7`.
    """
    copy = f", copy {error.copy}," if isinstance(error, CopyFailure) else ""
    how = str(error) if isinstance(error, CopyFailure) else described(error)
    return EnvironmentFailure(f"env {name}{copy} failed {when}: {how}")


def copy_seeds(seed: int, num_envs: int) -> list[int]:
    """A seed for each copy, in [0, 2^30); those of neighbouring seeds have nothing in common."""
    return [int(value) for value in np.random.SeedSequence(seed).generate_state(num_envs) >> 2]


class ChangedCopies:
    """Copies that pass everything on; what changes some of it derives from this.

    Args:
      copies: the ones that do the work.
    """

    def __init__(self, copies: HostCopies):
        self._copies = copies

    def reset(self, seed: int | None = None) -> np.ndarray:
        """See HostCopies."""
        return self._copies.reset(seed)

    def step(self, actions: np.ndarray) -> HostStep:
        """See HostCopies."""
        return self._copies.step(actions)

    def reset_where(self, mask: np.ndarray) -> np.ndarray:
        """See HostCopies."""
        return self._copies.reset_where(mask)

    def frame(self) -> np.ndarray:
        """See HostCopies."""
        return self._copies.frame()

    def close(self) -> None:
        """See HostCopies."""
        self._copies.close()


class OneHotCopies(ChangedCopies):
    """Copies whose observations are whole numbers, seen as zeros and ones.

    Args:
      copies: the ones that do the work.
      one_hot: the encoding.
    """

    def __init__(self, copies: HostCopies, one_hot: OneHot):
        super().__init__(copies)
        self._one_hot = one_hot

    def reset(self, seed: int | None = None) -> np.ndarray:
        """See HostCopies."""
        return self._encoded(super().reset(seed))

    def step(self, actions: np.ndarray) -> HostStep:
        """See HostCopies."""
        step = super().step(actions)
        final_observations = self._encoded(step.final_observations)
        return step._replace(observations=self._encoded(step.observations), final_observations=final_observations)

    def reset_where(self, mask: np.ndarray) -> np.ndarray:
        """See HostCopies."""
        return self._encoded(super().reset_where(mask))

    def _encoded(self, observations: np.ndarray) -> np.ndarray:
        return self._one_hot.encode(observations.astype(np.int64))


class StaggeredCopies(ChangedCopies):
    """Copies whose first episodes are cut at different lengths; see `stagger_first_episodes`.

    Args:
      copies: the ones that do the work.
      num_envs: N.
      seed: of the lengths.
      limit: the longest an episode may be.
    """

    def __init__(self, copies: HostCopies, num_envs: int, seed: int, limit: int):
        super().__init__(copies)
        self._num_envs, self._seed, self._limit = num_envs, seed, limit
        self._steps_left = np.full(num_envs, -1)

    def reset(self, seed: int | None = None) -> np.ndarray:
        """See HostCopies; draws new lengths."""
        generator = np.random.default_rng([self._seed if seed is None else seed, STAGGER_STREAM])
        self._steps_left = generator.integers(1, self._limit + 1, self._num_envs)
        return super().reset(seed)

    def step(self, actions: np.ndarray) -> HostStep:
        """See HostCopies; a first episode that has reached its length is truncated."""
        step = super().step(actions)
        self._steps_left -= 1
        _, over = step.reported()
        cut = (self._steps_left == 0) & ~over
        self._steps_left[over | (self._steps_left <= 0)] = -1
        if not cut.any():
            return step
        return step._replace(
            observations=self.reset_where(cut),
            truncated=step.truncated | cut,
            finished=None if step.finished is None else step.finished | cut,
        )


class StickyCopies(ChangedCopies):
    """Copies that now and then repeat the previous action instead of taking the new one.

    Args:
      copies: the ones that do the work.
      seed: of when they do.
      probability: of doing so in any step but an episode's first.
    """

    def __init__(self, copies: HostCopies, seed: int, probability: float):
        super().__init__(copies)
        self._probability = probability
        self._generator = np.random.default_rng([seed, STICKY_STREAM])
        self._previous: np.ndarray | None = None
        self._first = np.ones(0, bool)

    def reset(self, seed: int | None = None) -> np.ndarray:
        """See HostCopies."""
        if seed is not None:
            self._generator = np.random.default_rng([seed, STICKY_STREAM])
        self._previous = None
        return super().reset(seed)

    def reset_where(self, mask: np.ndarray) -> np.ndarray:
        """See HostCopies."""
        self._first = self._first | mask
        return super().reset_where(mask)

    def step(self, actions: np.ndarray) -> HostStep:
        """See HostCopies."""
        num_envs = actions.shape[0]
        if self._previous is None:
            self._previous, self._first = actions, np.ones(num_envs, bool)
        repeats = (self._generator.random(num_envs) < self._probability) & ~self._first
        taken = np.where(repeats.reshape(-1, *[1] * (actions.ndim - 1)), self._previous, actions)
        step = super().step(taken)
        _, self._first = step.reported()
        self._previous = taken
        return step


def one_hot_observations(environment: HostEnvironment, one_hot: OneHot | None) -> HostEnvironment:
    """Shows whole numbers as zeros and ones, as `wrappers.one_hot_observations` does."""
    if one_hot is None:
        return environment

    def open_encoded(num_envs, seed, render=False, training=False):
        return OneHotCopies(environment.open(num_envs, seed, render, training), one_hot)

    return dataclasses.replace(
        environment,
        observation_shape=(one_hot.size,),
        observation_dtype=np.float32,
        open=open_encoded,
        one_hot=one_hot,
    )


def stagger_first_episodes(environment: HostEnvironment) -> HostEnvironment:
    """Cuts each copy's first episode at its own random length, as `wrappers.stagger_first_episodes` does.

    Args:
      environment: one with a time limit; without one it is returned as it is.
    """
    limit = environment.max_episode_steps
    if limit is None:
        return environment

    def open_staggered(num_envs, seed, render=False, training=False):
        return StaggeredCopies(environment.open(num_envs, seed, render, training), num_envs, seed, limit)

    return dataclasses.replace(environment, open=open_staggered)


def end_nonfinite_episodes(copies: HostCopies, step: HostStep) -> tuple[HostStep, np.ndarray]:
    """Ends an episode at a NaN or infinite reward or observation, as `wrappers.end_nonfinite_episodes` does.

    Returns:
      `(step, nonfinite)`: the step without them, and `[N]` bool where they were.
    """
    flat = step.final_observations.reshape(step.rewards.shape[0], -1)
    nonfinite = ~(np.isfinite(step.rewards) & np.isfinite(flat).all(axis=1))
    if not nonfinite.any():
        return step, nonfinite
    final_observations = step.final_observations.copy()
    final_observations[nonfinite] = 0
    contained = HostStep(
        observations=copies.reset_where(nonfinite),
        rewards=np.where(nonfinite, np.float32(0.0), step.rewards),
        terminated=step.terminated | nonfinite,
        truncated=step.truncated,
        final_observations=final_observations,
        scores=None if step.scores is None else np.where(nonfinite, np.float32(0.0), step.scores),
        finished=None if step.finished is None else step.finished | nonfinite,
    )
    return contained, nonfinite
