"""Training on environments that run on the host: the loop over steps is here, what is learned from them is compiled.

The programs offer what those of pure environments do, and learn the same from the same experience.
"""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.environments import HostEnvironment
from purejaxrl_gae.environments.host_environment import HostStep, failure_of
from purejaxrl_gae.environments.host_wrappers import end_nonfinite_episodes, require_allowed_actions
from purejaxrl_gae.environments.structures import batched, for_networks
from purejaxrl_gae.program import many_agents as agents
from purejaxrl_gae.program import memories, rollout, training
from purejaxrl_gae.program.debugging import lower
from purejaxrl_gae.program.training import Progress
from purejaxrl_gae.program.types import Algorithm, EpisodeTotals, Recording, TrainState
from purejaxrl_gae.runs.device_memory import bytes_held, refuse_too_large
from purejaxrl_gae.runs.programs import Stretch, agent_of, stack_of_one
from purejaxrl_gae.runs.run_options import RunOptions
from purejaxrl_gae.settings.errors import EnvironmentFailure, UserError

TRAINING_STREAM = 0x7EA1  # separates the environments' random numbers from others of the same seed


class HostAgent:
    """Programs of one agent whose environments run on the host.

    A saved state is everything but the running episodes: whoever loads one goes on with new episodes.

    Args:
      algorithm: what to train; its environment is a HostEnvironment.

    Attributes:
      copies: the running environments.
      types: shapes and types of a state.

    Raises:
      UserError: the environments cannot be opened, or on a CPU, learning would need more memory than there is.
    """

    def __init__(self, algorithm: Algorithm):
        started = time.perf_counter()
        self._algorithm, self._config, environment = algorithm, algorithm.setup.config, algorithm.setup.environment
        assert isinstance(environment, HostEnvironment)
        self._environment = environment
        init = partial(training.init_state, algorithm)
        self._key, self._hyperparameters = jax.random.key(self._config.seed), algorithm.hyperparameters
        self.types = jax.eval_shape(init, self._key, self._hyperparameters)
        self.saved_types = jax.eval_shape(stack_of_one, self.types)
        self._init = lower(jax.jit(init), self._key, self._hyperparameters).compile()
        self._compile_acting()
        self._recording_types = self._types_of_recording()
        learn = jax.jit(self._learned, donate_argnums=1)
        self._learn = lower(learn, self._hyperparameters, self.types, self._recording_types).compile()
        self.program_bytes = bytes_held(self._learn.memory_analysis())
        refuse_too_large(self._config, self.program_bytes)
        self.copies = environment.open(self._config.num_envs, self._seed_from(0), training=True)
        self._observations: Any = None
        self._failure: EnvironmentFailure | None = None
        self.compile_seconds = time.perf_counter() - started

    def init(self) -> TrainState:
        """Makes the state before the first update."""
        return self._begin(self._init(self._key, self._hyperparameters), 0)

    def save(self, state: TrainState) -> TrainState:
        """Brings a state to the host; see Programs."""
        return stack_of_one(agents.fetch(state))

    def load(self, saved: TrainState) -> TrainState:
        """Puts a saved state back, with new episodes in every environment."""
        one = agent_of(saved)
        return self._begin(jax.tree.map(jnp.asarray, one), int(one.counters.updates))

    def close(self) -> None:
        """Ends the environments."""
        self.copies.close()

    def advance(self, state: TrainState, num_updates: int) -> tuple[TrainState, Stretch]:
        """Makes up to that many updates, fewer where an environment fails, and then none.

        Raises:
          EnvironmentFailure: an environment failed before the first; the state is still good.
        """
        done: list[Progress] = []
        while len(done) < num_updates and all(progress.healthy for progress in done):
            try:
                recording = self._recorded(state)
            except EnvironmentFailure:
                if done:
                    break
                raise
            state, progress = self._learn(self._hyperparameters, state, recording)
            done.append(jax.device_get(progress))
        counters = stack_of_one(agents.fetch(state.counters))
        totals: EpisodeTotals = jax.tree.map(lambda *each: np.sum(each)[None], *(progress.totals for progress in done))
        return state, Stretch(len(done), np.array([done[-1].healthy]), _mean_metrics(done), totals, counters)

    def _recorded(self, state: TrainState) -> Recording:
        """Returns a rollout; once an environment has failed, that failure again and again."""
        if self._failure is None:
            try:
                return self._record(state)
            except EnvironmentFailure as failure:
                self._failure = failure
        raise self._failure

    def _seed_from(self, updates: int) -> int:
        """Returns the seed of the environments that start after so many updates."""
        return int(np.random.SeedSequence([self._config.seed, TRAINING_STREAM, updates]).generate_state(1)[0])

    def _begin(self, state: TrainState, updates: int) -> TrainState:
        """Starts new episodes everywhere."""
        try:
            self._observations = self.copies.reset(self._seed_from(updates))
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise failure_of(self._environment.name, error, "in its first reset") from error
        world = state.world
        world = world.replace(
            observations=jax.tree.map(jnp.asarray, for_networks(self._observations)),
            memory=memories.initial_memory(self._algorithm.setup.network, self._config.num_envs),
            episode_returns=jnp.zeros_like(world.episode_returns),
            episode_lengths=jnp.zeros_like(world.episode_lengths),
            discounted_returns=jnp.zeros_like(world.discounted_returns),
        )
        return state.replace(world=world)

    def _compile_acting(self) -> None:
        """Compiles the programs between the environments' steps."""
        config, environment, setup = self._config, self._environment, self._algorithm.setup
        observations = batched(environment.observations, config.num_envs)
        params, normalizers = self.types.learner.params, self.types.learner.normalizers
        memory = self.types.world.memory
        remembered = (memory, jax.ShapeDtypeStruct((config.num_envs,), bool))

        def draw(params, key):
            _, keys, _ = training.split_for_update(config, key, 0)
            return rollout.draw_noise(setup, params, keys[0])

        def act(params, normalizers, observations, remembered, noise):
            return rollout.act(setup, params, normalizers, for_networks(observations), remembered, noise)[1:]

        def value(params, normalizers, observations, memory):
            seen = rollout.normalize_observations(normalizers, for_networks(observations))
            return memories.value(setup.network, params, seen, memory)

        noise = jax.eval_shape(draw, params, self.types.world.key)
        of_step = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), noise)
        self._draw = lower(jax.jit(draw), params, self.types.world.key).compile()
        self._act = lower(jax.jit(act), params, normalizers, observations, remembered, of_step).compile()
        self._value = lower(jax.jit(value), params, normalizers, observations, memory).compile()
        self._action_types = jax.eval_shape(act, params, normalizers, observations, remembered, of_step)[0]

    def _types_of_recording(self) -> Recording:
        """Returns the types of what one rollout fills."""
        steps, copies = self._config.num_steps, self._config.num_envs
        types = self._environment.observations

        def per_step(dtype, *shape):
            return jax.ShapeDtypeStruct((steps, copies, *shape), dtype)

        return Recording(
            observations=batched(types, steps, copies),
            actions=batched(self._action_types, steps),
            rewards=per_step(np.float32),
            terminated=per_step(bool),
            truncated=per_step(bool),
            final_values=per_step(np.float32),
            scores=per_step(np.float32),
            finished=per_step(bool),
            next_observations=batched(types, copies),
            nonfinite_steps=jax.ShapeDtypeStruct((), np.int32),
            next_memory=self.types.world.memory,
        )

    def _record(self, state: TrainState) -> Recording:
        """Acts for T steps in every environment, with the noise that a compiled rollout would have drawn."""
        config, params, normalizers = self._config, state.learner.params, state.learner.normalizers
        recording = jax.tree.map(lambda like: np.zeros(like.shape, like.dtype), self._recording_types)
        noise_leaves, noise_structure = jax.tree.flatten(jax.device_get(self._draw(params, state.world.key)))
        nonfinite_steps, memory, ended = 0, state.world.memory, np.zeros(config.num_envs, bool)
        for t in range(config.num_steps):
            noise = jax.tree.unflatten(noise_structure, [leaf[t] for leaf in noise_leaves])
            actions, clipped, memory = self._act(params, normalizers, self._observations, (memory, ended), noise)
            step, nonfinite = self._step(jax.tree.map(np.asarray, clipped), t, state)
            nonfinite_steps += nonfinite
            truncated, ended = step.truncated & ~step.terminated, step.terminated | step.truncated
            _put((recording.observations, recording.actions), t, (self._observations, actions))
            recording.rewards[t], recording.terminated[t], recording.truncated[t] = (
                step.rewards,
                step.terminated,
                truncated,
            )
            recording.scores[t], recording.finished[t] = step.reported()
            if config.time_limit == "bootstrap" and truncated.any():
                recording.final_values[t] = self._value(params, normalizers, step.final_observations, memory)
            self._observations = step.observations
        return recording._replace(
            next_observations=self._observations, nonfinite_steps=np.int32(nonfinite_steps), next_memory=memory
        )

    def _step(self, actions: Any, t: int, state: TrainState) -> tuple[HostStep, int]:
        """Steps every environment, and counts how many of its rewards and observations were left out."""
        try:
            require_allowed_actions(self._environment, self._observations)
            step = self.copies.step(actions)
            if self._config.on_nonfinite != "skip":
                return step, 0
            step, nonfinite = end_nonfinite_episodes(self.copies, step)
            return step, int(nonfinite.sum())
        except (Exception, SystemExit) as error:
            updates = int(state.counters.updates)
            total = updates * self._config.steps_per_update + t * self._config.num_envs
            when = f"in step {t + 1} of update {updates + 1} (environment step {total:,})"
            raise failure_of(self._environment.name, error, when) from error

    def _learned(self, hyperparameters: Any, state: TrainState, recording: Recording):
        """Makes one update from a recording: `(state, Progress)`."""

        def update(hyperparameters, state):
            state, _, keys = training.begin_update(self._algorithm, state)
            state, experience, totals = training.take_in(self._algorithm, hyperparameters, state, recording)
            state, metrics = training.learn_from(self._algorithm, hyperparameters, state, experience, keys)
            return state, metrics, totals

        return training.advance(self._algorithm, hyperparameters, state, jnp.int32(1), update)


def _put(places: Any, t: int, values: Any) -> None:
    """Writes step t of arrays `[T, ...]`."""
    for place, value in zip(jax.tree.leaves(places), jax.tree.leaves(values), strict=True):
        place[t] = value


def _mean_metrics(done: list[Progress]) -> dict[str, np.ndarray]:
    """Averages over the updates that were not undone; `[1]` each, NaN where all were."""
    means = {}
    for name in done[0].metrics:
        values = np.array([progress.metrics[name] for progress in done], np.float64)
        kept = values[np.isfinite(values)]
        means[name] = np.array([kept.mean() if kept.size else np.nan])
    return means


def refuse_what_needs_compiled_environments(algorithm: Algorithm, options: RunOptions) -> None:
    """Refuses options of a run that need the environment inside the compiled program.

    Raises:
      UserError: the environment is the host's; the option is named.
    """
    for name in ("num_seeds", "devices", "num_processes"):
        if getattr(options, name) > 1:
            training.require_pure(algorithm.setup.environment, f"{name} = {getattr(options, name)}")
