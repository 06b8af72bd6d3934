"""The common part of Brax and MuJoCo Playground: `reset(key)` and `step(state, action)` of one copy, with states that
carry observation, reward and `done`, which is a termination only.

Their own wrappers for training lose the observation at an episode's end and reuse one start state for ever. Here copies
are vmapped, steps counted and finished copies reset as the contract wants it: every episode starts from a state of its
own, computed only in steps in which an episode ended.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.environments.contract import BoxActions, Environment, Render, Step, render_inner
from purejaxrl_gae.environments.quiet import not_drawn, quietly
from purejaxrl_gae.environments.structures import is_structured, kept_types, shape_of
from purejaxrl_gae.environments.wrappers import reset_where
from purejaxrl_gae.parallel.sharding import keys_of_copies
from purejaxrl_gae.settings.errors import UserError, first_line


class PhysicsState(NamedTuple):
    """State of N copies.

    Attributes:
      inner: the environment's own states, leading axis N.
      steps: `[N]` int32 steps of the running episodes.
    """

    inner: Any
    steps: jax.Array


def from_physics(name: str, env: Any, *, max_episode_steps: int, render: Render | None) -> Environment:
    """Makes an Environment from an object with `reset(key)`, `step(state, action)` and `action_size`.

    Actions are between -1 and 1, as both libraries have them.

    Args:
      name: for messages.
      env: the object.
      max_episode_steps: the time limit; an episode that ends by itself in that step is terminated, not truncated.
      render: from a list of the environment's own states to frames, or None.

    Raises:
      UserError: it cannot be stepped, or reward or done is not a scalar; found without computing.
    """
    size = int(env.action_size)
    state_types = _check(name, env, size)

    def as_declared(states):
        # Python numbers in a state change type between reset and step, which no scan can carry.
        return jax.tree.map(lambda leaf, like: jnp.asarray(leaf).astype(like.dtype), states, state_types)

    def reset_with(keys):
        with quietly():
            inner = as_declared(jax.vmap(env.reset)(jax.random.key_data(keys)))
        return PhysicsState(inner, jnp.zeros(keys.shape[0], jnp.int32)), inner.obs

    def reset(key, num_envs):
        return reset_with(*keys_of_copies(key, num_envs, 1))

    def step(key, states, actions):
        num_envs = actions.shape[0]
        with quietly():
            inner = as_declared(jax.vmap(env.step)(states.inner, actions))
        steps = states.steps + 1
        terminated = inner.done > 0.5
        truncated = (steps >= max_episode_steps) & ~terminated
        next_states, observations = reset_where(
            lambda key: reset(key, num_envs), key, terminated | truncated, PhysicsState(inner, steps), inner.obs
        )
        return Step(next_states, observations, inner.reward, terminated, truncated, inner.obs)

    return Environment(
        name=name,
        observation_shape=shape_of(state_types.obs),
        actions=BoxActions((size,), (-1.0,) * size, (1.0,) * size),
        max_episode_steps=max_episode_steps,
        reset=reset,
        step=step,
        render=render_inner(render),
    )


def _check(name: str, env: Any, size: int) -> Any:
    """Finds the types of one state's leaves, float32 where they are real; refuses what the contract cannot hold."""
    action = jax.ShapeDtypeStruct((size,), jnp.float32)
    try:
        with quietly():
            state = jax.eval_shape(lambda key: env.reset(jax.random.key_data(key)), jax.random.key(0))
            stepped = jax.eval_shape(env.step, state, action)
    except Exception as error:
        kind = type(error).__name__
        raise UserError(f"env is {name!r}, which cannot be stepped here; {kind}: {first_line(error)}") from error
    for field in ("reward", "done"):
        shape = jnp.shape(getattr(stepped, field))
        if math.prod(shape) != 1 or shape:
            raise UserError(f"{field} of {name} has shape {shape}; it must be a scalar, shape ()")
    form: Any = jax.tree.structure(state)
    if form != jax.tree.structure(stepped):
        raise UserError(f"step of {name} returns a state of another form than reset does; no scan can carry it")
    state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
    if is_structured(state.obs):
        observations = kept_types(state.obs)
    else:
        observations = jax.ShapeDtypeStruct(state.obs.shape, jnp.float32)
    return state.replace(obs=observations, reward=jax.ShapeDtypeStruct(state.reward.shape, jnp.float32))


def renderer(name: str, draw: Callable[[list[Any]], Any]) -> Render:
    """Returns a function that draws frames from states, whose failure for want of OpenGL is one line."""

    def render(states):
        try:
            with quietly():
                return [np.asarray(frame, np.uint8) for frame in draw(jax.device_get(states))]
        except Exception as error:
            raise not_drawn(name, error) from error

    return render


class NumpyWithOldClip:
    """jax.numpy, whose `clip` also takes its bounds by their names of before jax 0.10."""

    def __getattr__(self, name: str) -> Any:
        return getattr(jnp, name)

    @staticmethod
    def clip(array: jax.Array, min: Any = None, max: Any = None, *, a_min: Any = None, a_max: Any = None) -> jax.Array:
        """See jax.numpy.clip."""
        return jnp.clip(array, min if a_min is None else a_min, max if a_max is None else a_max)


def mend_clip(module: Any) -> None:
    """Lets a module of Brax 0.14 or Playground 0.2 be used that names a bound as jax 0.10 no longer does."""
    if "a_min" not in inspect.signature(jnp.clip).parameters and getattr(module, "jp", None) is jnp:
        module.jp = NumpyWithOldClip()
