"""JAX's two debugging aids: neither mistakes what the library does on purpose for a fault."""

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae import A2CConfig
from purejaxrl_gae.program import algorithms, debugging
from purejaxrl_gae.program.experience import init_counters, recent_score
from purejaxrl_gae.program.guarded_update import episode_metrics
from purejaxrl_gae.program.types import EpisodeTotals
from purejaxrl_gae.runs.programs import OneAgent


def test_what_there_is_none_of_is_nan_unless_that_is_a_fault():
    none = EpisodeTotals(jnp.int32(0), jnp.float32(0.0), jnp.float32(0.0))
    assert np.isnan(episode_metrics(none)["episodic_return"])
    with jax.debug_nans(True):
        assert episode_metrics(none)["episodic_return"] == 0.0
        assert jax.jit(lambda counters: recent_score(counters))(init_counters()) == 0.0


def test_a_function_takes_the_place_of_its_program_where_nothing_is_compiled():
    double = jax.jit(lambda x: 2.0 * x)
    with jax.disable_jit():
        program = debugging.lower(double, 1.0).compile(None)
        assert program.memory_analysis() is None and program(3.0) == 6.0
    assert debugging.lower(double, 1.0).compile()(3.0) == 6.0


def test_the_programs_of_a_run_need_no_compiler():
    algorithm = algorithms.make_algorithm(A2CConfig(env="CartPole-v1", num_envs=2, num_steps=2, hidden_sizes=(2,)))
    with jax.disable_jit():
        assert OneAgent(algorithm, jax.devices()).program_bytes == 0
