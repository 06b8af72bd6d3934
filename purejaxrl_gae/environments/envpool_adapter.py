"""EnvPool's environments, which step all copies in threads of C++, on the host.

A pool resets a copy in the step after the one that ends its episode, and ignores that step's action. Here the copies
whose episodes have ended are reset at once, so no step leads from one episode into the next and none is a reset.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from purejaxrl_gae.environments.host_environment import HostCopies, HostEnvironment, HostStep, copy_seeds
from purejaxrl_gae.environments.quiet import importing
from purejaxrl_gae.environments.structures import batched, shape_and_dtype_of
from purejaxrl_gae.settings.errors import UserError, closest, first_line

MakePool = Callable[[int, int], Any]


def from_envpool(
    env: str,
    *,
    env_args: Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
    sticky_actions: float = 0.0,
) -> HostEnvironment:
    """Makes a HostEnvironment of one of EnvPool's.

    Args:
      env: a name in EnvPool's registry, as `HalfCheetah-v5`.
      env_args: for `envpool.make`, as `frame_skip`.
      max_episode_steps: overrides the time limit.
      sticky_actions: probability that the previous action is repeated instead of the new one.

    Raises:
      UserError: EnvPool is missing, does not know the name or an argument, or a space is not supported.
    """
    name = f"envpool:{env}"
    with importing(name, "EnvPool", "envpool"):
        import envpool

        from purejaxrl_gae.environments.gymnasium_forms import action_space, observation_types, one_hot_encoding
    from purejaxrl_gae.environments.host_wrappers import StickyCopies, one_hot_observations

    known = envpool.list_all_envs()
    if env not in known:
        raise UserError(f"env is {name!r}, which EnvPool does not know{closest(env, known)}")
    limit = {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}
    make = partial(_make, envpool, env, {**(env_args or {}), **limit})
    pool = make(1, 0)
    types = observation_types(name, pool.observation_space)
    actions = action_space(name, pool.action_space)

    def open_copies(num_envs, seed, render=False, training=False) -> HostCopies:
        copies = PoolCopies(name, make, num_envs, seed, types)
        return StickyCopies(copies, seed, sticky_actions) if sticky_actions else copies

    shape, dtype = shape_and_dtype_of(types)
    longest = getattr(pool.spec.config, "max_episode_steps", None)
    environment = HostEnvironment(name, shape, actions, longest, open_copies, dtype)
    return one_hot_observations(environment, one_hot_encoding(name, pool.observation_space))


def _make(envpool: Any, env: str, env_args: dict[str, Any], num_envs: int, seed: int) -> Any:
    try:
        return envpool.make(env, env_type="gymnasium", num_envs=num_envs, seed=seed, **env_args)
    except Exception as error:
        raise UserError(
            f"env is 'envpool:{env}', which cannot be made with env_args {env_args}: {first_line(error)}"
        ) from error


class PoolCopies:
    """The copies of one pool; see HostCopies.

    Args:
      name: for messages.
      make: `(num_envs, seed) -> pool`.
      num_envs: N.
      seed: of the first reset.
      types: of one observation.
    """

    def __init__(self, name: str, make: MakePool, num_envs: int, seed: int, types: Any):
        from purejaxrl_gae.environments.gymnasium_forms import actions_as_wanted, parts_of

        self._name, self._make, self._num_envs, self._types = name, make, num_envs, types
        self._first_seed: int | None = seed
        self._pool = make(num_envs, copy_seeds(seed, 1)[0])
        self._parts = parts_of(self._pool.observation_space)
        self._to_env = actions_as_wanted(self._pool.action_space, together=True)
        self._observations: Any = None

    def reset(self, seed: int | None = None) -> Any:
        """See HostCopies; a pool has its seed from its beginning, so another one begins another pool."""
        if seed is not None and seed != self._first_seed:
            self._pool = self._make(self._num_envs, copy_seeds(seed, 1)[0])
        self._first_seed = None
        self._observations = self._arrays(self._pool.reset()[0], self._num_envs)
        return jax.tree.map(np.copy, self._observations)

    def step(self, actions: Any) -> HostStep:
        """See HostCopies."""
        observations, rewards, terminated, truncated, _ = self._pool.step(self._to_env(actions))
        final_observations = self._arrays(observations, self._num_envs)
        self._observations = jax.tree.map(np.copy, final_observations)
        terminated, truncated = np.array(terminated, bool), np.array(truncated, bool)
        shown = self.reset_where(terminated | truncated)
        return HostStep(shown, np.array(rewards, np.float32), terminated, truncated, final_observations)

    def reset_where(self, mask: np.ndarray) -> Any:
        """See HostCopies."""
        chosen = np.flatnonzero(mask).astype(np.int32)
        if chosen.size:
            begun = self._arrays(self._pool.reset(chosen)[0], len(chosen))
            for place, leaf in zip(jax.tree.leaves(self._observations), jax.tree.leaves(begun), strict=True):
                place[chosen] = leaf
        return jax.tree.map(np.copy, self._observations)

    def frame(self) -> np.ndarray:
        """Refuses: a pool draws nothing."""
        raise UserError(f"env {self._name} shows nothing; evaluate it without --render")

    def close(self) -> None:
        """See HostCopies."""
        self._pool.close()

    def _arrays(self, observations: Any, number: int) -> Any:
        from purejaxrl_gae.environments.gymnasium_forms import as_arrays, check_observation

        arrays, types = as_arrays(self._parts, observations), batched(self._types, number)
        check_observation(f"observations of {self._name}", types, arrays)
        return jax.tree.map(lambda kind, leaf: np.array(leaf, kind.dtype), types, arrays)
