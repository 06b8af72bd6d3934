"""Playing episodes with a policy that acts from NumPy, in compiled environments and in those of the host alike."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.environments import Environment, Step
from purejaxrl_gae.environments.observation_drawings import draw_observations
from purejaxrl_gae.environments.structures import described, named_leaves
from purejaxrl_gae.program.evaluation import LONGEST_EPISODE, Evaluation
from purejaxrl_gae.runs.numpy_policy import NumpyPolicy
from purejaxrl_gae.runs.numpy_spaces import read_actions
from purejaxrl_gae.runs.policy_file import actions_in_json
from purejaxrl_gae.runs.programs import EVALUATION_STREAM
from purejaxrl_gae.settings.errors import UserError

Act = Callable[[Any], Any]


class Episode(NamedTuple):
    """One episode of T steps.

    Attributes:
      frames: T pictures `[H, W, 3]` uint8, each of the state before its step.
      rewards: `[T]`.
      finished: False where it was cut.
    """

    frames: list[np.ndarray]
    rewards: np.ndarray
    finished: bool


class CompiledCopies:
    """N copies of a compiled environment, stepped from the host.

    Args:
      environment: which.
      num_envs: N.
      seed: of starts and transitions.
    """

    def __init__(self, environment: Environment, num_envs: int, seed: int):
        self._environment, self._num_envs = environment, num_envs
        self._key = jax.random.fold_in(jax.random.key(seed), EVALUATION_STREAM)
        self._step = jax.jit(lambda key, step, *rest: environment.step(jax.random.fold_in(key, step), *rest))
        self._first = jax.jit(lambda states: jax.tree.map(lambda leaf: leaf[0], states))
        self._count = 0
        self._states: Any = None

    def reset(self) -> Any:
        """`[N, *shape]`: first observations."""
        self._states, observations = self._environment.reset(self._key, self._num_envs)
        return jax.tree.map(np.asarray, observations)

    def step(self, actions: Any) -> Step:
        """What the actions lead to; NumPy arrays, but for the states."""
        types = self._environment.actions.types
        typed = jax.tree.map(lambda kind, own: jnp.asarray(own, kind.dtype), types, actions)
        self._count += 1
        step = self._step(self._key, self._count, self._states, typed)
        self._states = step.states
        arrays = {name: jax.tree.map(np.asarray, getattr(step, name)) for name in Step._fields[1:]}
        return step._replace(**arrays)

    def first_state(self) -> Any:
        """Of copy 0."""
        return self._first(self._states)

    def close(self) -> None:
        """Nothing is held."""


def open_copies(environment: Any, num_envs: int, seed: int, *, render: bool = False) -> Any:
    """Running copies of an Environment or of a HostEnvironment, with `reset`, `step` and `close`."""
    if isinstance(environment, Environment):
        return CompiledCopies(environment, num_envs, seed)
    return environment.open(num_envs, seed, render=render)


def play_episodes(environment: Any, act: Act, num_episodes: int, seed: int) -> Evaluation:
    """The first episode of each of `num_episodes` copies; see `evaluation.evaluate`.

    Args:
      environment: an Environment or a HostEnvironment.
      act: observations `[E, *shape]` to actions.
      num_episodes: E.
      seed: of starts and transitions.
    """
    copies = open_copies(environment, num_episodes, seed)
    returns, lengths = np.zeros(num_episodes), np.zeros(num_episodes, np.int32)
    finished = np.zeros(num_episodes, bool)
    try:
        observations = copies.reset()
        for _ in range(environment.max_episode_steps or LONGEST_EPISODE):
            step = copies.step(act(observations))
            observations = step.observations
            returns += np.where(finished, 0.0, step.rewards)
            lengths += ~finished
            finished |= step.terminated | step.truncated
            if finished.all():
                break
    finally:
        copies.close()
    return Evaluation(returns, lengths, finished)  # type: ignore[arg-type]


def record_episode(environment: Any, act: Act, seed: int, max_frames: int) -> Episode:
    """Plays one episode and draws it.

    Args:
      environment: an Environment, drawn by its `render`, or by its observations where it has none; or a
        HostEnvironment, which is asked for each frame as it is played.
      act: observations `[1, *shape]` to actions.
      seed: of its start and transitions.
      max_frames: it is cut after as many steps.
    """
    copies = open_copies(environment, 1, seed, render=True)
    frames: list[np.ndarray] = []
    states: list[Any] = []
    seen: list[Any] = []
    rewards: list[float] = []
    finished = False
    try:
        observations = copies.reset()
        while not finished and len(rewards) < max_frames:
            if isinstance(copies, CompiledCopies):
                states.append(copies.first_state())
            else:
                frames.append(np.asarray(copies.frame()))
            seen.append(jax.tree.map(lambda leaf: leaf[0], observations))
            step = copies.step(act(observations))
            observations = step.observations
            rewards.append(float(step.rewards[0]))
            finished = bool(step.terminated[0] | step.truncated[0])
    finally:
        copies.close()
    if isinstance(environment, Environment):
        frames = environment.render(states) if environment.render else draw_observations(seen, rewards)
    return Episode(frames, np.asarray(rewards), finished)


def check_policy_fits(policy: NumpyPolicy, environment: Any) -> None:
    """Refuses a policy for other observations or actions.

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
