"""What the compiled programs hold at once does not depend on how long a run is."""

import dataclasses
import functools

import jax
import pytest

from purejaxrl_gae import PPOConfig, TRPOConfig
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.runs.device_memory import available_bytes, refuse_too_large
from purejaxrl_gae.runs.programs import AgentPrograms, OneAgent
from purejaxrl_gae.settings.errors import UserError

SMALL = {"env": "CartPole-v1", "num_envs": 4, "num_steps": 16, "hidden_sizes": (4,), "total_timesteps": 1_000_000}
PPO = PPOConfig(**SMALL, num_minibatches=4, update_epochs=2, normalize_observations=False)
TRPO = TRPOConfig(**SMALL, batch_size=32, n_critic_updates=1, cg_max_steps=2)


@functools.cache
def bytes_of_one_agent(config):
    return OneAgent(algorithms.make_algorithm(config), jax.devices()[:1]).program_bytes


def bytes_of_agents(config):
    return AgentPrograms(algorithms.make_algorithm(config), 2, jax.devices()[:1]).program_bytes


@pytest.mark.parametrize(
    "bytes_of, config",
    [(bytes_of_one_agent, PPO), (bytes_of_one_agent, TRPO), (bytes_of_agents, PPO)],
    ids=["ppo", "trpo", "agents"],
)
def test_memory_is_the_same_for_a_million_steps_and_a_thousand_million(bytes_of, config):
    short = bytes_of(config)
    assert short > 0
    assert short == bytes_of(dataclasses.replace(config, total_timesteps=1_000_000_000))


@pytest.mark.parametrize("layers, field", [((8,), "num_envs is 16"), ((65_536, 65_536), "hidden_sizes is")])
def test_what_is_too_large_for_the_machine_names_the_field_to_lower(layers, field):
    needed = available_bytes() * (2 if len(layers) == 1 else 1000)
    with pytest.raises(UserError, match=field):
        refuse_too_large(PPOConfig(num_envs=16, hidden_sizes=layers), needed)


def test_memory_grows_with_the_rollout():
    longer = dataclasses.replace(PPO, num_steps=4 * PPO.num_steps)
    assert bytes_of_one_agent(longer) > 1.5 * bytes_of_one_agent(PPO)
