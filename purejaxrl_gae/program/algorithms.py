"""From a config to its algorithm, without any algorithm knowing of another."""

import importlib
import sys
from collections.abc import Callable
from typing import Any

from purejaxrl_gae.program import training
from purejaxrl_gae.program.training import TrainResult
from purejaxrl_gae.program.types import Algorithm
from purejaxrl_gae.settings import trust
from purejaxrl_gae.settings.config import TrainingConfig
from purejaxrl_gae.settings.errors import UserError, closest, shown

CONFIG_CLASSES = {
    "ppo": "PPOConfig",
    "trpo": "TRPOConfig",
    "a2c": "A2CConfig",
    "reinforce": "ReinforceConfig",
    "off_policy": "OffPolicyConfig",
}


def config_class(algorithm: Any) -> type[TrainingConfig]:
    """Returns the config dataclass of an algorithm: one of ours by its name, or MODULE:CLASS of the user's own.

    Raises:
      UserError: there is none of that name, or it is no config.
    """
    if isinstance(algorithm, str) and algorithm in CONFIG_CLASSES:
        return getattr(importlib.import_module(f"purejaxrl_gae.{algorithm}"), CONFIG_CLASSES[algorithm])
    if not isinstance(algorithm, str) or ":" not in algorithm:
        hint = closest(algorithm, CONFIG_CLASSES) if isinstance(algorithm, str) else ""
        known = ", ".join(CONFIG_CLASSES)
        raise UserError(
            f"algorithm is {shown(algorithm)}; it must be one of {known}, or MODULE:CLASS of your own{hint}"
        )
    kind = trust.load("algorithm", algorithm, known=())
    if not (isinstance(kind, type) and issubclass(kind, TrainingConfig)):
        raise UserError(f"algorithm is {shown(algorithm)}, which is no config; it must be a subclass of TrainingConfig")
    if getattr(kind, "algorithm", None) != algorithm:
        said = shown(getattr(kind, "algorithm", None))
        raise UserError(
            f"algorithm is {shown(algorithm)}, whose field algorithm is {said}; it must say where it is found"
        )
    return kind


def command_of(algorithm: str) -> str:
    """Returns the command that trains by an algorithm."""
    return f"python -m purejaxrl_gae.{'train ' if ':' in algorithm else ''}{algorithm}"


def make_algorithm(config: TrainingConfig) -> Algorithm:
    """Makes the algorithm that a config describes: by `make_algorithm` of the module that defines the config's class.

    Raises:
      UserError: a field or the environment is wrong, or the module makes no Algorithm.
    """
    module = sys.modules[type(config).__module__]
    make = getattr(module, "make_algorithm", None)
    if make is None:
        raise UserError(
            f"algorithm is {config.algorithm}, but {module.__name__} has no function make_algorithm(config)"
        )
    made = make(config)
    if not isinstance(made, Algorithm):
        raise UserError(f"algorithm is {config.algorithm}, whose make_algorithm returned a {type(made).__name__}")
    return made


def make_train(config: TrainingConfig) -> Callable[..., TrainResult]:
    """Makes a whole training run: a pure function of a key and, if wanted, of hyperparameters.

    `train(key)` uses the config's values. `train(key, {"learning_rate": x})` replaces some; under `vmap` with
    `in_axes=(None, 0)` each may be a vector, and nothing is compiled twice. `train(None, state=result.state)` goes on
    for as many updates again, as one long run would unless something is annealed; a key in place of None gives it
    random numbers of its own from there on.

    Args:
      config: of any algorithm.

    Returns:
      `train(key, hyperparameters=None, state=None) -> TrainResult`, a scan over `Agent.update`; jit it, vmap it.

    Raises:
      UserError: a field or the environment is wrong.

    Example:
      >>> import jax
      >>> from purejaxrl_gae import PPOConfig, make_train
      >>> train = make_train(PPOConfig(env="CartPole-v1", total_timesteps=1024, num_envs=4, num_steps=64))
      >>> results = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 2))
      >>> results.metrics["env_steps"].tolist()
      [[256, 512, 768, 1024], [256, 512, 768, 1024]]
    """
    return training.make_train_program(make_algorithm(config))
