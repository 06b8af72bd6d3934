"""Playing episodes from the host: evaluations of agents, policies of files, and pictures, all by `player.play`."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.environments import Environment, HostEnvironment
from purejaxrl_gae.environments.host_environment import CopyFailure, failure_of
from purejaxrl_gae.environments.observation_drawings import draw_observations
from purejaxrl_gae.environments.structures import described, named_leaves
from purejaxrl_gae.program import many_agents, memories, player, preparing
from purejaxrl_gae.program.debugging import lower
from purejaxrl_gae.program.player import EVALUATION_STREAM, LONGEST_EPISODE, Actor, Copies, Evaluation, Loop, Play
from purejaxrl_gae.program.types import Learner, Setup
from purejaxrl_gae.runs.numpy_spaces import read_actions
from purejaxrl_gae.runs.policy_file import actions_in_json
from purejaxrl_gae.runs.programs import agent_of
from purejaxrl_gae.settings.errors import UserError

MOST_COPIES = 20  # of an environment of the host, which plays several episodes in each


class HostStates(NamedTuple):
    """Running copies of the host as what stands for their states.

    Attributes:
      copies: HostCopies.
      lengths: `[N]` steps of their episodes so far.
    """

    copies: Any
    lengths: np.ndarray


class Episode(NamedTuple):
    """One episode of T steps.

    Attributes:
      frames: T pictures `[H, W, 3]` uint8, each of the state before its step.
      returns: `[T]` rewards until then.
      total: of all rewards.
      finished: False where it was cut.
    """

    frames: list[np.ndarray]
    returns: np.ndarray
    total: float
    finished: bool


def key_of_seed(seed: Any) -> jax.Array:
    """Returns the random key with which every policy of a seed is played."""
    return jax.random.fold_in(jax.random.key(seed), EVALUATION_STREAM)


def make_player(setup: Setup, num_episodes: int) -> Callable[..., Evaluation]:
    """Makes `(learner, key, deterministic) -> Evaluation [E]`, of one agent in its environment as it is.

    It is pure where the environment is.
    """
    environment = preparing.unstaggered_environment(setup)

    if isinstance(environment, Environment):
        copies = player.compiled_copies(environment, num_episodes)

        def play_compiled(learner, key, deterministic):
            return player.play(copies, actor_of(setup, learner, deterministic), key, num_episodes)

        return play_compiled

    jitted = jax.jit(partial(player.act, setup))

    def play_on_host(learner, key, deterministic):
        actor = actor_of(setup, jax.device_put(learner), np.bool_(deterministic), jitted)
        return play_from_host(environment, actor, key, num_episodes)

    return play_on_host


def actor_of(setup: Setup, learner: Learner, deterministic: Any, act: Callable[..., Any] | None = None) -> Actor:
    """Makes an actor of an agent; `act` stands in for `player.act` of its setup where that is compiled."""
    act = act or partial(player.act, setup)

    def of_agent(observations, memory, starts, key):
        return act(learner, observations, (memory, starts), key, deterministic)

    return Actor(of_agent, partial(memories.initial_memory, setup.network))


class Evaluator(Protocol):
    """Plays the episodes of S agents, on this process's devices."""

    def __call__(self, learners: Any, seeds: np.ndarray, deterministic: bool = True) -> Evaluation:
        """Plays by mode or sampled: learners `[S]`, seeds `[S]` -> Evaluation `[S, E]`."""

    def compile_ahead(self, states: Any) -> None:
        """Begins to compile for the learners of states `[S]` of these types, which all calls must then have."""


def make_evaluator(setup: Setup, num_agents: int, num_episodes: int) -> Evaluator:
    """Makes what plays E episodes of each of S agents."""
    kind = _HostEvaluator if isinstance(setup.environment, HostEnvironment) else _CompiledEvaluator
    return kind(setup, num_agents, num_episodes)


class _CompiledEvaluator:
    """One program, compiled at the first call or before it; see Evaluator."""

    def __init__(self, setup: Setup, num_agents: int, num_episodes: int):
        self._num_agents = num_agents
        self._layout = many_agents.lay_out(num_agents, jax.local_devices()[:num_agents])
        play = make_player(setup, num_episodes)
        self._play = jax.jit(
            many_agents.over_agents(
                self._layout, lambda learner, seed, deterministic: play(learner, key_of_seed(seed), deterministic)
            )
        )
        self._ahead: Future[Any] | None = None

    def __call__(self, learners: Any, seeds: np.ndarray, deterministic: bool = True) -> Evaluation:
        program = self._play if self._ahead is None else self._ahead.result()
        inputs = self._inputs(learners, np.asarray(seeds, np.uint32), np.full(self._num_agents, deterministic))
        played = program(*many_agents.spread(self._layout, inputs))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: self._num_agents], played)

    def compile_ahead(self, states: Any) -> None:
        flags = (jax.ShapeDtypeStruct((self._num_agents,), dtype) for dtype in (np.uint32, np.bool_))
        types = many_agents.spread_types(self._layout, self._inputs(states.learner, *flags))
        thread = ThreadPoolExecutor(1)
        self._ahead = thread.submit(lower(self._play, *types).compile)
        thread.shutdown(wait=False)

    @staticmethod
    def _inputs(learners: Any, seeds: Any, deterministic: Any) -> tuple[Any, ...]:
        return Learner(learners.params, (), (), learners.normalizers), seeds, deterministic


class _HostEvaluator:
    """One agent after another in copies of the host; see Evaluator."""

    def __init__(self, setup: Setup, num_agents: int, num_episodes: int):
        self._num_agents, self._play = num_agents, make_player(setup, num_episodes)

    def __call__(self, learners: Any, seeds: np.ndarray, deterministic: bool = True) -> Evaluation:
        each = [
            self._play(agent_of(learners, index), key_of_seed(np.uint32(seeds[index])), deterministic)
            for index in range(self._num_agents)
        ]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *each)

    def compile_ahead(self, states: Any) -> None:
        pass  # how it acts is compiled at its first step, of as many copies as there are then


def play_from_host(
    environment: Any,
    actor: Actor,
    key: jax.Array,
    num_episodes: int,
    *,
    loop: Loop = player.on_host,
    render: bool = False,
) -> Evaluation:
    """Plays whole episodes in an Environment or a HostEnvironment, from outside a compiled program.

    Args:
      environment: in which.
      actor: the policy; need not be compiled.
      key: of starts, transitions and actions.
      num_episodes: E.
      loop: takes the turns.
      render: the copies are to have pictures.

    Raises:
      EnvironmentFailure: an environment of the host failed.
    """
    with _opened(environment, num_episodes, render) as copies:
        try:
            return jax.tree.map(np.asarray, player.play(copies, actor, key, num_episodes, loop))
        except (CopyFailure, SystemExit) as error:
            raise failure_of(environment.name, error, "in an evaluation") from error


@contextmanager
def _opened(environment: Any, num_episodes: int, render: bool) -> Iterator[Copies]:
    """Opens as many copies as episodes; of the host's no more than a few, or as many as it has."""
    if isinstance(environment, Environment):
        copies = player.compiled_copies(environment, num_episodes)
        types = environment.actions.types

        def step(key, states, actions):
            typed = jax.tree.map(lambda kind, own: jnp.asarray(own, kind.dtype), types, actions)
            return copies.step(key, states, typed)

        yield copies._replace(step=jax.jit(step))
        return
    longest = environment.max_episode_steps or LONGEST_EPISODE
    number = environment.num_envs or min(num_episodes, MOST_COPIES)
    with ExitStack() as stack:

        def reset(key):
            running = environment.open(number, int(jax.random.bits(key)), render=render)
            stack.callback(running.close)
            return HostStates(running, np.zeros(number, int)), running.reset()

        yield Copies(number, longest, reset, partial(_step_on_host, longest))


def _step_on_host(longest: int, _: Any, states: HostStates, actions: Any) -> tuple[HostStates, Any, Any, Any]:
    """Steps copies of the host, and resets those whose episode is longer than any may be."""
    step, lengths = states.copies.step(jax.device_get(actions)), states.lengths + 1
    scores, ended = step.reported()
    cut = ~ended & (lengths >= longest)
    observations = states.copies.reset_where(cut) if cut.any() else step.observations
    return HostStates(states.copies, np.where(ended | cut, 0, lengths)), observations, scores, ended


def record_episode(environment: Any, actor: Actor, key: jax.Array, max_frames: int) -> Episode:
    """Plays one episode and draws it.

    Args:
      environment: an Environment, drawn by its `render`, or by its observations where it has none; or a
        HostEnvironment, which is asked for each frame as it is played.
      actor: the policy.
      key: of its start, transitions and actions.
      max_frames: it is cut after as many steps.
    """
    frames: list[np.ndarray] = []
    states: list[Any] = []
    seen: list[Any] = []
    returns: list[float] = []
    first = jax.jit(lambda states: jax.tree.map(lambda leaf: leaf[0], states))

    def film(goes_on: Callable[[Play], Any], turn: Callable[[Play], Play], now: Play) -> Play:
        while goes_on(now) and len(returns) < max_frames:
            if isinstance(now.states, HostStates):
                frames.append(np.asarray(now.states.copies.frame()))
            else:
                states.append(first(now.states))
            seen.append(jax.tree.map(lambda leaf: np.asarray(leaf[0]), now.observations))
            returns.append(float(now.evaluation.returns[0, 0]))
            now = turn(now)
        return now

    played = play_from_host(environment, actor, key, 1, loop=film, render=True)
    total, finished = float(played.returns[0]), bool(played.finished[0])
    if isinstance(environment, Environment):
        rewards = np.diff([*returns, total]).tolist()
        frames = environment.render(states) if environment.render else draw_observations(seen, rewards)
    return Episode(frames, np.asarray(returns), total, finished)


def check_policy_fits(policy: Any, environment: Any) -> None:
    """Refuses a policy of a file that is for other observations or actions.

    Raises:
      UserError: names both.
    """
    theirs = {name: list(leaf.shape) for name, leaf in named_leaves(environment.observations).items()}
    for leaf in policy.observations.leaves:
        name = "/".join(map(str, leaf.path))
        if theirs.get(name) != list(leaf.shape):
            of_leaf = f" {name}" if name else ""
            raise UserError(
                f"policy is for observations{of_leaf} {list(leaf.shape)}; {environment.name} has "
                f"{described(environment.observations)}"
            )
    own, needed = str(policy.actions), str(read_actions(actions_in_json(environment.actions)))
    if own != needed:
        raise UserError(f"policy is for {own} actions; {environment.name} has {needed}")
