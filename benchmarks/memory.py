"""PPO with a gated recurrent unit against the common-practice reference; rows of `benchmarks.training`.

To be remembered: velocities that are not observed, and a sign shown once. The same layers and units, minibatches
of whole trajectories, hyperparameters and counted steps on both sides. One trunk for policy and value function is how
the known programs do it, two are our default.
"""

from collections.abc import Callable
from typing import Any

import jax

from benchmarks import ours, reference_ppo_rnn
from benchmarks.measure import Side, Timing, bar, jax_side
from purejaxrl_gae import PPOConfig

LIMIT = 1.2
ENV_KWARGS = {"MemoryChain-bsuite": {"memory_length": 10}}
POSITIONS = {"CartPole-v1": (0, 2), "Pendulum-v1": (0, 1)}


def config(env: str, num_envs: int, num_steps: int, updates: int, *, shared: bool) -> PPOConfig:
    """The hyperparameters of both sides."""
    return PPOConfig(
        env=env,
        env_args=tuple(f"{name}={value}" for name, value in ENV_KWARGS.get(env, {}).items()),
        observe=POSITIONS.get(env, ()),
        memory="gru",
        network="shared" if shared else "separate",
        hidden_sizes=(64,),
        memory_size=64,
        total_timesteps=num_envs * num_steps * updates,
        num_envs=num_envs,
        num_steps=num_steps,
        num_minibatches=4,
        update_epochs=4,
        learning_rate=1e-3,
        anneal_lr=False,
        ent_coef=0.01,
        normalize_observations=False,
        normalize_rewards=False,
    )


def reference(own: PPOConfig, settings: dict[str, Any]) -> Callable[[jax.Array], dict[str, Any]]:
    """The reference's whole run, see `reference_ppo_rnn.make_train`.

    Args:
      own: our config.
      settings: the same as a dictionary, but for what concerns memory.
    """
    return reference_ppo_rnn.make_train(
        {
            **settings,
            "ENV_KWARGS": ENV_KWARGS.get(own.env, {}),
            "OBSERVE": own.observe or None,
            "WIDTH": own.memory_size,
            "SHARED": own.network == "shared",
        }
    )


def sides(own: PPOConfig, settings: dict[str, Any]) -> dict[str, Side]:
    """Ours and the reference's; see `reference`."""
    train = reference(own, settings)

    def results(key):
        output = train(key)
        return output["runner_state"][0].params, output["metrics"]

    return {
        "purejaxrl_gae": ours.one_agent(own),
        "reference": jax_side(results, lambda turn: (jax.random.key(turn),), own.env_steps),
    }


def bars(title: str, results: list[Timing]) -> list[dict]:
    """At least 1.2 times the reference."""
    if len(results) < 2:
        return []
    return [bar(f"{title}, over the reference", results[1].ratio, LIMIT, at_least=True)]
