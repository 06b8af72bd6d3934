"""One agent as pure functions around a config: what `make_train` is made of, for programs of one's own.

    agent = make_agent(PPOConfig(env="CartPole-v1"))
    state = agent.init(jax.random.key(0))
    state, metrics = agent.update(state, {"learning_rate": 1e-3})
    actions = agent.policy(state).act(observations)
    returns = agent.evaluate(state, jax.random.key(1))
    agent.save("cartpole", state)

All but `save` may be jitted, vmapped and scanned; `update` may be differentiated too. A state is one agent's, or under
`vmap` that of many: `jax.tree.map(lambda leaf: leaf[3], states)` is the fourth's.
"""

import functools
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax

from purejaxrl_gae.environments import Environment, HostEnvironment
from purejaxrl_gae.program import algorithms, memories, training
from purejaxrl_gae.program.types import Algorithm, Metrics, TrainState
from purejaxrl_gae.runs import playing
from purejaxrl_gae.runs.agent_policy import Policy, RecurrentPolicy
from purejaxrl_gae.settings.config import TrainingConfig
from purejaxrl_gae.settings.errors import UserError


@dataclass(frozen=True, eq=False)
class Agent:
    """Pure functions of one config; see the module.

    Attributes:
      algorithm: what the config describes, with its environment and network.
    """

    algorithm: Algorithm

    @property
    def config(self) -> TrainingConfig:
        """Returns the config it was made of."""
        return self.algorithm.setup.config

    @property
    def environment(self) -> Environment | HostEnvironment:
        """Returns the environment that it is trained in."""
        return self.algorithm.setup.environment

    def init(self, key: jax.Array, hyperparameters: Any = None) -> TrainState:
        """Makes the state before the first update.

        Args:
          key: everything random follows from it.
          hyperparameters: as of `update`.
        """
        return self._init(key, hyperparameters)

    def update(self, state: TrainState, hyperparameters: Any = None) -> tuple[TrainState, Metrics]:
        """Makes one update: a rollout and what is learned from it, undone where it would not be finite.

        Args:
          state: of one agent.
          hyperparameters: a dict of some traced fields, or all of them; the config's where None.

        Returns:
          `(state, metrics)`: scalars, named as in `TrainResult.metrics`.

        Raises:
          UserError: the environment runs on the host, or a name is no traced field.
        """
        training.require_pure(self.environment, "agent.update, one program,")
        return self._update(state, hyperparameters)

    def policy(self, state: TrainState) -> Any:
        """Returns what acts and values as the state has learned to, a pytree: a `Policy` or a `RecurrentPolicy`."""
        remembers = memories.has_memory(self.algorithm.setup.network)
        return (RecurrentPolicy if remembers else Policy)(state.learner, self)

    def evaluate(
        self, state: TrainState, key: jax.Array, num_episodes: int = 100, *, deterministic: bool = True
    ) -> jax.Array:
        """Plays whole episodes, each in a copy of its own, in the environment as it is.

        Args:
          state: of one agent.
          key: of starts and transitions.
          num_episodes: E, static.
          deterministic: by the policy's mode; otherwise sampled.

        Returns:
          `[E]` undiscounted returns; of an episode that ends nowhere, what its first 10,000 steps bring.
        """
        if num_episodes < 1:
            raise UserError(f"num_episodes is {num_episodes}; it must be at least 1")
        return self._player(num_episodes)(state.learner, key, deterministic).returns

    def save(self, path: str | Path, state: TrainState) -> None:
        """Writes config and full state to a folder that `purejaxrl_gae.load` reads; see `runs.saved.save`."""
        from purejaxrl_gae.runs import saved

        saved.save(Path(path), self.config, state)

    @functools.cached_property
    def _init(self) -> Any:
        def init(key, hyperparameters):
            return training.init_state(self.algorithm, key, self._with(hyperparameters))

        return jax.jit(init)

    @functools.cached_property
    def _update(self) -> Any:
        def update(state, hyperparameters):
            return training.reported_update(self.algorithm, self._with(hyperparameters), state)

        return jax.jit(update)

    def _with(self, hyperparameters: Any) -> Any:
        return training.override_hyperparameters(self.algorithm.hyperparameters, hyperparameters)

    @functools.cached_property
    def _player(self) -> Any:
        make = partial(playing.make_player, self.algorithm.setup)
        if isinstance(self.environment, HostEnvironment):
            return functools.cache(make)
        return functools.cache(lambda num_episodes: jax.jit(make(num_episodes)))


def make_agent(config: TrainingConfig) -> Agent:
    """Makes the pure functions of one config, of any algorithm; parts of it may be objects.

    Raises:
      UserError: a field or the environment is wrong.

    Example:
      >>> import jax
      >>> from purejaxrl_gae import PPOConfig, make_agent
      >>> agent = make_agent(PPOConfig(env="CartPole-v1", num_envs=4, num_steps=32, num_minibatches=4))
      >>> state, metrics = agent.update(agent.init(jax.random.key(0)), {"learning_rate": 1e-3})
      >>> int(metrics["env_steps"])
      128
    """
    return Agent(algorithms.make_algorithm(config))


def load(path: str | Path, config: TrainingConfig | None = None, *, trust: bool = False) -> tuple[Agent, TrainState]:
    """Reads what `Agent.save` wrote, or the newest checkpoint of any run folder.

    Args:
      path: of the folder.
      config: in place of the folder's, where parts of that are objects without an import name.
      trust: import what the folder names to import, although it is not signed by you.

    Returns:
      `(agent, state)`: of a run of several seeds the state has a leading axis of them.

    Raises:
      UserError: the folder holds no run or no checkpoint, or names what is not vouched for.
      RunError: no checkpoint fits.
    """
    from purejaxrl_gae.runs import saved

    algorithm, restored, _ = saved.restore(Path(path), "path", trusted=trust, own=config)
    return Agent(algorithm), restored.state
