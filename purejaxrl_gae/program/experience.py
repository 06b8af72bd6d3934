"""Everything computed once over a whole recording: values, log-probabilities, scaled rewards, episode statistics."""

from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae import kernels
from purejaxrl_gae.environments.structures import all_finite, allows_action, for_networks, mask_name
from purejaxrl_gae.parallel import sharding
from purejaxrl_gae.program import memories
from purejaxrl_gae.program.debugging import no_value
from purejaxrl_gae.program.rollout import normalize_observations, update_observation_moments
from purejaxrl_gae.program.types import (
    Counters,
    EpisodeTotals,
    Experience,
    Normalizers,
    Params,
    Recording,
    Sequence,
    Setup,
    World,
)

SCORE_WINDOW = 100


def recent_score(counters: Counters) -> jax.Array:
    """Returns the mean return of the last 100 episodes, or of all if fewer; NaN only before the first has ended."""
    number = jnp.minimum(counters.episodes, SCORE_WINDOW)
    kept = jnp.where(jnp.arange(SCORE_WINDOW) < number, counters.recent_returns, 0.0)
    return jnp.where(number > 0, jnp.sum(kept) / jnp.maximum(number, 1), no_value())


def init_counters() -> Counters:
    """Returns counters that have counted nothing."""
    zero = jnp.zeros((), jnp.int32)
    return Counters(zero, zero, zero, zero, jnp.zeros(SCORE_WINDOW, jnp.float32))


def experience_of(
    setup: Setup,
    params: Params,
    normalizers: Normalizers,
    world: World,
    counters: Counters,
    recording: Recording,
    gamma: float | jax.Array,
) -> tuple[World, Normalizers, Counters, Experience, EpisodeTotals]:
    """Computes from a recording what is learned from it and what is counted.

    Args:
      setup: static parts.
      params: that acted.
      normalizers: running moments that the policy acted with.
      world: before the rollout, but for the environments' states.
      counters: before the rollout.
      recording: of T steps in N environments, compiled ones or the host's.
      gamma: discount, for scaling rewards.

    Returns:
      `(world, normalizers, counters, experience, totals)` after the rollout; the moments include the new data.
    """
    observations, next_observations = map(for_networks, (recording.observations, recording.next_observations))
    ended = recording.terminated | recording.truncated
    nonfinite_steps = recording.nonfinite_steps
    if setup.config.on_nonfinite == "halt":  # otherwise they were ended, and counted then
        nonfinite_steps = _count_nonfinite(setup.environment, observations, recording.rewards)
    (episode_returns, episode_lengths), totals, recent = _episode_statistics(
        world,
        recording.rewards if recording.scores is None else recording.scores,
        ended if recording.finished is None else recording.finished,
        counters,
    )
    rewards, discounted_returns, return_moments = _scaled_rewards(normalizers, world, recording.rewards, ended, gamma)
    recording = recording._replace(observations=observations, rewards=rewards, next_observations=next_observations)
    experience = _experience(setup, params, normalizers, recording, ended, world.memory)
    memory = memories.renewed(setup.network, recording.next_memory, ended[-1])
    world = World(
        world.states, next_observations, episode_returns, episode_lengths, discounted_returns, world.key, memory
    )
    observation_moments = update_observation_moments(normalizers.observations, observations)
    counters = counters.replace(
        episodes=kernels.add_counts(counters.episodes, totals.episodes),
        recent_returns=recent,
        nonfinite_steps=kernels.add_counts(counters.nonfinite_steps, nonfinite_steps),
    )
    return world, Normalizers(observation_moments, return_moments), counters, experience, totals


def _experience(
    setup: Setup, params: Params, normalizers: Normalizers, recording: Recording, ended: jax.Array, memory: Any
) -> Experience:
    """Adds what the networks say of a recording whose rewards are scaled already, from the memory before it."""
    network, seen = setup.network, normalize_observations(normalizers, recording.observations)
    starts = memories.starts_after(ended)
    inputs = Sequence(seen, starts, memory) if jax.tree.leaves(memory) else seen
    distribution = recording.distribution
    if distribution is None:
        distribution = network.policy(params, inputs)
    terminated, truncated = recording.terminated, recording.truncated
    if setup.config.time_limit == "terminal":
        terminated, truncated = ended, jnp.zeros_like(truncated)
    last_observations = normalize_observations(normalizers, recording.next_observations)
    values, following = memories.values_along(network, params, inputs, last_observations, ended[-1])
    return Experience(
        observations=seen,
        actions=recording.actions,
        distribution=distribution,
        log_probs=distribution.log_prob(recording.actions),
        rewards=recording.rewards,
        values=values,
        next_values=jnp.where(truncated, recording.final_values, following),
        terminated=terminated,
        truncated=truncated,
        last_observations=last_observations,
        starts=starts,
        memory=memory,
    )


def _count_nonfinite(environment: Any, observations: Any, rewards: jax.Array) -> jax.Array:
    """Counts the steps `[T, N]` with a reward or an observation that is not finite, or without an allowed action."""
    usable = all_finite(observations, rewards.shape) & jnp.isfinite(rewards)
    if mask_name(environment) is not None:
        usable &= allows_action(environment, observations, rewards.shape)
    return jnp.sum(~usable, dtype=jnp.int32)


def _episode_statistics(world: World, rewards: jax.Array, ended: jax.Array, counters: Counters):
    """Returns and lengths of the episodes that ended, from rewards alone."""

    def step(carry, inputs):
        episode_return, length = carry
        reward, ended_t = inputs
        episode_return, length = episode_return + reward, kernels.add_counts(length, jnp.int32(1))
        carry = jnp.where(ended_t, 0.0, episode_return), jnp.where(ended_t, 0, length)
        return carry, (episode_return, length)

    carry, (returns, lengths) = jax.lax.scan(step, (world.episode_returns, world.episode_lengths), (rewards, ended))
    returns, lengths = sharding.divided((returns, lengths), axis=1)
    totals = EpisodeTotals(
        episodes=jnp.sum(ended, dtype=jnp.int32),
        returns=jnp.sum(jnp.where(ended, returns, 0.0)),
        lengths=jnp.sum(jnp.where(ended, lengths, 0).astype(jnp.float32)),
    )
    return carry, totals, _most_recent(counters.recent_returns, returns, ended, totals.episodes)


def _most_recent(recent: jax.Array, returns: jax.Array, ended: jax.Array, num_ended: jax.Array) -> jax.Array:
    """Returns the last 100 episode returns, newest first, after a rollout in which `num_ended` more ended."""
    # (jnp.nonzero would say it shorter, but XLA of jaxlib 0.11.2 crashes when it compiles that for several devices.)
    newest_first = returns.reshape(-1)[::-1]
    how_many = jnp.cumsum(ended.reshape(-1)[::-1])  # ended so far, counted back from the newest
    slots = jnp.arange(recent.shape[0])
    positions = jnp.minimum(jnp.searchsorted(how_many, slots + 1), newest_first.size - 1)
    return jnp.where(slots < num_ended, newest_first[positions], recent[jnp.maximum(slots - num_ended, 0)])


def _scaled_rewards(normalizers, world, rewards, ended, gamma):
    """Divides rewards by the deviation of the discounted return; returns the moments that say so too."""
    if normalizers.returns is None:
        return rewards, world.discounted_returns, None
    returns, carried = kernels.running_discounted_returns(rewards, ended, world.discounted_returns, gamma=gamma)
    moments = kernels.update_moments(normalizers.returns, returns)
    return kernels.scale_rewards(rewards, moments), carried, moments
