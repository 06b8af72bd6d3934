"""Gymnasium environments that say in `info["action_mask"]` which actions are allowed, as Taxi does."""

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
        mask = spaces.MultiBinary(int(env.action_space.n))  # type: ignore[attr-defined]
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
        mask = np.asarray(info.get(ACTION_MASK, np.zeros(size)), np.int8)
        if needed and not mask.any():
            what = "allows no action" if ACTION_MASK in info else "is missing"
            raise ValueError(f"info['{ACTION_MASK}'] of {self._name} {what}")
        return {**(observation if self._extends else {"observation": observation}), ACTION_MASK: mask}


def has_mask(env: gymnasium.Env, info: dict[str, Any]) -> bool:
    """Returns whether the `info` of a reset masks discrete actions."""
    return isinstance(env.action_space, spaces.Discrete) and ACTION_MASK in info
