"""Scoring a policy, by its mode or sampled, on whole episodes of the environment as it is."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae.environments import Environment
from purejaxrl_gae.program import memories
from purejaxrl_gae.program.rollout import clip_to_bounds, normalize_observations
from purejaxrl_gae.program.types import Network, Normalizers, Params

LONGEST_EPISODE = 10_000


class Evaluation(NamedTuple):
    """Episodes played, one per environment copy.

    Attributes:
      returns: `[E]` undiscounted returns.
      lengths: `[E]` int32 steps.
      finished: `[E]` bool; False where the longest allowed episode was cut.
    """

    returns: jax.Array
    lengths: jax.Array
    finished: jax.Array


def evaluate(
    environment: Environment,
    network: Network,
    params: Params,
    normalizers: Normalizers,
    key: jax.Array,
    *,
    num_episodes: int,
    deterministic: bool | jax.Array = True,
) -> Evaluation:
    """Plays the first episode of `num_episodes` environments to its end.

    Each copy counts its first episode only, so short episodes are not over-represented.

    Args:
      environment: N copies, without staggered first episodes.
      network: policy and value function.
      params: their parameters.
      normalizers: running moments; only those of the observations are read.
      key: random key of starts and transitions.
      num_episodes: E, static.
      deterministic: take the distribution's mode instead of a sample; may be traced.
    """
    limit = environment.max_episode_steps or LONGEST_EPISODE
    reset_key, step_key = jax.random.split(key)
    states, observations = environment.reset(reset_key, num_episodes)

    def some_running(carry):
        step, *_, evaluation = carry
        return (step < limit) & ~jnp.all(evaluation.finished)

    def one_step(carry):
        step, states, observations, remembered, evaluation = carry
        action_key, environment_key = jax.random.split(jax.random.fold_in(step_key, step))
        seen = normalize_observations(normalizers, observations)
        distribution, memory = memories.act(network, params, seen, *remembered)
        sample = distribution.sample(action_key)
        actions = jax.tree.map(partial(jnp.where, deterministic), distribution.mode(), sample)
        result = environment.step(environment_key, states, clip_to_bounds(environment, actions, network.action_bounds))
        running = ~evaluation.finished
        evaluation = Evaluation(
            returns=evaluation.returns + jnp.where(running, result.rewards, 0.0),
            lengths=evaluation.lengths + running,
            finished=evaluation.finished | result.terminated | result.truncated,
        )
        remembered = (memory, result.terminated | result.truncated)
        return step + 1, result.states, result.observations, remembered, evaluation

    nothing = Evaluation(
        returns=jnp.zeros(num_episodes, jnp.float32),
        lengths=jnp.zeros(num_episodes, jnp.int32),
        finished=jnp.zeros(num_episodes, bool),
    )
    remembered = (memories.initial_memory(network, num_episodes), nothing.finished)
    carry = (jnp.zeros((), jnp.int32), states, observations, remembered, nothing)
    *_, evaluation = jax.lax.while_loop(some_running, one_step, carry)
    return evaluation
