"""A user's own `gymnasium.vector.VectorEnv` as a HostEnvironment."""

from typing import Any

import jax
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from purejaxrl_gae.environments.gymnasium_forms import (
    action_space,
    actions_as_wanted,
    as_arrays,
    check_observation,
    observation_types,
    one_hot_encoding,
    parts_of,
    wrong_step,
)
from purejaxrl_gae.environments.host_environment import HostCopies, HostEnvironment, HostStep, copy_seeds
from purejaxrl_gae.environments.host_wrappers import StickyCopies, one_hot_observations
from purejaxrl_gae.environments.structures import batched, is_structured, shape_and_dtype_of
from purejaxrl_gae.settings.errors import UserError


def from_vector_env(env: VectorEnv, sticky_actions: float) -> HostEnvironment:
    """Wraps copies that are there already; see `gymnasium_adapter.from_gymnasium`.

    Raises:
      UserError: a space is not supported, or it resets in a step of its own and cannot be kept from it.
    """
    name = str(getattr(getattr(env, "spec", None), "id", None) or type(env.unwrapped).__name__)
    mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
    if mode != AutoresetMode.SAME_STEP and not isinstance(env.unwrapped, (SyncVectorEnv, AsyncVectorEnv)):
        raise UserError(
            f"env is a {type(env.unwrapped).__name__} with autoreset_mode {mode.value}; "
            "make it with autoreset_mode = AutoresetMode.SAME_STEP"
        )
    types = observation_types(name, env.single_observation_space)
    actions = action_space(name, env.single_action_space)
    opened: list[VectorCopies] = []

    def open_copies(num_envs, seed, render=False, training=False) -> HostCopies:
        if num_envs != env.num_envs:
            raise UserError(f"num_envs is {num_envs}, but {name} is a VectorEnv of {env.num_envs} copies")
        if opened:
            opened[-1].taken_over = True
        opened[:] = [VectorCopies(name, env, mode, seed, types)]
        return StickyCopies(opened[0], seed, sticky_actions) if sticky_actions else opened[0]

    spec = getattr(env, "spec", None)
    limit = getattr(spec, "max_episode_steps", None)
    shape, dtype = shape_and_dtype_of(types)
    environment = HostEnvironment(name, shape, actions, limit, open_copies, dtype, env.num_envs)
    return one_hot_observations(environment, one_hot_encoding(name, env.single_observation_space))


class VectorCopies:
    """The copies of a VectorEnv; see HostCopies.

    Where it does not reset by itself in the step that ends an episode, it is told to reset those copies right behind
    that step: what the step returned was the true final observation, and no action is wasted on a reset.

    Args:
      name: for messages.
      env: the VectorEnv.
      mode: when it resets.
      seed: of the first reset.
      types: of one observation.

    Attributes:
      taken_over: the VectorEnv has been opened again, and these copies are no more.
    """

    def __init__(self, name: str, env: VectorEnv, mode: AutoresetMode, seed: int, types: Any):
        self._name, self._env, self._mode, self._types = name, env, mode, types
        self._parts = parts_of(env.single_observation_space)
        self._first_seed: int | None = seed
        self._to_env = actions_as_wanted(env.single_action_space, together=True)
        self.taken_over = False

    def reset(self, seed: int | None = None) -> Any:
        """See HostCopies."""
        seed, self._first_seed = self._first_seed if seed is None else seed, None
        seeds = None if seed is None else copy_seeds(seed, self._env.num_envs)
        return self._arrays(self._env.reset(seed=seeds)[0])  # type: ignore[arg-type]

    def step(self, actions: Any) -> HostStep:
        """See HostCopies."""
        if self.taken_over:
            raise UserError(
                f"env is {self._name}, one VectorEnv, which an evaluation has taken over; to evaluate during training "
                "give a function that makes a gymnasium.Env"
            )
        outputs = self._env.step(self._to_env(actions))
        if not isinstance(outputs, tuple) or len(outputs) != 5:
            raise UserError(wrong_step(self._name, outputs))
        observations = self._arrays(outputs[0])
        rewards, terminated, truncated = (np.array(values) for values in outputs[1:4])
        ended = terminated | truncated
        final_observations = observations
        if ended.any() and self._mode == AutoresetMode.SAME_STEP:
            final_observations = jax.tree.map(np.copy, observations)
            if "final_obs" not in outputs[4]:
                raise UserError(f"info of {self._name} has no 'final_obs'; step must report what its reset replaces")
            for index in np.flatnonzero(ended):
                final = jax.tree.leaves(as_arrays(self._parts, outputs[4]["final_obs"][index]))
                for place, leaf in zip(jax.tree.leaves(final_observations), final, strict=True):
                    place[index] = leaf
        elif ended.any():
            observations = self.reset_where(ended)
        return HostStep(observations, rewards.astype(np.float32), terminated, truncated, final_observations)

    def reset_where(self, mask: np.ndarray) -> Any:
        """See HostCopies."""
        if not isinstance(self._env.unwrapped, (SyncVectorEnv, AsyncVectorEnv)):
            raise UserError(
                f"env is {self._name}, a {type(self._env.unwrapped).__name__}, which cannot reset some copies "
                "alone, as stagger_episodes and on_nonfinite = skip need"
            )
        return self._arrays(self._env.reset(options={"reset_mask": mask})[0])

    def frame(self) -> np.ndarray:
        """See HostCopies."""
        frames: Any = self._env.render()
        return np.asarray(frames[0], np.uint8)

    def close(self) -> None:
        """Leaves the VectorEnv open: it is its maker's."""

    def _arrays(self, observations: Any) -> Any:
        arrays, types = as_arrays(self._parts, observations), batched(self._types, self._env.num_envs)
        if not is_structured(types) and np.shape(arrays) != types.shape:
            raise UserError(f"observations of {self._name} have shape {np.shape(arrays)}; they must be {types.shape}")
        check_observation(f"observations of {self._name}", types, arrays)
        return jax.tree.map(lambda kind, leaf: np.array(leaf, kind.dtype), types, arrays)
