"""Hyperparameters that follow the KL: measured after each update, it moves them for the next.

They are kept in `learner.extra` under their own names, and stand in place of the config's.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae import kernels
from purejaxrl_gae.program import minibatches
from purejaxrl_gae.program.types import Experience, Hyperparameters, Learner, Metrics, Setup


def rules(config: Any) -> dict[str, Callable[..., jax.Array]]:
    """Returns, for each hyperparameter that follows the KL, its rule `(value, kl, desired KL) -> next value`."""
    found: dict[str, Callable[..., jax.Array]] = {}
    if getattr(config, "objective", None) == "kl_adaptive":
        found["kl_coef"] = kernels.adapt_kl_coefficient
    if config.schedule == "kl_adaptive":
        found["learning_rate"] = kernels.adapt_learning_rate
    return found


def begin(config: Any, hyperparameters: Hyperparameters) -> dict[str, jax.Array]:
    """Returns what `learner.extra` holds at first: the config's own values."""
    return {name: getattr(hyperparameters, name) for name in rules(config)}


def current(hyperparameters: Hyperparameters, learner: Learner) -> Hyperparameters:
    """Returns the hyperparameters with those that follow the KL as they are by now."""
    return hyperparameters.replace(**learner.extra)


def follow_kl(
    setup: Setup, hyperparameters: Hyperparameters, learner: Learner, experience: Experience
) -> tuple[Learner, Metrics]:
    """Measures E[KL(pi_old || pi)] over a rollout that has been learned from, and moves what follows it.

    Returns:
      `(learner, metrics)`: `kl`, and the values that this update used; nothing where nothing follows it.
    """
    adapted = rules(setup.config)
    if not adapted:
        return learner, {}
    old, inputs = minibatches.flatten_time((experience.distribution, experience.inputs))
    kl = jnp.mean(old.kl_divergence(setup.network.policy(learner.params, inputs)))
    used, target = learner.extra, hyperparameters.desired_kl
    moved = {name: rule(used[name], kl, target) for name, rule in adapted.items()}
    return learner.replace(extra=moved), {"kl": kl, **used}
