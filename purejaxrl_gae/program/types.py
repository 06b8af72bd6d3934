"""The contracts of the training program: what is handed in, what an algorithm is, and what a run is made of.

A network, a distribution and an algorithm are whatever has the methods named here; nothing else is asked of them. T is
the number of steps of a rollout, N of environments side by side, B of samples.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import struct

from purejaxrl_gae import kernels
from purejaxrl_gae.kernels import RunningMoments
from purejaxrl_gae.program.network_types import Distribution as Distribution
from purejaxrl_gae.program.network_types import Inputs as Inputs
from purejaxrl_gae.program.network_types import Network as Network
from purejaxrl_gae.program.network_types import Params as Params
from purejaxrl_gae.program.network_types import Sequence as Sequence

Hyperparameters = Any
Metrics = dict[str, jax.Array]


class Normalizers(struct.PyTreeNode):
    """Running moments, each None where its normalisation is off.

    Attributes:
      observations: moments of the observations; applied from the next rollout on.
      returns: moments of the running discounted return; its deviation scales the rewards.
    """

    observations: RunningMoments | None
    returns: RunningMoments | None


class World(struct.PyTreeNode):
    """The environments in between two rollouts.

    Attributes:
      states: pytree, leading axis N; () of a HostEnvironment.
      observations: `[N, *shape]` raw observations to act on next.
      episode_returns: `[N]` sum of rewards of the running episodes.
      episode_lengths: `[N]` int32 steps of the running episodes.
      discounted_returns: `[N]` running discounted returns, for scaling rewards.
      key: random key of everything still to come.
      memory: pytree of `[N, ...]`, what the networks remember of the running episodes; () without memory.
    """

    states: Any
    observations: jax.Array
    episode_returns: jax.Array
    episode_lengths: jax.Array
    discounted_returns: jax.Array
    key: jax.Array
    memory: Any = ()


class Counters(struct.PyTreeNode):
    """Counts over the whole run; a count stops at 2^31 - 1.

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


class Learner(struct.PyTreeNode):
    """The learning part of an agent.

    Attributes:
      params: of policy and value function.
      optimizer_state: the optimizer's.
      extra: pytree of whatever else the algorithm keeps from update to update, such as an adapted coefficient.
      normalizers: running moments of observations and returns, which the loop keeps.
    """

    params: Params
    optimizer_state: Any
    extra: Any = ()
    normalizers: Normalizers = Normalizers(None, None)


class TrainState(struct.PyTreeNode):
    """Everything a run is, between two updates; saving it and going on gives the same bits as never stopping.

    Attributes:
      learner: what the agent learns.
      world: where the environments stand, and the random key.
      counters: what is counted.
    """

    learner: Learner
    world: World
    counters: Counters


class Recording(NamedTuple):
    """T steps of acting; everything else about a rollout is computed from it.

    Attributes:
      observations: `[T, N, *shape]` raw.
      actions: `[T, N, ...]` as sampled.
      rewards: `[T, N]` raw.
      terminated: `[T, N]` bool.
      truncated: `[T, N]` bool; never where terminated is.
      final_values: `[T, N]` V of the observation behind a time limit; of no meaning anywhere else.
      next_observations: `[N, *shape]` raw, to act on next.
      nonfinite_steps: int32 steps that were not finite and ended their episode.
      distribution: each action's, `[T, N]`; where None, as of the host, it is computed again from the observations.
      scores: `[T, N]` what episode returns add up; the rewards where None.
      finished: `[T, N]` bool, where an episode's return is complete; where None, where it is terminated or truncated.
      next_memory: pytree of `[N, ...]`, what the networks remember behind the last step, of episodes that ended too.
    """

    observations: Any
    actions: Any
    rewards: Any
    terminated: Any
    truncated: Any
    final_values: Any
    next_observations: Any
    nonfinite_steps: Any
    distribution: Any = None
    scores: Any = None
    finished: Any = None
    next_memory: Any = ()


class Experience(NamedTuple):
    """One rollout as an algorithm learns from it.

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
      last_observations: `[N, *shape]` what the networks see next, in the new episode where one ended.
      starts: `[T, N]` bool, an episode begins at this step; False at the first, whose memory knows already.
      memory: pytree of `[N, ...]`, what the networks remembered before the first step; () without memory.
    """

    observations: jax.Array
    actions: jax.Array
    distribution: Any
    log_probs: jax.Array
    rewards: jax.Array
    values: jax.Array
    next_values: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    last_observations: Any
    starts: Any = None
    memory: Any = ()

    @property
    def inputs(self) -> Inputs:
        """Returns what `network.policy` and `network.value` take: the observations, with memory as a Sequence."""
        if not jax.tree.leaves(self.memory):
            return self.observations
        return Sequence(self.observations, self.starts, self.memory)

    def of_environments(self, chosen: jax.Array) -> "Experience":
        """Returns whole trajectories of some environments, `[n]` indices of them."""
        by_environment = {"last_observations": self.last_observations, "memory": self.memory}
        by_step = jax.tree.map(lambda leaf: leaf[:, chosen], self._replace(last_observations=None, memory=()))
        return by_step._replace(**jax.tree.map(lambda leaf: leaf[chosen], by_environment))

    @property
    def transitions(self) -> dict[str, Any]:
        """Returns rewards, values, next values and both ends by the names that the advantage kernels give them."""
        names = ("rewards", "values", "next_values", "terminated", "truncated")
        return {name: getattr(self, name) for name in names}


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


class Setup(NamedTuple):
    """The static half of a run: what a compiled program is built from.

    Attributes:
      config: the algorithm's config.
      environment: an Environment or a HostEnvironment, as the config changes it.
      network: policy and value function.
      notes: on what was changed of the config and on what is hidden, for whoever runs it.
    """

    config: Any
    environment: Any
    network: Any
    notes: tuple[str, ...] = ()


class Algorithm(NamedTuple):
    """An algorithm, as far as it differs from others; collecting, normalising, guarding and counting are the loop's.

    Attributes:
      setup: static parts.
      hyperparameters: the config's traced values; rewards are scaled by `gamma`, or 1 where there is none.
      init_learner: `(key, hyperparameters) -> Learner`, with parameters, optimizer state and whatever is extra.
      learn: `(hyperparameters, learner, experience, keys, progress) -> (learner, metrics)`. `progress` is the share of
        the run that lies behind, a scalar in [0, 1]; metrics are finite scalars, or the update is undone.
      num_keys: random keys that `learn` gets.
      starts_anew: every rollout begins with new episodes in all environments.
    """

    setup: Setup
    hyperparameters: Hyperparameters
    init_learner: Callable[[jax.Array, Hyperparameters], Learner]
    learn: Callable[[Hyperparameters, Learner, Experience, jax.Array, jax.Array], tuple[Learner, Metrics]]
    num_keys: int = 0
    starts_anew: bool = False
