"""Scoring a policy on an environment that runs on the host."""

import itertools
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.environments import HostEnvironment
from purejaxrl_gae.environments.host_environment import CopyFailure, failure_of
from purejaxrl_gae.environments.structures import for_networks
from purejaxrl_gae.program.evaluation import LONGEST_EPISODE, Evaluation
from purejaxrl_gae.program.rollout import clip_to_bounds, normalize_observations
from purejaxrl_gae.program.types import Learner, Network

MOST_COPIES = 20


def make_host_evaluator(
    environment: HostEnvironment, network: Network, num_episodes: int, stream: int
) -> Callable[..., Evaluation]:
    """`(learner, seed, deterministic=True) -> Evaluation`, by mode or sampled, on whole episodes.

    Each copy plays a number of episodes that is fixed beforehand, so short ones are not over-represented.

    Args:
      environment: what to play.
      network: policy and value function.
      num_episodes: E.
      stream: separates the random numbers from others of the same seed.
    """

    @jax.jit
    def act(params, normalizers, key, deterministic, step, observations):
        seen = normalize_observations(normalizers, for_networks(observations))
        distribution = network.policy(params, seen)
        sample = distribution.sample(jax.random.fold_in(key, step))
        actions = jax.tree.map(partial(jnp.where, deterministic), distribution.mode(), sample)
        return clip_to_bounds(environment, actions, network.action_bounds)

    num_copies = environment.num_envs or min(num_episodes, MOST_COPIES)

    def evaluator(learner: Learner, seed: int, deterministic: bool = True) -> Evaluation:
        copies = environment.open(num_copies, int(np.random.SeedSequence([seed, stream]).generate_state(1)[0]))
        try:
            params, normalizers = jax.device_put((learner.params, learner.normalizers))
            key = jax.random.fold_in(jax.random.key(np.uint32(seed)), stream)
            policy, steps = partial(act, params, normalizers, key, np.bool_(deterministic)), itertools.count()
            return play(
                copies,
                lambda observations: jax.device_get(policy(np.uint32(next(steps)), observations)),
                episodes_of_copies(num_episodes, num_copies),
                longest=environment.max_episode_steps or LONGEST_EPISODE,
            )
        except (CopyFailure, SystemExit) as error:
            raise failure_of(environment.name, error, "in an evaluation") from error
        finally:
            copies.close()

    return evaluator


def episodes_of_copies(num_episodes: int, num_copies: int) -> np.ndarray:
    """`[N]` how many episodes each copy plays: as many as any other, or one more."""
    return num_episodes // num_copies + (np.arange(num_copies) < num_episodes % num_copies)


def play(copies, policy: Callable[[np.ndarray], np.ndarray], wanted: np.ndarray, *, longest: int) -> Evaluation:
    """Plays `[N]` wanted whole episodes in each copy.

    Args:
      copies: HostCopies.
      policy: `[N, *shape]` observations -> actions.
      wanted: episodes of each copy.
      longest: steps after which an episode is cut and counts as not finished.
    """
    num_copies = len(wanted)
    returns, lengths, played = np.zeros(num_copies), np.zeros(num_copies, np.int32), np.zeros(num_copies, np.int32)
    episodes: list[tuple[float, int, bool]] = []
    observations = copies.reset()
    while (played < wanted).any():
        step = copies.step(policy(observations))
        observations = step.observations
        scores, finished = step.reported()
        returns += scores
        lengths += 1
        cut = ~finished & (lengths >= longest)
        for index in np.flatnonzero((finished | cut) & (played < wanted)):
            episodes.append((float(returns[index]), int(lengths[index]), bool(finished[index])))
            played[index] += 1
        if cut.any():
            observations = copies.reset_where(cut)
        returns[finished | cut], lengths[finished | cut] = 0.0, 0
    all_returns, all_lengths, all_finished = zip(*episodes, strict=True)
    return Evaluation(np.array(all_returns, np.float32), np.array(all_lengths, np.int32), np.array(all_finished))  # type: ignore[arg-type]
