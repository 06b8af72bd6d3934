"""Collecting experience: a scan over vectorised environments, and everything computed once over its whole result.

The scan carries and stores only what cannot be computed later. Values, log-probabilities and episode statistics come
after it, in one batch each. No `info` passes through.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl_gae import kernels, sharding
from purejaxrl_gae.batching import compute_if_any
from purejaxrl_gae.debugging import no_value
from purejaxrl_gae.environments import BoxActions, Environment, HostEnvironment, end_nonfinite_episodes
from purejaxrl_gae.kernels import Categorical, DiagonalGaussian, Distribution, RunningMoments
from purejaxrl_gae.networks import ActionBounds, ActorCritic, Params

SCORE_WINDOW = 100


class Normalizers(struct.PyTreeNode):
    """Running moments, each None where its normalisation is off.

    Attributes:
      observations: moments of the observations; applied from the next rollout on.
      returns: moments of the running discounted return; its deviation scales the rewards.
    """

    observations: RunningMoments | None
    returns: RunningMoments | None


class World(struct.PyTreeNode):
    """What the environments are in between two rollouts.

    Attributes:
      states: pytree, leading axis N; of a HostEnvironment the HostRecording to learn from next, and otherwise ().
      observations: `[N, *shape]` raw observations to act on next.
      episode_returns: `[N]` sum of rewards of the running episodes.
      episode_lengths: `[N]` int32 steps of the running episodes.
      discounted_returns: `[N]` running discounted returns, for scaling rewards.
      key: random key of everything still to come.
    """

    states: Any
    observations: jax.Array
    episode_returns: jax.Array
    episode_lengths: jax.Array
    discounted_returns: jax.Array
    key: jax.Array


class Counters(struct.PyTreeNode):
    """What is counted over the whole run; a count stops at 2^31 - 1.

    Attributes:
      updates: int32 updates made; environment steps are updates * num_envs * num_steps.
      skipped_updates: int32 updates undone because something was not finite.
      nonfinite_steps: int32 environment steps whose reward or observation was not finite.
      episodes: int32 episodes finished.
      recent_returns: `[100]` returns of the last episodes, newest first, 0 where there were fewer.
    """

    updates: jax.Array
    skipped_updates: jax.Array
    nonfinite_steps: jax.Array
    episodes: jax.Array
    recent_returns: jax.Array


def recent_score(counters: Counters) -> jax.Array:
    """Mean return of the last 100 episodes, or of all where there were fewer; NaN only before the first has ended."""
    number = jnp.minimum(counters.episodes, SCORE_WINDOW)
    kept = jnp.where(jnp.arange(SCORE_WINDOW) < number, counters.recent_returns, 0.0)
    return jnp.where(number > 0, jnp.sum(kept) / jnp.maximum(number, 1), no_value())


class Trajectory(NamedTuple):
    """T steps of N environments.

    Attributes:
      observations: `[T, N, *shape]` what the networks saw: normalised where that is on.
      actions: `[T, N]` or `[T, N, A]` as sampled, before they are brought within bounds.
      distribution: the distribution each action came from, batch shape `[T, N]`.
      log_probs: `[T, N]`.
      rewards: `[T, N]` scaled where that is on.
      values: `[T, N]` V(s_t).
      next_values: `[T, N]` V of the true successor, before any reset.
      terminated: `[T, N]` bool.
      truncated: `[T, N]` bool.
    """

    observations: jax.Array
    actions: jax.Array
    distribution: Distribution
    log_probs: jax.Array
    rewards: jax.Array
    values: jax.Array
    next_values: jax.Array
    terminated: jax.Array
    truncated: jax.Array

    @property
    def transitions(self) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
        """Rewards, values, next values, terminated, truncated: what the advantage kernels take, in their order."""
        return self.rewards, self.values, self.next_values, self.terminated, self.truncated


class Recorded(NamedTuple):
    """What acting for T steps yields; everything else is computed from it.

    Attributes:
      observations: `[T, N, *shape]` raw.
      actions: as in Trajectory.
      distribution: as in Trajectory.
      rewards: `[T, N]` raw.
      terminated: `[T, N]` bool.
      truncated: `[T, N]` bool; never where terminated is.
      final_values: `[T, N]` V of the observation behind a time limit; of no meaning anywhere else.
      scores: `[T, N]` what episode returns add up; the rewards where None.
      finished: `[T, N]` bool, where an episode's return is complete; where None, where it is terminated or truncated.
    """

    observations: jax.Array
    actions: jax.Array
    distribution: Distribution
    rewards: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    final_values: jax.Array
    scores: jax.Array | None = None
    finished: jax.Array | None = None


class HostRecording(NamedTuple):
    """T steps as the host recorded them; what is the same as in Recorded has the same name.

    Attributes:
      observations: `[T, N, *shape]` uint8 or float32.
      actions: as in Trajectory.
      rewards: `[T, N]`.
      terminated: `[T, N]` bool.
      truncated: `[T, N]` bool.
      final_values: `[T, N]`.
      scores: `[T, N]`.
      finished: `[T, N]` bool.
      next_observations: `[N, *shape]` to act on next.
      nonfinite_steps: int32.
    """

    observations: Any
    actions: Any
    rewards: Any
    terminated: Any
    truncated: Any
    final_values: Any
    scores: Any
    finished: Any
    next_observations: Any
    nonfinite_steps: Any


class EpisodeTotals(NamedTuple):
    """Sums over the episodes that ended in a stretch of training; they add up over stretches.

    Attributes:
      episodes: int32 number of episodes that ended.
      returns: sum of their returns.
      lengths: sum of their lengths, in steps.
    """

    episodes: jax.Array
    returns: jax.Array
    lengths: jax.Array

    def plus(self, more: "EpisodeTotals") -> "EpisodeTotals":
        """Adds those of a further stretch."""
        episodes = kernels.add_counts(self.episodes, more.episodes)
        return EpisodeTotals(episodes, self.returns + more.returns, self.lengths + more.lengths)


def init_world(environment: Environment | HostEnvironment, key: jax.Array, num_envs: int) -> World:
    """N environments at their first observation; of a HostEnvironment at none, until the host has reset it."""
    reset_key, key = jax.random.split(key)
    states: Any
    if isinstance(environment, Environment):
        states, observations = environment.reset(reset_key, num_envs)
    else:
        states, observations = (), jnp.zeros((num_envs, *environment.observation_shape), jnp.float32)
    return World(
        states=states,
        observations=observations,
        episode_returns=jnp.zeros(num_envs, jnp.float32),
        episode_lengths=jnp.zeros(num_envs, jnp.int32),
        discounted_returns=jnp.zeros(num_envs, jnp.float32),
        key=key,
    )


def init_counters() -> Counters:
    """Nothing counted yet."""
    zero = jnp.zeros((), jnp.int32)
    return Counters(zero, zero, zero, zero, jnp.zeros(SCORE_WINDOW, jnp.float32))


def init_normalizers(environment: Environment | HostEnvironment, *, observations: bool, returns: bool) -> Normalizers:
    """Moments of nothing, for what is to be normalised."""
    return Normalizers(
        observations=kernels.init_moments(environment.observation_shape) if observations else None,
        returns=kernels.init_moments() if returns else None,
    )


def normalize_observations(normalizers: Normalizers, observations: jax.Array) -> jax.Array:
    """What the networks see of raw observations."""
    moments = normalizers.observations
    return observations if moments is None else kernels.normalize(observations, moments)


def clip_to_bounds(
    environment: Environment | HostEnvironment, actions: jax.Array, action_bounds: ActionBounds
) -> jax.Array:
    """What the environment gets of sampled actions: within its bounds and shaped as it wants.

    Args:
      environment: whose action space says the bounds.
      actions: `[N, A]` real ones, or `[N]` discrete ones, which stay as they are.
      action_bounds: `clip` them; `scale` what is between -1 and 1 to the bounds and clip the rest; or `tanh` first,
        then scale.
    """
    space = environment.actions
    if not isinstance(space, BoxActions):
        return actions
    low, high = jnp.asarray(space.low, jnp.float32), jnp.asarray(space.high, jnp.float32)
    if action_bounds != "clip":
        within_one = jnp.tanh(actions) if action_bounds == "tanh" else jnp.clip(actions, -1.0, 1.0)
        actions = low + 0.5 * (within_one + 1.0) * (high - low)
    return jnp.clip(actions, low, high).reshape(actions.shape[0], *space.shape)


def act(
    environment: Environment | HostEnvironment,
    network: ActorCritic,
    params: Params,
    normalizers: Normalizers,
    observations: jax.Array,
    noise: jax.Array,
) -> tuple[Distribution, jax.Array, jax.Array]:
    """One action for each observation `[N, *shape]`.

    Returns:
      `(distribution, actions, clipped)`: as sampled from the distribution, and as the environment gets them.
    """
    distribution = network.policy(params, normalize_observations(normalizers, observations))
    actions = distribution.from_noise(noise)
    return distribution, actions, clip_to_bounds(environment, actions, network.action_bounds)


def collect(
    environment: Environment | HostEnvironment,
    network: ActorCritic,
    params: Params,
    normalizers: Normalizers,
    world: World,
    counters: Counters,
    keys: jax.Array,
    *,
    gamma: jax.Array,
    bootstrap_time_limits: bool,
    end_nonfinite: bool = False,
) -> tuple[World, Normalizers, Counters, Trajectory, EpisodeTotals]:
    """Acts for T steps in every environment and evaluates what happened.

    The observation moments that the policy acts with stay as they are until the data has been used, so ratios are
    exactly 1 before the first gradient step; the ones returned include the new data. With a HostEnvironment the host
    has acted already, and `world.states` is its HostRecording.

    Args:
      environment: N copies.
      network: policy and value function.
      params: their parameters.
      normalizers: running moments.
      world: where the environments stand.
      counters: what has been counted.
      keys: `[T + 1]` random keys: one for the noise of all actions, one for every step.
      gamma: discount, for scaling rewards.
      bootstrap_time_limits: a time limit is a truncation, with the value of the observation behind it; otherwise it
        is treated as a termination.
      end_nonfinite: end an episode at a reward or observation that is not finite, and count the step.

    Returns:
      `(world, normalizers, counters, trajectory, totals)` after the rollout.
    """
    if isinstance(environment, Environment):
        noise = draw_noise(environment, keys[0], (keys.shape[0] - 1, world.observations.shape[0]))
        interact = partial(
            _interact, environment, network, bootstrap_time_limits=bootstrap_time_limits, end_nonfinite=end_nonfinite
        )
        (states, next_observations), recorded, nonfinite_steps = sharding.over_environments(
            interact,
            whole=(params, normalizers, keys[1:]),
            by_environment=(world.states, world.observations),
            by_step=noise,
        )
    else:
        states = world.states
        recorded, next_observations, nonfinite_steps = _of_host(network, params, normalizers, states)
    observations, actions, distribution, raw_rewards, terminated, truncated, final_values, scores, finished = recorded
    if not end_nonfinite:  # otherwise they were ended, and counted then
        nonfinite_steps = _count_nonfinite(observations, raw_rewards)
    nonfinite_steps = kernels.add_counts(counters.nonfinite_steps, nonfinite_steps)

    ended = terminated | truncated
    (episode_returns, episode_lengths), totals, recent = _episode_statistics(
        world, raw_rewards if scores is None else scores, ended if finished is None else finished, counters
    )
    rewards, discounted_returns, return_moments = _scaled_rewards(normalizers, world, raw_rewards, ended, gamma)
    if not bootstrap_time_limits:
        terminated, truncated = ended, jnp.zeros_like(truncated)

    seen = normalize_observations(normalizers, observations)
    values = network.value(params, seen)
    last_value = network.value(params, normalize_observations(normalizers, next_observations))
    following = jnp.concatenate([values[1:], last_value[None]])
    trajectory = Trajectory(
        observations=seen,
        actions=actions,
        distribution=distribution,
        log_probs=distribution.log_prob(actions),
        rewards=rewards,
        values=values,
        next_values=jnp.where(truncated, final_values, following),
        terminated=terminated,
        truncated=truncated,
    )
    world = World(states, next_observations, episode_returns, episode_lengths, discounted_returns, world.key)
    observation_moments = normalizers.observations
    if observation_moments is not None:
        observation_moments = kernels.update_moments(observation_moments, observations)
    normalizers = Normalizers(observation_moments, return_moments)
    counters = counters.replace(
        episodes=kernels.add_counts(counters.episodes, totals.episodes),
        recent_returns=recent,
        nonfinite_steps=nonfinite_steps,
    )
    return world, normalizers, counters, trajectory, totals


def _interact(environment, network, whole, by_environment, noise, *, bootstrap_time_limits, end_nonfinite):
    """The scan over T steps of a number of environments; see `collect` and `sharding.over_environments`."""
    params, normalizers, keys = whole

    def one_step(carry, inputs):
        states, observations, nonfinite_steps = carry
        noise, key = inputs
        distribution, actions, clipped = act(environment, network, params, normalizers, observations, noise)
        step = environment.step(key, states, clipped)
        if end_nonfinite:
            step, nonfinite = end_nonfinite_episodes(environment, jax.random.fold_in(key, 1), step)
            nonfinite_steps += jnp.sum(nonfinite, dtype=jnp.int32)
        truncated = step.truncated & ~step.terminated
        if bootstrap_time_limits:
            final_values = _final_values(network, params, normalizers, truncated, step.final_observations)
        else:
            final_values = jnp.zeros(truncated.shape[0], jnp.float32)
        recorded = Recorded(observations, actions, distribution, step.rewards, step.terminated, truncated, final_values)
        return (step.states, step.observations, nonfinite_steps), recorded

    carry = (*by_environment, jnp.zeros((), jnp.int32))
    (states, observations, nonfinite_steps), recorded = jax.lax.scan(one_step, carry, (noise, keys))
    return (states, observations), recorded, nonfinite_steps


def _count_nonfinite(observations: jax.Array, rewards: jax.Array) -> jax.Array:
    """Counts the steps `[T, N]` with a reward or an observation that is not finite."""
    finite = jnp.isfinite(observations).reshape(*rewards.shape, -1).all(axis=-1) & jnp.isfinite(rewards)
    return jnp.sum(~finite, dtype=jnp.int32)


def _of_host(network, params, normalizers, recording: HostRecording):
    """`(recorded, next_observations, nonfinite_steps)` of what the host recorded with these parameters."""
    observations = recording.observations.astype(jnp.float32)
    distribution = network.policy(params, normalize_observations(normalizers, observations))
    shared = {name: value for name, value in recording._asdict().items() if name in Recorded._fields}
    recorded = Recorded(**{**shared, "observations": observations, "distribution": distribution})
    return recorded, recording.next_observations.astype(jnp.float32), recording.nonfinite_steps


def draw_noise(environment: Environment | HostEnvironment, key: jax.Array, batch_shape: tuple[int, ...]) -> jax.Array:
    """The parameter-free part of every action of a rollout, drawn at once."""
    if isinstance(environment.actions, BoxActions):
        return DiagonalGaussian.draw_noise(key, (*batch_shape, environment.actions.size))
    return Categorical.draw_noise(key, (*batch_shape, environment.actions.n))


def _final_values(network, params, normalizers, truncated, final_observations):
    """V of the observation a time limit cut off; computed only in steps in which one did."""

    def evaluate(params, normalizers, final_observations):
        return network.value(params, normalize_observations(normalizers, final_observations))

    def skip(_params, _normalizers, final_observations):
        return jnp.zeros(final_observations.shape[0], jnp.float32)

    return compute_if_any(truncated, evaluate, skip, params, normalizers, final_observations)


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
    """The last 100 episode returns, newest first, after a rollout in which `num_ended` more ended."""
    # (jnp.nonzero would say it shorter, but XLA of jaxlib 0.11.2 crashes when it compiles that for several devices.)
    newest_first = returns.reshape(-1)[::-1]
    how_many = jnp.cumsum(ended.reshape(-1)[::-1])  # ended so far, counted back from the newest
    slots = jnp.arange(recent.shape[0])
    positions = jnp.minimum(jnp.searchsorted(how_many, slots + 1), newest_first.size - 1)
    return jnp.where(slots < num_ended, newest_first[positions], recent[jnp.maximum(slots - num_ended, 0)])


def _scaled_rewards(normalizers, world, rewards, ended, gamma):
    """Rewards divided by the deviation of the discounted return, and the moments that say so."""
    if normalizers.returns is None:
        return rewards, world.discounted_returns, None
    returns, carried = kernels.running_discounted_returns(rewards, ended, world.discounted_returns, gamma=gamma)
    moments = kernels.update_moments(normalizers.returns, returns)
    return kernels.scale_rewards(rewards, moments), carried, moments
