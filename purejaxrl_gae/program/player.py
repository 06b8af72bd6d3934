"""The one player of whole episodes: for evaluations, policy files and pictures, in compiled environments or the host's.

What differs is handed in: how the copies of an environment are reset and stepped, how a policy acts, and the loop,
`lax.while_loop` in a compiled program or `on_host` outside of one.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae.environments import Environment
from purejaxrl_gae.environments.structures import for_networks
from purejaxrl_gae.program import memories
from purejaxrl_gae.program.rollout import clip_to_bounds, normalize_observations
from purejaxrl_gae.program.types import Learner, Setup

EVALUATION_STREAM = 0x0E7A1  # separates these random numbers from training's
LONGEST_EPISODE = 10_000


class Evaluation(NamedTuple):
    """Episodes that were played.

    Attributes:
      returns: `[E]` undiscounted returns.
      lengths: `[E]` int32 steps.
      finished: `[E]` bool; False where the longest allowed episode was cut.
    """

    returns: jax.Array
    lengths: jax.Array
    finished: jax.Array


class Copies(NamedTuple):
    """N copies of an environment as two functions: pure ones, or the host's.

    Attributes:
      number: N.
      longest: steps after which an episode is cut.
      reset: `key -> (states, observations [N, *shape])`.
      step: `(key, states, actions) -> (states, observations, rewards [N], ended [N])`; a copy whose episode has ended
        is reset, and if it is to play several, one whose episode was cut too.
    """

    number: int
    longest: int
    reset: Callable[[jax.Array], tuple[Any, Any]]
    step: Callable[[jax.Array, Any, Any], tuple[Any, Any, Any, Any]]


class Play(NamedTuple):
    """What goes from one step of N copies to the next.

    Attributes:
      steps: int32 steps made.
      states: of the copies.
      observations: `[N, *shape]` to act on next.
      memory: pytree of `[N, ...]`, what the policy remembers; () where it has no memory.
      starts: `[N]` bool, an episode begins with these observations.
      episode: `[N]` int32 how many episodes each copy has played.
      evaluation: `[M, N]` each, of the M episodes that a copy plays at most.
    """

    steps: jax.Array
    states: Any
    observations: Any
    memory: Any
    starts: jax.Array
    episode: jax.Array
    evaluation: Evaluation


class Actor(NamedTuple):
    """A policy as the player sees it.

    Attributes:
      act: `(observations [N, *shape], memory, starts [N], key) -> (actions, memory)`, actions as the environment takes
        them.
      initial_memory: `n -> memory` of n copies whose episodes begin.
    """

    act: Callable[[Any, Any, jax.Array, jax.Array], tuple[Any, Any]]
    initial_memory: Callable[[int], Any]


Loop = Callable[[Callable[[Play], Any], Callable[[Play], Play], Play], Play]  # as lax.while_loop


def without_memory(act: Callable[[Any, jax.Array], Any]) -> Actor:
    """Makes an actor of `(observations, key) -> actions`."""
    return Actor(lambda observations, memory, starts, key: (act(observations, key), memory), lambda n: ())


def act(
    setup: Setup,
    learner: Learner,
    observations: jax.Array,
    remembered: tuple[Any, jax.Array],
    key: jax.Array | None,
    deterministic: bool | jax.Array,
) -> tuple[jax.Array, Any]:
    """Returns actions for `[N, *shape]` observations, and what is remembered behind them.

    Args:
      setup: static parts.
      learner: parameters and normalisers.
      observations: raw.
      remembered: `(memory, starts [N])`.
      key: draws actions from the policy; None where all are the most probable ones.
      deterministic: take the most probable ones; may be traced.
    """
    seen = normalize_observations(learner.normalizers, for_networks(observations))
    distribution, memory = memories.act(setup.network, learner.params, seen, *remembered)
    actions = distribution.mode()
    if key is not None:
        actions = jax.tree.map(partial(jnp.where, deterministic), actions, distribution.sample(key))
    return clip_to_bounds(setup.environment, actions, setup.config.action_bounds), memory


def compiled_copies(environment: Environment, number: int) -> Copies:
    """Makes copies of a compiled environment, each for one episode."""

    def step(key, states, actions):
        result = environment.step(key, states, actions)
        return result.states, result.observations, result.rewards, result.terminated | result.truncated

    longest = environment.max_episode_steps or LONGEST_EPISODE
    return Copies(number, longest, lambda key: environment.reset(key, number), step)


def on_host(goes_on: Callable[[Play], Any], turn: Callable[[Play], Play], play: Play) -> Play:
    """Does what `lax.while_loop` does, outside a compiled program."""
    while goes_on(play):
        play = turn(play)
    return play


def play(
    copies: Copies, actor: Actor, key: jax.Array, num_episodes: int, loop: Loop = jax.lax.while_loop
) -> Evaluation:
    """Plays whole episodes.

    How many each copy plays is fixed beforehand, as many as any other or one more, so short episodes are not
    over-represented.

    Args:
      copies: of the environment as it is, without staggered first episodes.
      actor: the policy.
      key: random key of starts, transitions and actions.
      num_episodes: E, static.
      loop: takes the turns until all is played.
    """
    most = -(-num_episodes // copies.number)
    wanted = num_episodes // copies.number + (jnp.arange(copies.number) < num_episodes % copies.number)
    reset_key, step_key = jax.random.split(key)
    states, observations = copies.reset(reset_key)

    def goes_on(now: Play):
        return jnp.any(now.episode < wanted)

    def turn(now: Play) -> Play:
        action_key, environment_key = keys_of_step(step_key, now.steps)
        actions, memory = actor.act(now.observations, now.memory, now.starts, action_key)
        states, observations, rewards, ended = copies.step(environment_key, now.states, actions)
        over, evaluation = counted(now.episode, now.evaluation, rewards, ended, copies.longest)
        return Play(now.steps + 1, states, observations, memory, over, now.episode + over, evaluation)

    none = jnp.zeros((most, copies.number), jnp.float32)
    start = Evaluation(none, none.astype(jnp.int32), none.astype(bool))
    steps, episode = jnp.zeros((), jnp.int32), jnp.zeros(copies.number, jnp.int32)
    memory = actor.initial_memory(copies.number)
    played = loop(goes_on, turn, Play(steps, states, observations, memory, episode == 0, episode, start)).evaluation
    return Evaluation(*(each.reshape(-1)[:num_episodes] for each in played))


@jax.jit
def keys_of_step(key: jax.Array, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the random keys of one step, for actions and for transitions."""
    action_key, environment_key = jax.random.split(jax.random.fold_in(key, step))
    return action_key, environment_key


@jax.jit
def counted(
    episode: jax.Array, evaluation: Evaluation, rewards: jax.Array, ended: jax.Array, longest: int
) -> tuple[jax.Array, Evaluation]:
    """Adds one step of N copies to the episodes `[M, N]` that they are in, and says where one is over, `[N]`.

    Args:
      episode: `[N]` how many each copy has played; those of M count no more.
      evaluation: `[M, N]` so far.
      rewards: `[N]` of the step.
      ended: `[N]` bool; the episode has ended in it.
      longest: steps after which one is cut.
    """
    current = jnp.arange(evaluation.returns.shape[0])[:, None] == episode
    evaluation = Evaluation(
        returns=evaluation.returns + jnp.where(current, rewards, 0.0),
        lengths=evaluation.lengths + current,
        finished=evaluation.finished | (current & ended),
    )
    over = ended | jnp.any(current & (evaluation.lengths >= longest), axis=0)
    return over, evaluation
