"""From a config to its algorithm, without any algorithm knowing of another."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from purejaxrl_gae import training
from purejaxrl_gae.config import TrainingConfig
from purejaxrl_gae.errors import UserError, closest, shown
from purejaxrl_gae.program.types import Algorithm
from purejaxrl_gae.training import TrainResult

CONFIG_CLASSES = {
    "ppo": "PPOConfig",
    "trpo": "TRPOConfig",
    "a2c": "A2CConfig",
    "reinforce": "ReinforceConfig",
    "off_policy": "OffPolicyConfig",
}


def module_of(algorithm: Any) -> ModuleType:
    """The module that defines an algorithm.

    Raises:
      UserError: there is none of that name.
    """
    if not isinstance(algorithm, str) or algorithm not in CONFIG_CLASSES:
        hint = closest(algorithm, CONFIG_CLASSES) if isinstance(algorithm, str) else ""
        raise UserError(f"algorithm is {shown(algorithm)}; it must be one of {list(CONFIG_CLASSES)}{hint}")
    return importlib.import_module(f"purejaxrl_gae.{algorithm}")


def config_class(algorithm: Any) -> type[TrainingConfig]:
    """The config dataclass of an algorithm."""
    return getattr(module_of(algorithm), CONFIG_CLASSES[algorithm])


def make_algorithm(config: TrainingConfig) -> Algorithm:
    """The algorithm that a config describes.

    Raises:
      UserError: a field or the environment is wrong.
    """
    return module_of(config.algorithm).make_algorithm(config)


def make_train(config: TrainingConfig) -> Callable[..., TrainResult]:
    """A whole training run as a pure function of a key and, if wanted, of hyperparameters.

    `train(key)` uses the config's values. `train(key, {"learning_rate": x})` replaces some; under `vmap` with
    `in_axes=(None, 0)` each may be a vector, and nothing is compiled twice.

    Args:
      config: of any algorithm.

    Returns:
      `train(key, hyperparameters=None) -> TrainResult`; jit it, vmap it, or both.

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
