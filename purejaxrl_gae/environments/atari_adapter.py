"""Atari games by the Arcade Learning Environment's own vector environment, with the usual preprocessing.

Up to 30 no-op actions at the start, each action for 4 frames, the maximum of the last two, grey, 84 x 84, the last 4
stacked (Mnih et al. 2015). While training, rewards to learn from are -1, 0 or 1 and a lost life is a termination, in
which the game goes on; scores are those of whole games, unclipped. Sticky actions are off unless asked for.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import gymnasium
import numpy as np

from purejaxrl_gae.environments.gymnasium_forms import action_space, checked_spec, observation_types
from purejaxrl_gae.environments.host_environment import HostCopies, HostEnvironment, HostStep, copy_seeds
from purejaxrl_gae.environments.quiet import importing
from purejaxrl_gae.settings.errors import UserError, first_line

FRAME_SKIP = 4
LONGEST_GAME = 108_000  # frames: half an hour of play


def from_atari(
    env_id: str,
    *,
    env_args: Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
    action_repeat: int = 1,
    sticky_actions: float = 0.0,
) -> HostEnvironment:
    """Makes an Atari game; observations are `[4, 84, 84]` uint8.

    Args:
      env_id: `ALE/…`.
      env_args: for `ale_py.AtariVectorEnv`, which they override.
      max_episode_steps: time limit in steps of 4 frames; 27,000 where None.
      action_repeat: steps of 4 frames for each action.
      sticky_actions: probability that a frame repeats the previous action.

    Raises:
      UserError: ale-py is missing, or there is no such game.
    """
    _register_games(env_id)
    spec, name = checked_spec(env_id), f"gymnasium:{env_id}"
    if spec.vector_entry_point is None:
        raise UserError(f"env is {name!r}, which has no vector environment; games are called as in ALE/Pong-v5")
    longest = LONGEST_GAME if max_episode_steps is None else FRAME_SKIP * max_episode_steps
    values = {
        "frameskip": FRAME_SKIP * action_repeat,
        "max_num_frames_per_episode": longest,
        "repeat_action_probability": sticky_actions,
        "reward_clipping": False,
        **(env_args or {}),
    }
    make = partial(_make, env_id, values, env_args)
    probe = make(1)
    types = observation_types(name, probe.single_observation_space)
    actions = action_space(name, probe.single_action_space)
    probe.close()

    def open_copies(num_envs, seed, render=False, training=False) -> HostCopies:
        screen = dict(grayscale=False, img_height=210, img_width=160, stack_num=1)
        twin = make(1, **screen) if render else None
        return AtariCopies(make(num_envs, life_loss_info=training), seed, training=training, twin=twin)

    return HostEnvironment(name, types.shape, actions, -(-longest // values["frameskip"]), open_copies, types.dtype)


def _register_games(env_id: str) -> None:
    with importing(f"gymnasium:{env_id}", "ale-py", "atari"):
        import ale_py
    gymnasium.register_envs(ale_py)


def _make(env_id: str, values: Mapping[str, Any], env_args: Any, num_envs: int, **more: Any) -> Any:
    modes: dict[str, Any] = {"vectorization_mode": "vector_entry_point", "autoreset_mode": "SameStep"}
    try:
        return gymnasium.make_vec(env_id, num_envs, **modes, **values, **more)
    except Exception as error:
        raise UserError(
            f"env is 'gymnasium:{env_id}', which cannot be made with env_args {env_args}: {first_line(error)}"
        ) from error


class AtariCopies:
    """Games side by side; see HostCopies.

    Args:
      env: `ale_py.AtariVectorEnv` that resets in the step that ends a game.
      seed: of the first reset.
      training: clip rewards to learn from; the environment reports lost lives as terminations.
      twin: one more game, which does what copy 0 does and is seen in colour; None where nobody looks.
    """

    def __init__(self, env: Any, seed: int, *, training: bool, twin: Any = None):
        self._env, self._training, self._twin = env, training, twin
        self._first_seed: int | None = seed
        self._screen = np.zeros((210, 160, 3), np.uint8)
        self._lives = np.zeros(env.num_envs, np.int32)

    def reset(self, seed: int | None = None) -> np.ndarray:
        """See HostCopies."""
        seed, self._first_seed = self._first_seed if seed is None else seed, None
        seeds = None if seed is None else np.asarray(copy_seeds(seed, self._env.num_envs))
        observations, info = self._env.reset(seed=seeds)
        self._lives = np.array(info["lives"])
        if self._twin is not None:
            frames, _ = self._twin.reset(seed=None if seeds is None else seeds[:1])
            self._screen = np.array(frames[0, -1])
        return np.array(observations)

    def step(self, actions: np.ndarray) -> HostStep:
        """See HostCopies."""
        actions = actions.astype(np.float32 if self._env.continuous else np.int64)
        observations, scores, terminated, truncated, info = self._env.step(actions)
        observations, scores = np.array(observations), np.asarray(scores, np.float32)
        terminated, truncated, lives = (np.array(flags) for flags in (terminated, truncated, info["lives"]))
        # After a lost life the game goes on with fewer; after its end a new one begins with all of them.
        finished = truncated | (terminated & (lives >= self._lives))
        self._lives = lives
        final_observations = observations
        if finished.any():
            final_observations = observations.copy()
            final_observations[finished] = info["final_obs"][finished]
        if self._twin is not None:
            self._screen = np.array(self._twin.step(actions[:1])[0][0, -1])
        rewards = np.sign(scores) if self._training else scores
        return HostStep(observations, rewards, terminated, truncated, final_observations, scores, finished)

    def reset_where(self, mask: np.ndarray) -> np.ndarray:
        """See HostCopies."""
        observations, info = self._env.reset(options={"reset_mask": mask})
        self._lives = np.where(mask, info["lives"], self._lives)
        if self._twin is not None and mask[0]:
            self._screen = np.array(self._twin.reset(options={"reset_mask": mask[:1]})[0][0, -1])
        return np.array(observations)

    def frame(self) -> np.ndarray:
        """See HostCopies."""
        return self._screen

    def close(self) -> None:
        """See HostCopies."""
        self._env.close()
