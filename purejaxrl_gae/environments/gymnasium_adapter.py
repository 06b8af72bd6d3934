"""Gymnasium's environments, real MuJoCo among them, as many copies side by side on the host.

Copies are stepped and reset here, one `gymnasium.Env` each, so what ends an episode is the true final observation and
no step leads from one episode into the next. A user's own `gymnasium.vector.VectorEnv` is taken as it is.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from purejaxrl_gae.environments.host_environment import CopyFailure, HostCopies, HostEnvironment, HostStep, copy_seeds
from purejaxrl_gae.environments.host_wrappers import StickyCopies, one_hot_observations
from purejaxrl_gae.environments.quiet import not_drawn, quietly
from purejaxrl_gae.environments.structures import shape_and_dtype_of
from purejaxrl_gae.settings.errors import UserError, first_line, shown

try:
    import gymnasium
    from gymnasium.vector import VectorEnv
except ImportError:
    raise UserError(
        "environments of Gymnasium need gymnasium 1.1 or newer: pip install 'purejaxrl-gae[gymnasium]'"
    ) from None

from purejaxrl_gae.environments.gymnasium_forms import (
    action_space,
    actions_as_wanted,
    as_arrays,
    check_interface,
    check_observation,
    checked_spec,
    observation_types,
    one_hot_encoding,
    parts_of,
    time_limit,
    wrong_step,
)
from purejaxrl_gae.environments.gymnasium_masks import MaskInObservation, has_mask
from purejaxrl_gae.environments.gymnasium_vector_adapter import from_vector_env

MakeEnv = Callable[..., gymnasium.Env]


def from_gymnasium(
    env: Any,
    *,
    env_args: Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
    action_repeat: int = 1,
    sticky_actions: float = 0.0,
    env_workers: int = 0,
) -> HostEnvironment:
    """Makes a HostEnvironment from Gymnasium.

    Args:
      env: an id; a function that makes a `gymnasium.Env`; or a `gymnasium.vector.VectorEnv`. An id `ALE/…` is an Atari
        game with the usual preprocessing; see `atari_adapter`.
      env_args: for the environment's constructor; with an id only.
      max_episode_steps: overrides the time limit; with a function, cuts in addition to it.
      action_repeat: times that each action is applied; rewards add up.
      sticky_actions: probability that the previous action is repeated instead of the new one.
      env_workers: processes that step the copies; 0: this one.

    Raises:
      UserError: there is no such id, a package is missing, a space is not supported, or what `reset` and `step` return
        has the wrong form; found by calling both once.
    """
    if isinstance(env, VectorEnv) or (isinstance(env, str) and env.startswith("ALE/")):
        refuse_workers(
            f"env is {env if isinstance(env, str) else type(env).__name__}, which steps its copies", env_workers
        )
    if isinstance(env, str) and env.startswith("ALE/"):
        from purejaxrl_gae.environments.atari_adapter import from_atari

        return from_atari(
            env,
            env_args=env_args,
            max_episode_steps=max_episode_steps,
            action_repeat=action_repeat,
            sticky_actions=sticky_actions,
        )
    if isinstance(env, str):
        return _from_factory(
            f"gymnasium:{env}",
            _make_by_id(env, dict(env_args or {}), max_episode_steps),
            action_repeat,
            sticky_actions,
            env_workers,
        )
    if env_args:
        raise UserError(f"env_args is {dict(env_args)}, but env is an object; give it its arguments where it is made")
    if isinstance(env, VectorEnv):
        if max_episode_steps is not None or action_repeat != 1:
            raise UserError("max_episode_steps and action_repeat cannot change a VectorEnv; change the envs it is of")
        return from_vector_env(env, sticky_actions)
    if isinstance(env, gymnasium.Env):
        raise UserError(f"env is a {type(env).__name__}, one copy; give a function that makes one: lambda: MyEnv()")
    if not callable(env):
        raise UserError(f"env is a {type(env).__name__}; it must be an id, a VectorEnv or a function that makes an Env")
    name = getattr(env, "__name__", type(env).__name__)
    return _from_factory(name, _make_by_function(env, max_episode_steps), action_repeat, sticky_actions, env_workers)


def refuse_workers(what: str, env_workers: int) -> None:
    """Refuses processes where they would have nothing to step.

    Raises:
      UserError: says what is in the way.
    """
    if env_workers:
        raise UserError(f"env_workers is {env_workers}, but {what} by itself; it must be 0")


def _make_by_id(env_id: str, env_args: dict[str, Any], max_episode_steps: int | None) -> MakeEnv:
    checked_spec(env_id)

    def make(render: bool = False):
        more: dict[str, Any] = {**env_args, **({"render_mode": "rgb_array"} if render else {})}
        try:
            with quietly():
                return gymnasium.make(env_id, max_episode_steps, disable_env_checker=True, **more)
        except gymnasium.error.DependencyNotInstalled as error:
            raise UserError(
                f"env is 'gymnasium:{env_id}', which needs more packages ({first_line(error)}): "
                "pip install 'purejaxrl-gae[gymnasium]'"
            ) from None
        except Exception as error:
            with_args = f" with env_args {env_args}" if env_args else ""
            raise UserError(
                f"env is 'gymnasium:{env_id}', which cannot be made{with_args}: {first_line(error)}"
            ) from error

    return make


def _make_by_function(function: Callable[[], Any], max_episode_steps: int | None) -> MakeEnv:
    def make(render: bool = False):
        env = function()
        if not isinstance(env, gymnasium.Env):
            raise UserError(f"env makes a {type(env).__name__}; it must make a gymnasium.Env")
        return env if max_episode_steps is None else gymnasium.wrappers.TimeLimit(env, max_episode_steps)

    return make


def _from_factory(
    name: str, make: MakeEnv, action_repeat: int, sticky_actions: float, env_workers: int
) -> HostEnvironment:
    env = make()
    types = observation_types(name, env.observation_space)
    actions = action_space(name, env.action_space)
    limit = time_limit(env)
    if has_mask(env, check_interface(name, env, types)):
        env, make = MaskInObservation(env, name), _masking(make, name)
        types = observation_types(name, env.observation_space)
    env.close()

    def open_copies(num_envs, seed, render=False, training=False) -> HostCopies:
        open_some = partial(_open_some, name, make, seed, types, action_repeat)
        if env_workers:
            from purejaxrl_gae.environments.worker_copies import WorkerCopies

            copies: HostCopies = WorkerCopies(open_some, num_envs, env_workers, render)
        else:
            copies = open_some(range(num_envs), render)
        return StickyCopies(copies, seed, sticky_actions) if sticky_actions else copies

    decisions = None if limit is None else -(-limit // action_repeat)
    shape, dtype = shape_and_dtype_of(types)
    environment = HostEnvironment(name, shape, actions, decisions, open_copies, dtype)
    return one_hot_observations(environment, one_hot_encoding(name, env.observation_space))


def _open_some(
    name: str, make: MakeEnv, seed: int, types: Any, action_repeat: int, numbers: range, render: bool
) -> HostCopies:
    """Makes some of the copies; see SerialCopies."""
    return SerialCopies(name, make, numbers, seed, types, action_repeat, render)


def _masking(make: MakeEnv, name: str) -> MakeEnv:
    return lambda **options: MaskInObservation(make(**options), name)


class SerialCopies:
    """Copies that are stepped one after another; see HostCopies.

    Args:
      name: for messages.
      make: makes one `gymnasium.Env`; `render=True` one that renders.
      numbers: of these copies among all; N of them.
      seed: of the first reset.
      types: of an observation, uint8 or float32 of one array.
      action_repeat: times that each action is applied.
      render: make copy 0 one that renders.
    """

    def __init__(
        self,
        name: str,
        make: MakeEnv,
        numbers: range,
        seed: int,
        types: Any,
        action_repeat: int = 1,
        render: bool = False,
    ):
        self._name, self._action_repeat = name, action_repeat
        self._first_seed: int | None = seed
        self._numbers, num_envs = numbers, len(numbers)
        self._envs = [make(render=render and index == 0) for index in range(num_envs)]
        self._to_env = actions_as_wanted(self._envs[0].action_space)
        self._types, self._parts = types, parts_of(self._envs[0].observation_space)
        self._observations = jax.tree.map(lambda kind: np.zeros((num_envs, *kind.shape), kind.dtype), types)

    def reset(self, seed: int | None = None) -> Any:
        """See HostCopies."""
        seed, self._first_seed = self._first_seed if seed is None else seed, None
        seeds = (
            [None] * len(self._envs) if seed is None else copy_seeds(seed, self._numbers.stop)[self._numbers.start :]
        )
        for index, own_seed in enumerate(seeds):
            self._reset_copy(index, seed=own_seed)
        return jax.tree.map(np.copy, self._observations)

    def step(self, actions: Any) -> HostStep:
        """See HostCopies."""
        num_envs = len(self._envs)
        final_observations = jax.tree.map(np.empty_like, self._observations)
        rewards = np.zeros(num_envs, np.float32)
        terminated, truncated = np.zeros(num_envs, bool), np.zeros(num_envs, bool)
        for index, (env, action) in enumerate(zip(self._envs, self._to_env(actions), strict=True)):
            try:
                observation, rewards[index], terminated[index], truncated[index] = self._act(env, action)
                self._put(final_observations, index, observation)
            except (Exception, SystemExit) as error:
                raise CopyFailure(index, error) from error
        self._observations = jax.tree.map(np.copy, final_observations)
        observations = self.reset_where(terminated | truncated)
        return HostStep(observations, rewards, terminated, truncated, final_observations)

    def reset_where(self, mask: np.ndarray) -> Any:
        """See HostCopies."""
        for index in np.flatnonzero(mask):
            self._reset_copy(int(index))
        return jax.tree.map(np.copy, self._observations)

    def frame(self) -> np.ndarray:
        """See HostCopies."""
        try:
            with quietly():
                picture: Any = self._envs[0].render()
        except Exception as error:
            raise not_drawn(self._name, error) from error
        if picture is None:
            raise UserError(f"env {self._name} shows nothing; make it with render_mode='rgb_array'")
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        """See HostCopies."""
        for env in self._envs:
            env.close()

    def _act(self, env: gymnasium.Env, action: Any) -> tuple[Any, float, bool, bool]:
        total = 0.0
        for _ in range(self._action_repeat):
            outputs: Any = env.step(action)
            if not isinstance(outputs, tuple) or len(outputs) != 5:
                raise UserError(wrong_step(self._name, outputs))
            observation, reward, terminated, truncated, _ = outputs
            total += self._number(reward)
            if terminated or truncated:
                break
        return observation, total, bool(terminated), bool(truncated)

    def _number(self, reward: Any) -> float:
        if not isinstance(reward, (float, int, np.number, np.bool_)):
            value = np.asarray(reward)
            if value.shape != () or value.dtype.kind not in "fiub":
                raise UserError(f"reward of {self._name} is {shown(reward)}; it must be a number")
        return float(reward)

    def _reset_copy(self, index: int, **options: Any) -> None:
        try:
            self._put(self._observations, index, self._envs[index].reset(**options)[0])
        except (Exception, SystemExit) as error:
            raise CopyFailure(index, error) from error

    def _put(self, observations: Any, index: int, observation: Any) -> None:
        """Puts one in its place; refuses what NumPy would silently stretch over that."""
        arrays = as_arrays(self._parts, observation)
        check_observation(f"observation of {self._name}", self._types, arrays)
        for place, leaf in zip(jax.tree.leaves(observations), jax.tree.leaves(arrays), strict=True):
            place[index] = leaf
