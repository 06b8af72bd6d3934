"""The common-practice reference with memory: PPO with a GRU as the well-known single-file JAX programs write it.

As `benchmarks.reference_ppo`, and with the structure that recurrent ones share: flax's GRUCell, which `nn.scan` moves
through time and which forgets where an episode begins; in the rollout the whole network for one step of time; flags of
beginnings, values and log-probabilities stored with the experience; the memory before a rollout carried to its
minibatches, which are whole trajectories of some environments, gathered field by field behind a permutation of all.
`SHARED` says whether policy and value function have one trunk and one GRU with a head of one more layer each, as those
programs have, or two of each, which is our default. Nothing is bootstrapped at time limits, so it computes slightly
less than ours. It learns: `python -m benchmarks.reference_ppo_rnn --env CartPole-v1 --observe 0 2`.
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
from flax.training.train_state import TrainState
from gymnax.environments import spaces

from benchmarks import reference_ppo
from benchmarks.reference_ppo import LogWrapper, scaled_orthogonal
from purejaxrl_gae.kernels import Categorical, DiagonalGaussian

DEFAULTS: dict[str, Any] = {
    **reference_ppo.DEFAULTS,
    "NUM_ENVS": 64,
    "ENV_KWARGS": {},
    "OBSERVE": None,
    "WIDTH": 64,
    "SHARED": False,
}


class ForgettingGRU(nn.Module):
    """One step of a gated recurrent unit, whose memory is set to zero where an episode begins."""

    size: int

    @nn.compact
    def __call__(self, hidden, inputs):
        """`(hidden, hidden)` behind this step."""
        features, begins = inputs
        hidden = jnp.where(begins[:, None], jnp.zeros_like(hidden), hidden)
        return nn.GRUCell(self.size, recurrent_kernel_init=scaled_orthogonal(1.0))(hidden, features)


class Trunk(nn.Module):
    """A layer of tanh units and a GRU behind it, over time."""

    width: int

    @nn.compact
    def __call__(self, hidden, observations, begins):
        """`(hidden, features)`, `[N, M]` behind the last step and `[T, N, M]`."""
        features = nn.tanh(nn.Dense(self.width, kernel_init=scaled_orthogonal(np.sqrt(2)))(observations))
        over_time = nn.scan(ForgettingGRU, variable_broadcast="params", split_rngs={"params": False})
        return over_time(self.width)(hidden, (features, begins))


class RecurrentActorCritic(nn.Module):
    """Actor and critic of `[T, N]` steps, in one module; what they remember is a tuple of one or two arrays."""

    num_outputs: int
    discrete: bool
    width: int
    shared: bool

    @nn.compact
    def __call__(self, hidden, observations, begins):
        """`(hidden, distribution, value)`."""
        trunks = [Trunk(self.width)(before, observations, begins) for before in hidden]
        hidden, features = tuple(after for after, _ in trunks), [seen for _, seen in trunks]
        actor, critic = features[0], features[-1]
        if self.shared:
            actor = nn.tanh(nn.Dense(self.width, kernel_init=scaled_orthogonal(np.sqrt(2)))(actor))
            critic = nn.tanh(nn.Dense(self.width, kernel_init=scaled_orthogonal(np.sqrt(2)))(critic))
        actor = nn.Dense(self.num_outputs, kernel_init=scaled_orthogonal(0.01))(actor)
        critic = nn.Dense(1, kernel_init=scaled_orthogonal(1.0))(critic)
        if self.discrete:
            distribution = Categorical(actor)
        else:
            log_std = self.param("log_std", nn.initializers.zeros, (self.num_outputs,))
            distribution = DiagonalGaussian(actor, jnp.broadcast_to(log_std, actor.shape))
        return hidden, distribution, jnp.squeeze(critic, axis=-1)

    def begin(self, num_envs):
        """Returns the memory before anything is seen."""
        return (jnp.zeros((num_envs, self.width)),) * (1 if self.shared else 2)


class PartlyObserved(LogWrapper):
    """Shows some numbers of each observation."""

    def __init__(self, env, params, indices):
        super().__init__(env, params)
        size = env.observation_space(params).shape[0]
        self.indices = np.arange(size) if indices is None else np.array(indices)

    def reset(self, key):
        """See LogWrapper."""
        observation, state = super().reset(key)
        return observation[self.indices], state

    def step(self, key, state, action):
        """See LogWrapper."""
        observation, *others = super().step(key, state, action)
        return observation[self.indices], *others


class Transition(NamedTuple):
    """One step of all environments."""

    begins: jax.Array
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
    num_envs, num_steps = config["NUM_ENVS"], config["NUM_STEPS"]
    num_updates = config["TOTAL_TIMESTEPS"] // num_steps // num_envs
    env, env_params = gymnax.make(config["ENV_NAME"])
    env = PartlyObserved(env, env_params.replace(**config["ENV_KWARGS"]), config["OBSERVE"])
    discrete = isinstance(env.action_space, spaces.Discrete)
    num_outputs = env.action_space.n if discrete else int(np.prod(env.action_space.shape))
    network = RecurrentActorCritic(num_outputs, discrete, config["WIDTH"], config["SHARED"])

    def linear_schedule(count):
        done = count // (config["NUM_MINIBATCHES"] * config["UPDATE_EPOCHS"])
        return config["LR"] * (1.0 - done / num_updates)

    def train(rng):
        rng, init_key, reset_key = jax.random.split(rng, 3)
        obs, env_state = jax.vmap(env.reset)(jax.random.split(reset_key, num_envs))
        begins, hidden = jnp.ones(num_envs, bool), network.begin(num_envs)
        params = network.init(init_key, hidden, obs[None], begins[None])
        optimizer = optax.chain(
            optax.clip_by_global_norm(config["MAX_GRAD_NORM"]),
            optax.adam(linear_schedule if config["ANNEAL_LR"] else config["LR"], eps=1e-5),
        )
        train_state = TrainState.create(apply_fn=network.apply, params=params, tx=optimizer)

        def update_step(runner_state, _):
            def env_step(runner_state, _):
                train_state, env_state, last_obs, last_done, hidden, rng = runner_state
                rng, action_key, step_key = jax.random.split(rng, 3)
                hidden, policy, value = network.apply(train_state.params, hidden, last_obs[None], last_done[None])
                action = policy.sample(action_key)
                log_prob = policy.log_prob(action)
                value, action, log_prob = value[0], action[0], log_prob[0]
                keys = jax.random.split(step_key, num_envs)
                obs, env_state, reward, done, info = jax.vmap(env.step)(keys, env_state, action)
                transition = Transition(last_done, done, action, value, reward, log_prob, last_obs, info)
                return (train_state, env_state, obs, done, hidden, rng), transition

            hidden_before = runner_state[-2]
            runner_state, trajectory = jax.lax.scan(env_step, runner_state, None, num_steps)
            train_state, env_state, last_obs, last_done, hidden, rng = runner_state
            _, _, last_value = network.apply(train_state.params, hidden, last_obs[None], last_done[None])

            def gae_step(carry, transition):
                advantage, next_value = carry
                alive = 1 - transition.done
                delta = transition.reward + config["GAMMA"] * next_value * alive - transition.value
                advantage = delta + config["GAMMA"] * config["GAE_LAMBDA"] * alive * advantage
                return (advantage, transition.value), advantage

            carry = (jnp.zeros_like(last_value[0]), last_value[0])
            _, advantages = jax.lax.scan(gae_step, carry, trajectory, reverse=True, unroll=16)
            targets = advantages + trajectory.value

            def update_epoch(update_state, _):
                def update_minibatch(train_state, minibatch):
                    def loss_fn(params, hidden, transition, advantages, targets):
                        before = jax.tree.map(lambda x: x[0], hidden)
                        _, policy, value = network.apply(params, before, transition.obs, transition.begins)
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

                train_state, batch, rng = update_state
                rng, shuffle_key = jax.random.split(rng)
                permutation = jax.random.permutation(shuffle_key, num_envs)
                shuffled = jax.tree.map(lambda x: jnp.take(x, permutation, axis=1), batch)
                minibatches = jax.tree.map(
                    lambda x: jnp.swapaxes(x.reshape(x.shape[0], config["NUM_MINIBATCHES"], -1, *x.shape[2:]), 0, 1),
                    shuffled,
                )
                train_state, losses = jax.lax.scan(update_minibatch, train_state, minibatches)
                return (train_state, batch, rng), losses

            batch = (jax.tree.map(lambda x: x[None], hidden_before), trajectory, advantages, targets)
            update_state = (train_state, batch, rng)
            update_state, _ = jax.lax.scan(update_epoch, update_state, None, config["UPDATE_EPOCHS"])
            train_state, _, rng = update_state
            return (train_state, env_state, last_obs, last_done, hidden, rng), trajectory.info

        runner_state = (train_state, env_state, obs, begins, hidden, rng)
        runner_state, info = jax.lax.scan(update_step, runner_state, None, num_updates)
        return {"runner_state": runner_state, "metrics": info}

    return train


@dataclass(frozen=True)
class Options:
    """Trains the reference, to see that it learns."""

    env: str = "CartPole-v1"
    """gymnax id"""
    observe: tuple[int, ...] | None = None
    """numbers of the observation that are shown; all where None"""
    shared: bool = False
    """one trunk for policy and value function"""
    total_timesteps: int = 200_000
    """environment steps"""
    num_envs: int = 64
    """environments"""
    num_steps: int = 32
    """steps of each between two updates"""
    learning_rate: float = 1e-3
    """Adam's step size"""
    gamma: float = 0.98
    """discount"""
    num_seeds: int = 3
    """agents"""


def train_seeds(options: Options) -> list[np.ndarray]:
    """The returns of each seed's episodes, in the order in which they ended."""
    config = {"ENV_NAME": options.env, "TOTAL_TIMESTEPS": options.total_timesteps, "NUM_ENVS": options.num_envs}
    config |= {"NUM_STEPS": options.num_steps, "LR": options.learning_rate, "GAMMA": options.gamma}
    config |= {"OBSERVE": options.observe, "SHARED": options.shared}
    keys = jax.random.split(jax.random.key(0), options.num_seeds)
    metrics = jax.jit(jax.vmap(make_train(config)))(keys)["metrics"]
    ended, returns = (np.asarray(metrics[name]) for name in ("returned_episode", "returned_episode_returns"))
    return [returns[seed][ended[seed]] for seed in range(options.num_seeds)]


def main() -> None:
    for seed, finished in enumerate(train_seeds(tyro.cli(Options))):
        print(f"seed {seed}: first 100 episodes {finished[:100].mean():.1f}, last 100 {finished[-100:].mean():.1f}")


if __name__ == "__main__":
    main()
