"""Stable-Baselines3's PPO for `benchmarks.defaults`: trained on the same tasks, handed back as our own parameters.

Its policy and value function are the same two networks of 64 and 64 tanh units, so their weights fit ours, and one
evaluation plays both.
"""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import stable_baselines3
import torch

from purejaxrl_gae.environments import BoxActions, DiscreteActions, Environment, make_environment

torch.set_num_threads(1)
torch.distributions.Distribution.set_default_validate_args(False)  # checks that change no number
jax.config.update("jax_cpu_enable_async_dispatch", False)  # one small step at a time


class OneCopy(gymnasium.Env):
    """A JAX environment as one of Gymnasium's, with its terminal states and time limits told apart.

    Args:
      environment: what to step.
    """

    def __init__(self, environment: Environment):
        low, high = -np.inf, np.inf
        self.observation_space = gymnasium.spaces.Box(low, high, environment.observation_shape, np.float32)
        actions = environment.actions
        if isinstance(actions, DiscreteActions):
            self.action_space = gymnasium.spaces.Discrete(actions.n)
        else:
            bounds = [np.reshape(bound, actions.shape).astype(np.float32) for bound in (actions.low, actions.high)]
            self.action_space = gymnasium.spaces.Box(*bounds, dtype=np.float32)
        self._is_box, self._started = isinstance(actions, BoxActions), False
        self._restart = jax.jit(lambda key: environment.reset(key, 1))

        @jax.jit
        def step(key, states, actions):
            key, step_key = jax.random.split(key)
            done = environment.step(step_key, states, actions[None])
            ends = jnp.stack([done.rewards[0], done.terminated[0], done.truncated[0]], dtype=jnp.float32)
            return key, done.states, done.observations[0], done.final_observations[0], ends

        self._advance = step

    def reset(self, *, seed: int | None = None, options: Any = None):
        """The observation of a new episode, which `step` has already begun."""
        super().reset(seed=seed)
        if seed is not None or not self._started:
            self._key, reset_key = jax.random.split(jax.random.key(0 if seed is None else seed))
            self._states, observations = self._restart(reset_key)
            self._following, self._started = np.asarray(observations[0]), True
        return self._following, {}

    def step(self, action):
        """See gymnasium.Env."""
        action = np.asarray(action, np.float32 if self._is_box else np.int32)
        self._key, self._states, following, final, ends = self._advance(self._key, self._states, action)
        reward, terminated, truncated = np.asarray(ends)
        self._following = np.asarray(following)
        return np.asarray(final), float(reward), bool(terminated), bool(truncated and not terminated), {}


def train(task: str, seed: int, total_timesteps: int) -> dict[str, Any]:
    """Trains with Stable-Baselines3's defaults; parameters as `ActorCritic` has them."""
    environment = make_environment(task)
    is_pure = isinstance(environment, Environment)
    env = OneCopy(environment) if is_pure else gymnasium.make(task.removeprefix("gymnasium:"))
    model = stable_baselines3.PPO("MlpPolicy", env, seed=seed, device="cpu")
    model.learn(total_timesteps)
    env.close()
    return converted({name: value.numpy() for name, value in model.policy.state_dict().items()})


def converted(weights: dict[str, np.ndarray]) -> dict[str, Any]:
    """The parameters of `ActorCritic` from those of an MlpPolicy."""

    def dense(name):
        return {"kernel": jnp.asarray(weights[f"{name}.weight"].T), "bias": jnp.asarray(weights[f"{name}.bias"])}

    def network(which, head):
        layers = [f"mlp_extractor.{which}_net.0", f"mlp_extractor.{which}_net.2", head]
        return {f"Dense_{index}": dense(name) for index, name in enumerate(layers)}

    policy: dict[str, Any] = {"mlp": network("policy", "action_net")}
    if "log_std" in weights:
        policy["log_std_offset"] = jnp.asarray(weights["log_std"])
    return {"policy": policy, "value": network("value", "value_net")}
