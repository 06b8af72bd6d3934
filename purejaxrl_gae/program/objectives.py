"""PPO's policy losses, the built-in ones and those that are handed in, called by the names of their arguments."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae import kernels
from purejaxrl_gae.environments.structures import seen_types
from purejaxrl_gae.program.memories import example_inputs
from purejaxrl_gae.program.types import Distribution, Hyperparameters, Setup
from purejaxrl_gae.settings import parts
from purejaxrl_gae.settings.errors import UserError

Objective = Callable[..., jax.Array]

BUILT_IN: dict[str, Objective] = {
    "clip": kernels.ppo_clip_loss,
    "none": kernels.unclipped_loss,
    "kl_fixed": kernels.kl_penalty_loss,
    "kl_adaptive": kernels.kl_penalty_loss,
}


def objective_of(config: Any) -> Objective:
    """Returns the policy loss that a config names.

    Raises:
      UserError: there is none of that name.
    """
    return parts.find_function("objective", config.objective, BUILT_IN)


def needs_old_policy(objective: Objective) -> bool:
    """Says whether the loss asks for the distributions that acted, which otherwise need not be kept."""
    return bool(parts.names_of(objective) & {"old_policy", "kl"})


def policy_loss(
    objective: Objective, hyperparameters: Hyperparameters, policy: Distribution, log_probs: jax.Array, minibatch: Any
) -> jax.Array:
    """Computes a policy loss from what it names.

    It may name `log_probs`, `old_log_probs`, `advantages`, `policy`, `old_policy`, `kl` (KL(pi_old || pi), `[B]`),
    `actions`, `observations`, `hyperparameters`, and each of these by its own name, as `clip_coef`.
    """
    available = {
        **vars(hyperparameters),
        "hyperparameters": hyperparameters,
        "log_probs": log_probs,
        "old_log_probs": minibatch.log_probs,
        "advantages": minibatch.advantages,
        "policy": policy,
        "old_policy": minibatch.distribution,
        "actions": minibatch.actions,
        "observations": minibatch.observations,
        "kl": minibatch.distribution.kl_divergence(policy) if "kl" in parts.names_of(objective) else None,
    }
    return parts.call("objective", objective, available)


def check_objective(setup: Setup, hyperparameters: Hyperparameters, make_samples: Callable[..., Any]) -> None:
    """Traces a policy loss that was handed in on a batch of two, which computes nothing.

    Args:
      setup: static parts.
      hyperparameters: traced values.
      make_samples: makes a minibatch of named fields.

    Raises:
      UserError: it raises, or does not return one real number.
    """
    if isinstance(setup.config.objective, str) and setup.config.objective in BUILT_IN:
        return
    objective, name = objective_of(setup.config), parts.name_of(setup.config.objective)

    def loss(params, observations, key):
        policy = setup.network.policy(params, observations)
        actions = policy.sample(key)
        numbers = jnp.zeros_like(policy.log_prob(actions))
        samples = make_samples(
            observations=observations,
            actions=actions,
            log_probs=numbers,
            values=numbers,
            advantages=numbers,
            targets=numbers,
            distribution=policy,
        )
        return policy_loss(objective, hyperparameters, policy, policy.log_prob(actions), samples)

    key = jax.eval_shape(jax.random.key, 0)
    inputs = example_inputs(setup.network, seen_types(setup.environment), 2)
    found = parts.trace("objective", name, loss, jax.eval_shape(setup.network.init, key), inputs, key)
    if not (hasattr(found, "shape") and found.shape == () and jnp.issubdtype(found.dtype, jnp.floating)):
        raise UserError(
            f"objective is {name}, which returned {parts.form_of(found)}; it must return one real number, the mean loss"
        )
