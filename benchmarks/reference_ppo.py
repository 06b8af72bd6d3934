"""The common-practice reference: PPO as the well-known single-file JAX programs write it, to compare speeds with.

A whole run is one program here too, and network, loss, hyperparameters and counted steps are those of our PPO. What is
kept is the structure: a dictionary of hyperparameters; functions nested in `make_train`; gymnax's automatic reset,
which computes a reset in every step; episode statistics by a wrapper inside the environment's step; value, statistics
and log-probability of every step carried out of the scan, and the `info` arrays out of the whole run;
`jax.random.permutation` and a gather for every field; GAE by a scan unrolled 16 times; an optax chain on the pytree of
parameters. One flag stands for both ends of an episode and nothing is bootstrapped at time limits, so it computes
slightly less than ours. It learns: `python -m benchmarks.reference_ppo --env CartPole-v1`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import struct
from flax.training.train_state import TrainState
from gymnax.environments import spaces

from purejaxrl_gae.kernels import Categorical, DiagonalGaussian
from purejaxrl_gae.program.initialization import orthogonal

DEFAULTS: dict[str, Any] = {
    "ENV_NAME": "CartPole-v1",
    "TOTAL_TIMESTEPS": 100_000,
    "NUM_ENVS": 4,
    "NUM_STEPS": 128,
    "LR": 3e-4,
    "ANNEAL_LR": False,
    "UPDATE_EPOCHS": 4,
    "NUM_MINIBATCHES": 4,
    "GAMMA": 0.99,
    "GAE_LAMBDA": 0.95,
    "CLIP_EPS": 0.2,
    "ENT_COEF": 0.01,
    "VF_COEF": 0.5,
    "MAX_GRAD_NORM": 0.5,
}


def scaled_orthogonal(scale: float):
    """An initialiser; by matrix products, because batched LAPACK calls can block each other under `vmap` on a CPU."""
    return lambda key, shape, dtype=jnp.float32: orthogonal(jax.random.normal(key, shape, dtype), scale)


class ActorCritic(nn.Module):
    """Separate actor and critic of two layers of 64 tanh units, in one module."""

    num_outputs: int
    discrete: bool

    @nn.compact
    def __call__(self, observation):
        """`(distribution, value)`."""
        actor = critic = observation
        for _ in range(2):
            actor = nn.tanh(nn.Dense(64, kernel_init=scaled_orthogonal(np.sqrt(2)))(actor))
        actor = nn.Dense(self.num_outputs, kernel_init=scaled_orthogonal(0.01))(actor)
        if self.discrete:
            distribution = Categorical(actor)
        else:
            log_std = self.param("log_std", nn.initializers.zeros, (self.num_outputs,))
            distribution = DiagonalGaussian(actor, jnp.broadcast_to(log_std, actor.shape))
        for _ in range(2):
            critic = nn.tanh(nn.Dense(64, kernel_init=scaled_orthogonal(np.sqrt(2)))(critic))
        critic = nn.Dense(1, kernel_init=scaled_orthogonal(1.0))(critic)
        return distribution, jnp.squeeze(critic, axis=-1)


@struct.dataclass
class LogState:
    """An environment's state with the statistics of its running and its last finished episode."""

    env_state: Any
    running_return: jax.Array
    running_length: jax.Array
    finished_return: jax.Array
    finished_length: jax.Array
    timestep: jax.Array


class LogWrapper:
    """Adds episode statistics to `info`, clips actions to their bounds, and joins the two flags of an end."""

    def __init__(self, env, params):
        self.env, self.params = env, params
        self.action_space = env.action_space(params)

    def reset(self, key):
        """`(observation, state)`."""
        observation, env_state = self.env.reset(key, self.params)
        zero, none = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)
        return observation, LogState(env_state, zero, none, zero, none, none)

    def step(self, key, state, action):
        """Five values; a reset is computed in every step."""
        if not isinstance(self.action_space, spaces.Discrete):
            action = jnp.clip(action, self.action_space.low, self.action_space.high)
        observation, env_state, reward, terminated, truncated, info = self.env.step(
            key, state.env_state, action, self.params
        )
        done = jnp.logical_or(terminated, truncated)
        new_return, new_length = state.running_return + reward, state.running_length + 1
        state = LogState(
            env_state=env_state,
            running_return=new_return * (1 - done),
            running_length=new_length * (1 - done),
            finished_return=state.finished_return * (1 - done) + new_return * done,
            finished_length=state.finished_length * (1 - done) + new_length * done,
            timestep=state.timestep + 1,
        )
        info = {
            "discount": info.get("discount", 1.0 - terminated),
            "returned_episode_returns": state.finished_return,
            "returned_episode_lengths": state.finished_length,
            "timestep": state.timestep,
            "returned_episode": done,
        }
        return observation, state, reward, done, info


class Transition(NamedTuple):
    """One step of all environments."""

    done: jax.Array
    action: jax.Array
    value: jax.Array
    reward: jax.Array
    log_prob: jax.Array
    obs: jax.Array
    info: dict[str, jax.Array]


def make_train(config: dict[str, Any]):
    """`train(key) -> {"runner_state", "metrics"}`, metrics being the `info` arrays `[U, T, N]`."""
    config = {**DEFAULTS, **config}
    num_updates = config["TOTAL_TIMESTEPS"] // config["NUM_STEPS"] // config["NUM_ENVS"]
    batch_size = config["NUM_STEPS"] * config["NUM_ENVS"]
    env = LogWrapper(*gymnax.make(config["ENV_NAME"]))
    discrete = isinstance(env.action_space, spaces.Discrete)
    network = ActorCritic(env.action_space.n if discrete else int(np.prod(env.action_space.shape)), discrete)

    def linear_schedule(count):
        done = count // (config["NUM_MINIBATCHES"] * config["UPDATE_EPOCHS"])
        return config["LR"] * (1.0 - done / num_updates)

    def train(rng):
        rng, init_key, reset_key = jax.random.split(rng, 3)
        params = network.init(init_key, jnp.zeros(env.env.observation_space(env.params).shape))
        optimizer = optax.chain(
            optax.clip_by_global_norm(config["MAX_GRAD_NORM"]),
            optax.adam(linear_schedule if config["ANNEAL_LR"] else config["LR"], eps=1e-5),
        )
        train_state = TrainState.create(apply_fn=network.apply, params=params, tx=optimizer)
        obs, env_state = jax.vmap(env.reset)(jax.random.split(reset_key, config["NUM_ENVS"]))

        def update_step(runner_state, _):
            def env_step(runner_state, _):
                train_state, env_state, last_obs, rng = runner_state
                rng, action_key, step_key = jax.random.split(rng, 3)
                policy, value = network.apply(train_state.params, last_obs)
                action = policy.sample(action_key)
                log_prob = policy.log_prob(action)
                keys = jax.random.split(step_key, config["NUM_ENVS"])
                obs, env_state, reward, done, info = jax.vmap(env.step)(keys, env_state, action)
                transition = Transition(done, action, value, reward, log_prob, last_obs, info)
                return (train_state, env_state, obs, rng), transition

            runner_state, trajectory = jax.lax.scan(env_step, runner_state, None, config["NUM_STEPS"])
            train_state, env_state, last_obs, rng = runner_state
            _, last_value = network.apply(train_state.params, last_obs)

            def gae_step(carry, transition):
                advantage, next_value = carry
                alive = 1 - transition.done
                delta = transition.reward + config["GAMMA"] * next_value * alive - transition.value
                advantage = delta + config["GAMMA"] * config["GAE_LAMBDA"] * alive * advantage
                return (advantage, transition.value), advantage

            carry = (jnp.zeros_like(last_value), last_value)
            _, advantages = jax.lax.scan(gae_step, carry, trajectory, reverse=True, unroll=16)
            targets = advantages + trajectory.value

            def update_epoch(update_state, _):
                def update_minibatch(train_state, minibatch):
                    def loss_fn(params, transition, advantages, targets):
                        policy, value = network.apply(params, transition.obs)
                        log_prob = policy.log_prob(transition.action)
                        value_loss = 0.5 * jnp.square(value - targets).mean()
                        ratio = jnp.exp(log_prob - transition.log_prob)
                        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
                        clipped = jnp.clip(ratio, 1.0 - config["CLIP_EPS"], 1.0 + config["CLIP_EPS"])
                        actor_loss = -jnp.minimum(ratio * advantages, clipped * advantages).mean()
                        entropy = policy.entropy().mean()
                        total = actor_loss + config["VF_COEF"] * value_loss - config["ENT_COEF"] * entropy
                        return total, (value_loss, actor_loss, entropy)

                    losses, grads = jax.value_and_grad(loss_fn, has_aux=True)(train_state.params, *minibatch)
                    return train_state.apply_gradients(grads=grads), losses

                train_state, trajectory, advantages, targets, rng = update_state
                rng, shuffle_key = jax.random.split(rng)
                permutation = jax.random.permutation(shuffle_key, batch_size)
                batch = jax.tree.map(lambda x: x.reshape((batch_size, *x.shape[2:])), (trajectory, advantages, targets))
                shuffled = jax.tree.map(lambda x: jnp.take(x, permutation, axis=0), batch)
                minibatches = jax.tree.map(lambda x: x.reshape((config["NUM_MINIBATCHES"], -1, *x.shape[1:])), shuffled)
                train_state, losses = jax.lax.scan(update_minibatch, train_state, minibatches)
                return (train_state, trajectory, advantages, targets, rng), losses

            update_state = (train_state, trajectory, advantages, targets, rng)
            update_state, _ = jax.lax.scan(update_epoch, update_state, None, config["UPDATE_EPOCHS"])
            train_state, *_, rng = update_state
            return (train_state, env_state, last_obs, rng), trajectory.info

        runner_state, info = jax.lax.scan(update_step, (train_state, env_state, obs, rng), None, num_updates)
        return {"runner_state": runner_state, "metrics": info}

    return train


@dataclass(frozen=True)
class Options:
    """Trains the reference, to see that it learns."""

    env: str = "CartPole-v1"
    """gymnax id"""
    total_timesteps: int = 100_000
    """environment steps"""
    num_envs: int = 4
    """environments"""
    num_steps: int = 128
    """steps of each between two updates"""
    learning_rate: float = 3e-4
    """Adam's step size"""
    gamma: float = 0.99
    """discount"""
    num_seeds: int = 3
    """agents"""


def main() -> None:
    options = tyro.cli(Options)
    config = {"ENV_NAME": options.env, "TOTAL_TIMESTEPS": options.total_timesteps, "NUM_ENVS": options.num_envs}
    config |= {"NUM_STEPS": options.num_steps, "LR": options.learning_rate, "GAMMA": options.gamma}
    keys = jax.random.split(jax.random.key(0), options.num_seeds)
    metrics = jax.jit(jax.vmap(make_train(config)))(keys)["metrics"]
    ended = np.asarray(metrics["returned_episode"])
    returns = np.asarray(metrics["returned_episode_returns"])
    for seed in range(options.num_seeds):
        finished = returns[seed][ended[seed]]
        print(f"seed {seed}: first 100 episodes {finished[:100].mean():.1f}, last 100 {finished[-100:].mean():.1f}")


if __name__ == "__main__":
    main()
