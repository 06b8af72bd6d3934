"""Functions from HostEnvironment to HostEnvironment: `wrappers` and `options` for copies that the host steps."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from purejaxrl_gae.environments.contract import OneHot, OneHotLeaves
from purejaxrl_gae.environments.host_environment import CopyFailure, HostCopies, HostEnvironment, HostStep
from purejaxrl_gae.environments.structures import all_finite, allows_action, mask_name

STAGGER_STREAM = 0x57A6  # separate these random numbers from the environments' own
STICKY_STREAM = 0x571C


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


def select_copies(condition: np.ndarray, chosen: Any, otherwise: Any) -> Any:
    """Returns the first's copies where `condition` `[N]` is set, the second's elsewhere, of two pytrees alike."""

    def select(chosen_leaf, other_leaf):
        return np.where(condition.reshape(-1, *[1] * (other_leaf.ndim - 1)), chosen_leaf, other_leaf)

    return jax.tree.map(select, chosen, otherwise)


class EncodedCopies(ChangedCopies):
    """Copies whose observations are seen in another form.

    Args:
      copies: the ones that do the work.
      encode: `[N, *shape]` observations to that form.
    """

    def __init__(self, copies: HostCopies, encode: Callable[[Any], Any]):
        super().__init__(copies)
        self._encoded = encode

    def reset(self, seed: int | None = None) -> Any:
        """See HostCopies."""
        return self._encoded(super().reset(seed))

    def step(self, actions: np.ndarray) -> HostStep:
        """See HostCopies."""
        step = super().step(actions)
        final_observations = self._encoded(step.final_observations)
        return step._replace(observations=self._encoded(step.observations), final_observations=final_observations)

    def reset_where(self, mask: np.ndarray) -> Any:
        """See HostCopies."""
        return self._encoded(super().reset_where(mask))


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
        self._previous: Any = None
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
        num_envs = jax.tree.leaves(actions)[0].shape[0]
        if self._previous is None:
            self._previous, self._first = actions, np.ones(num_envs, bool)
        repeats = (self._generator.random(num_envs) < self._probability) & ~self._first
        taken = select_copies(repeats, self._previous, actions)
        step = super().step(taken)
        _, self._first = step.reported()
        self._previous = taken
        return step


def one_hot_observations(environment: HostEnvironment, one_hot: OneHot | OneHotLeaves | None) -> HostEnvironment:
    """Shows whole numbers as zeros and ones, as `wrappers.one_hot_observations` does."""
    if one_hot is None:
        return environment

    def encode(observations):
        return one_hot.encode(observations.astype(np.int64) if isinstance(one_hot, OneHot) else observations)

    shown = show_as(environment, encode, one_hot.shape_of(environment.observations))
    return dataclasses.replace(shown, observation_dtype=np.float32, one_hot=one_hot)


def show_as(environment: HostEnvironment, encode: Callable[[Any], Any], shape: Any) -> HostEnvironment:
    """Shows observations in another form, as `wrappers.show_as` does."""

    def open_encoded(num_envs, seed, render=False, training=False):
        return EncodedCopies(environment.open(num_envs, seed, render, training), encode)

    return dataclasses.replace(environment, observation_shape=shape, open=open_encoded)


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


def require_allowed_actions(environment: HostEnvironment, observations: Any) -> None:
    """Refuses to act where a mask allows no action.

    Args:
      environment: that shows them.
      observations: `[N, *shape]` to act on.

    Raises:
      CopyFailure: names the first of those copies and the mask.
    """
    mask = mask_name(environment)
    if mask is None:
        return
    num_envs = jax.tree.leaves(observations)[0].shape[0]
    stuck = np.flatnonzero(~allows_action(environment, observations, (num_envs,)))
    if stuck.size:
        raise CopyFailure(int(stuck[0]), ValueError(f"{mask} allows no action"))


def end_nonfinite_episodes(copies: HostCopies, step: HostStep) -> tuple[HostStep, np.ndarray]:
    """Ends an episode at a NaN or infinite reward or observation, as `wrappers.end_nonfinite_episodes` does.

    Returns:
      `(step, nonfinite)`: the step without them, and `[N]` bool where they were.
    """
    nonfinite = ~(np.isfinite(step.rewards) & all_finite(step.final_observations, step.rewards.shape))
    if not nonfinite.any():
        return step, nonfinite
    zeros = jax.tree.map(np.zeros_like, step.final_observations)
    contained = HostStep(
        observations=copies.reset_where(nonfinite),
        rewards=np.where(nonfinite, np.float32(0.0), step.rewards),
        terminated=step.terminated | nonfinite,
        truncated=step.truncated,
        final_observations=select_copies(nonfinite, zeros, step.final_observations),
        scores=None if step.scores is None else np.where(nonfinite, np.float32(0.0), step.scores),
        finished=None if step.finished is None else step.finished | nonfinite,
    )
    return contained, nonfinite
