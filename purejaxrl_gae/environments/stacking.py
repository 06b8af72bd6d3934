"""Showing an agent the last few observations as one, so that it sees what moves without memory."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.environments.contract import Environment, render_inner
from purejaxrl_gae.environments.host_environment import HostCopies, HostEnvironment, HostStep
from purejaxrl_gae.environments.host_wrappers import ChangedCopies
from purejaxrl_gae.environments.host_wrappers import select_copies as select_host_copies
from purejaxrl_gae.environments.structures import batched, leaf_names, mask_name, shape_of
from purejaxrl_gae.environments.wrappers import select_copies


def stack_frames(environment: Environment | HostEnvironment, number: int) -> Any:
    """Shows the last `number` observations as one, oldest first; at an episode's begin the first one stands for all.

    They lie side by side on the last axis: `[F]` becomes `[number * F]` and `[H, W, C]` `[H, W, number * C]`; of single
    numbers and of `[H, W]` the axis is new. A mask of actions stays the newest.

    Args:
      environment: any.
      number: at least 1; with 1 the environment stays as it is.
    """
    if number == 1:
        return environment
    stack = _stack_of(environment, number)
    shape = shape_of(jax.eval_shape(lambda: _without_copies(stack.first(_one_copy(environment), jnp))))
    shown: dict[str, Any] = {"observation_shape": shape, "one_hot": None, "action_mask": stack.mask}
    if isinstance(environment, HostEnvironment):

        def open_stacked(num_envs, seed, render=False, training=False):
            return StackedCopies(environment.open(num_envs, seed, render, training), stack)

        return dataclasses.replace(environment, **shown, open=open_stacked)
    return dataclasses.replace(environment, **shown, **_stacked_functions(environment, stack))


class Stack(NamedTuple):
    """The form in which the last observations are one.

    Attributes:
      numbers: how many of each leaf, a pytree as an observation.
      is_widened: whether a leaf gets an axis, a pytree as an observation.
      mask: name of the leaf that masks actions, or None.
    """

    numbers: Any
    is_widened: Any
    mask: str | None

    def first(self, observations: Any, module: Any) -> Any:
        """Returns observations `[N, *shape]` of new episodes, each in place of all that there are not yet.

        Args:
          observations: of NumPy or JAX.
          module: `numpy` or `jax.numpy`, whichever they are of.
        """

        def repeated(leaf, number, is_widened):
            leaf = leaf[..., None] if is_widened else leaf
            return module.concatenate([leaf] * number, axis=-1)

        return jax.tree.map(repeated, observations, self.numbers, self.is_widened)

    def following(self, stacked: Any, observations: Any, module: Any) -> Any:
        """Returns stacked observations with the newest at their end, and without the oldest; see `first`."""

        def moved(old, leaf, number, is_widened):
            leaf = leaf[..., None] if is_widened else leaf
            return module.concatenate([old[..., leaf.shape[-1] :], leaf], axis=-1) if number > 1 else leaf

        return jax.tree.map(moved, stacked, observations, self.numbers, self.is_widened)


def _stack_of(environment: Any, number: int) -> Stack:
    types, mask = environment.observations, mask_name(environment)
    numbers = [1 if name == mask else number for name in leaf_names(types)]
    leaves, structure = jax.tree.flatten(types)
    is_widened = [len(leaf.shape) in (0, 2) and own > 1 for leaf, own in zip(leaves, numbers, strict=True)]
    return Stack(jax.tree.unflatten(structure, numbers), jax.tree.unflatten(structure, is_widened), mask)


def _one_copy(environment: Any) -> Any:
    return jax.tree.map(lambda kind: jnp.zeros(kind.shape, kind.dtype), batched(environment.observations, 1))


def _without_copies(observations: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], observations)


class StackedState(NamedTuple):
    """State of an environment whose last observations are shown as one.

    Attributes:
      inner: the environment's states.
      shown: `[N, *shape]` the last observations.
    """

    inner: Any
    shown: Any


def _stacked_functions(environment: Environment, stack: Stack) -> dict[str, Any]:
    """Returns reset, step and render of states that carry what is shown."""

    def reset(key, num_envs):
        inner, observations = environment.reset(key, num_envs)
        shown = stack.first(observations, jnp)
        return StackedState(inner, shown), shown

    def step(key, states, actions):
        result = environment.step(key, states.inner, actions)
        final_observations = stack.following(states.shown, result.final_observations, jnp)
        begun = stack.first(result.observations, jnp)
        shown = select_copies(result.terminated | result.truncated, begun, final_observations)
        return result._replace(
            states=StackedState(result.states, shown), observations=shown, final_observations=final_observations
        )

    return {"reset": reset, "step": step, "render": render_inner(environment.render)}


class StackedCopies(ChangedCopies):
    """Copies whose last observations are shown as one.

    Args:
      copies: the ones that do the work.
      stack: how.
    """

    def __init__(self, copies: HostCopies, stack: Stack):
        super().__init__(copies)
        self._stack = stack
        self._shown: Any = None

    def reset(self, seed: int | None = None) -> Any:
        """See HostCopies."""
        self._shown = self._stack.first(super().reset(seed), np)
        return self._shown

    def step(self, actions: Any) -> HostStep:
        """See HostCopies."""
        step = super().step(actions)
        final_observations = self._stack.following(self._shown, step.final_observations, np)
        begun = self._stack.first(step.observations, np)
        self._shown = select_host_copies(step.terminated | step.truncated, begun, final_observations)
        return step._replace(observations=self._shown, final_observations=final_observations)

    def reset_where(self, mask: np.ndarray) -> Any:
        """See HostCopies."""
        self._shown = select_host_copies(mask, self._stack.first(super().reset_where(mask), np), self._shown)
        return self._shown
