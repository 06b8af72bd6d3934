"""Values as a trained value function says them, in the units it was learned in and in the environment's own rewards."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae import kernels
from purejaxrl_gae.environments import Environment, HostEnvironment
from purejaxrl_gae.environments.structures import as_kept, check_same, described, is_structured, seen_types
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.program.rollout import normalize_observations
from purejaxrl_gae.program.types import Learner, Setup
from purejaxrl_gae.settings.config import TrainingConfig


class Values(NamedTuple):
    """V of some observations, twice.

    Attributes:
      in_rewards: in the environment's rewards, discounted: comparable to returns and to other libraries.
      as_learned: in the units of what was learned from: under `normalize_rewards`, of rewards divided by the running
        deviation of the discounted return; otherwise the same as `in_rewards`. Losses and targets are in these units.
    """

    in_rewards: jax.Array
    as_learned: jax.Array


def make_value_function(config: TrainingConfig) -> Callable[[Learner, jax.Array], Values]:
    """Makes the value function of agents that a config trains.

    Scaled rewards are clipped to +-10 while learning, and no factor undoes that. The factor is the deviation at the
    end, which values of states not visited lately lag behind.

    Args:
      config: of any algorithm, as it was trained.

    Returns:
      `value(learner, observations) -> Values`: of `[..., *observation_shape]` raw observations, or of the whole numbers
      that the environment gives; jit it, vmap it.

    Raises:
      UserError: a field or the environment is wrong.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from purejaxrl_gae import PPOConfig, make_train, make_value_function
      >>> config = PPOConfig(env="CartPole-v1", total_timesteps=1024, num_envs=4, num_steps=64)
      >>> results = jax.jit(jax.vmap(make_train(config)))(jax.random.split(jax.random.key(0), 2))
      >>> values = jax.vmap(make_value_function(config), (0, None))(results.state.learner, jnp.zeros((3, 4)))
      >>> values.in_rewards.shape
      (2, 3)
    """
    return value_function(algorithms.make_algorithm(config).setup)


def value_function(setup: Setup) -> Callable[[Learner, jax.Array], Values]:
    """Returns the value function of what is made of a config already; see `make_value_function`."""

    def value(learner: Learner, observations: Any) -> Values:
        encoded = encode_observations(setup.environment, observations)
        seen = normalize_observations(learner.normalizers, encoded)
        return in_both_units(learner, setup.network.value(learner.params, seen))

    return value


def in_both_units(learner: Learner, learned: jax.Array) -> Values:
    """Returns values as they were learned, and in the environment's rewards."""
    moments = learner.normalizers.returns
    return Values(learned if moments is None else kernels.unscale_values(learned, moments), learned)


def encode_observations(environment: Environment | HostEnvironment, observations: Any) -> Any:
    """Encodes raw observations as the networks' normaliser wants them.

    Args:
      environment: whose they are.
      observations: as it gives them, `[..., *shape]` or a dictionary or tuple of such arrays.

    Raises:
      UserError: the observations have another shape.
    """
    one_hot, types = environment.one_hot, seen_types(environment)
    given = jax.tree.map(jnp.asarray, observations)
    encoded = given if one_hot is None else jax.tree.map(jnp.asarray, one_hot.encode(given))
    found = described(given) if is_structured(given) else f"an array {list(given.shape)}"
    wanted = f"{environment.name} has {described(types)}, one or a batch"
    check_same(types, encoded, f"observations is {found}; {wanted}")
    return as_kept(types, encoded)
