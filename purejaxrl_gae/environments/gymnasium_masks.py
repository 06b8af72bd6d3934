"""Gymnasium environments that say which actions are allowed: in `info["action_mask"]`, as Taxi does, or beside it."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from purejaxrl_gae.environments.structures import ACTION_MASK


class MaskInObservation(gymnasium.Wrapper):
    """Puts the mask of `info` beside the observation, which becomes a Dict, or into it where it is one.

    Args:
      env: whose `info` has a mask in every step.
      name: for messages.
    """

    def __init__(self, env: gymnasium.Env, name: str):
        super().__init__(env)
        self._name, self._extends = name, isinstance(env.observation_space, spaces.Dict)
        mask = spaces.MultiBinary(sum(_sizes(env.action_space)))
        own = env.observation_space.spaces if self._extends else {"observation": env.observation_space}  # type: ignore
        self.observation_space = spaces.Dict({**own, ACTION_MASK: mask})

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """See gymnasium.Env."""
        observation, info = self.env.reset(**options)
        return self._with_mask(observation, info, needed=True), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """See gymnasium.Env."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        goes_on = not (terminated or truncated)
        return self._with_mask(observation, info, needed=goes_on), reward, terminated, truncated, info

    def _with_mask(self, observation: Any, info: dict[str, Any], *, needed: bool) -> Any:
        size = self.observation_space[ACTION_MASK].n  # type: ignore[index]
        mask = _flat(info.get(ACTION_MASK, np.zeros(size)))
        if needed and not mask.any():
            what = "allows no action" if ACTION_MASK in info else "is missing"
            raise ValueError(f"info['{ACTION_MASK}'] of {self._name} {what}")
        return {**(observation if self._extends else {"observation": observation}), ACTION_MASK: mask}


def has_mask(env: gymnasium.Env, info: dict[str, Any]) -> bool:
    """Returns whether the `info` of a reset masks discrete actions, one or several at once."""
    return bool(_sizes(env.action_space)) and ACTION_MASK in info


def any_action(env: gymnasium.Env, observation: Any, info: dict[str, Any]) -> Any:
    """Draws an action that is allowed behind a reset, where its observation or `info` masks discrete actions."""
    space: Any = env.action_space
    sizes, mask = _sizes(space), info.get(ACTION_MASK)
    if mask is None and isinstance(observation, dict):
        mask = observation.get(ACTION_MASK)
    if not sizes or mask is None or _flat(mask).size != sum(sizes):
        return space.sample()
    parts = np.split(_flat(mask), np.cumsum(sizes)[:-1])
    drawn = [space.np_random.choice(np.flatnonzero(part)) if part.any() else 0 for part in parts]
    return (np.asarray(drawn, space.dtype).reshape(space.shape) + space.start)[()]


def _sizes(space: Any) -> list[int]:
    """Returns how many values each number of an action has; none, where actions are not discrete."""
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    return np.ravel(space.nvec).tolist() if isinstance(space, spaces.MultiDiscrete) else []


def _flat(mask: Any) -> np.ndarray:
    """Returns a mask, of several numbers one array or as Gymnasium has it one for each, as `[sum of sizes]`."""
    parts = mask if isinstance(mask, (tuple, list)) else (mask,)
    return np.concatenate([np.ravel(np.asarray(part, np.int8)) for part in parts])
