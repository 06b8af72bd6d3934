"""Domain randomisation: parameters of a gymnax environment drawn anew for every episode of every copy.

Source: Tobin et al. 2017, Domain Randomization for Transferring Deep Neural Networks, section III.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.environments.drawings import renderer_of
from purejaxrl_gae.environments.light_gymnax import gymnax_environment
from purejaxrl_gae.settings.errors import UserError, closest
from purejaxrl_gae.settings.search_space import Dimension


class RandomizedState(NamedTuple):
    """State of one copy.

    Attributes:
      inner: the environment's.
      drawn: the parameters of the running episode that were drawn, by name.
    """

    inner: Any
    drawn: dict[str, jax.Array]


class Randomized(gymnax_environment.Environment):
    """A gymnax environment in which every episode draws some of its parameters.

    Args:
      env: the environment; its own `step` must be gymnax's, which asks for a reset by `reset_env`.
      ranges: where the parameters come from, by name.
    """

    def __init__(self, env: Any, ranges: Mapping[str, Dimension]):
        self._env, self._ranges = env, dict(sorted(ranges.items()))
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def reset_env(self, key, params):
        """Draws the new episode's parameters; see gymnax."""
        reset_key, *keys = jax.random.split(key, 1 + len(self._ranges))
        drawn = {name: draw(key, range_) for key, (name, range_) in zip(keys, self._ranges.items(), strict=True)}
        observation, inner = self._env.reset(reset_key, dataclasses.replace(params, **drawn))
        return observation, RandomizedState(inner, drawn)

    def step_env(self, key, state, action, params):
        """Steps with the running episode's parameters; see gymnax."""
        params = dataclasses.replace(params, **state.drawn)
        observation, inner, *rest = self._env.step_env(key, state.inner, action, params)
        return observation, state._replace(inner=inner), *rest

    def is_truncated(self, state, params):
        """See gymnax."""
        return self._env.is_truncated(state.inner, dataclasses.replace(params, **state.drawn))


def draw(key: jax.Array, range_: Dimension) -> jax.Array:
    """Draws one value of a range: float32, or int32 of whole numbers, both ends included."""
    if range_.kind == "int":
        return jax.random.randint(key, (), int(range_.low), int(range_.high) + 1)
    if range_.kind == "log":
        return jnp.exp(jax.random.uniform(key, minval=np.log(range_.low), maxval=np.log(range_.high)))
    return jax.random.uniform(key, minval=range_.low, maxval=range_.high)


def check_ranges(name: str, env: Any, params: Any, ranges: Mapping[str, Dimension], limit: str) -> None:
    """Refuses what cannot differ between the copies of one compiled program.

    Args:
      name: of the environment.
      env: with gymnax's methods.
      params: its parameters, a dataclass.
      ranges: by the name of a parameter.
      limit: the parameter that is the time limit.

    Raises:
      UserError: there is no such parameter, it is no number, or it decides the spaces or the time limit.
    """
    numbers = [field.name for field in dataclasses.fields(params)] if dataclasses.is_dataclass(params) else []
    numbers = [field for field in numbers if type(getattr(params, field)) in (int, float) and field != limit]
    for field, range_ in ranges.items():
        if field not in numbers:
            raise UserError(
                f"randomize has {field!r}, which is no number among the parameters of {name}{closest(field, numbers)}; "
                f"it can draw {', '.join(numbers) or 'none'}"
            )
        is_whole = isinstance(getattr(params, field), int)
        if is_whole != (range_.kind == "int"):
            kind = "int:low:high" if is_whole else "uniform:low:high or log:low:high"
            raise UserError(f"randomize draws {field} by {range_.kind}, but it is {getattr(params, field)}; use {kind}")
        changed = [dataclasses.replace(params, **{field: type(getattr(params, field))(end)}) for end in range_.ends]
        if len({_spaces(env, one) for one in changed}) > 1:
            raise UserError(
                f"randomize has {field!r}, which decides the spaces of {name}; it must be one number for all"
            )


def _spaces(env: Any, params: Any) -> str:
    """Returns what a program depends on: the actions, and the observations' shape."""
    actions, observations = env.action_space(params), env.observation_space(params)
    return repr((vars(actions), getattr(observations, "shape", ())))


def renderer_of_randomized(name: str, env: Any, params: Any) -> Callable[[list[Any]], list[np.ndarray]] | None:
    """Returns what draws each state with its own parameters, or None where nothing can; see `renderer_of`."""
    if renderer_of(name, env, params) is None:
        return None

    def render(states: list[Any]) -> list[np.ndarray]:
        frames = []
        for state in states:
            draw_one = renderer_of(name, env, dataclasses.replace(params, **state.drawn))
            assert draw_one is not None  # one of the same environment drew before
            frames += draw_one([state.inner])
        return frames

    return render
