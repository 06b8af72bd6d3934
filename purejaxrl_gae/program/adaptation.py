"""Hyperparameters that follow the KL: measured after each update, it moves them for the next.

They are kept in `learner.extra` under their own names, and stand in place of the config's. PPO's learning rate follows
it within an update, from minibatch to minibatch (`rate_by_minibatch`). An algorithm of few steps per update cannot:
before the first one the KL is 0.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

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


def rate_by_minibatch(
    make: Callable[[jax.Array], optax.GradientTransformation], rate: jax.Array, desired_kl: jax.Array
) -> optax.GradientTransformationExtraArgs:
    """Makes an optimizer whose rate the `kl` of each minibatch moves before the step on it, as in rsl_rl and Brax.

    Args:
      make: makes an optimizer of a rate.
      rate: the first one.
      desired_kl: what the rate keeps the KL near.

    Returns:
      An optimizer whose state is `(state of the other one, rate)`.
    """

    def init(params):
        return make(rate).init(params), rate

    def update(gradient, state, params=None, *, kl):
        inner, rate = state
        rate = kernels.adapt_learning_rate(rate, kl, desired_kl)
        changes, inner = make(rate).update(gradient, inner, params)
        return changes, (inner, rate)

    return optax.GradientTransformationExtraArgs(init, update)


def follow_kl(
    setup: Setup,
    hyperparameters: Hyperparameters,
    learner: Learner,
    experience: Experience,
    moved: tuple[str, ...] = (),
) -> tuple[Learner, Metrics]:
    """Measures E[KL(pi_old || pi)] over a rollout that has been learned from, and moves what follows it.

    Args:
      setup: static parts.
      hyperparameters: traced values.
      learner: after the update.
      experience: the rollout.
      moved: what the update has moved by itself.

    Returns:
      `(learner, metrics)`: `kl`, and the values that this update used; nothing where nothing follows it.
    """
    adapted = {name: rule for name, rule in rules(setup.config).items() if name not in moved}
    if not adapted:
        return learner, {}
    old, inputs = minibatches.flatten_time((experience.distribution, experience.inputs))
    kl = jnp.mean(old.kl_divergence(setup.network.policy(learner.params, inputs)))
    used, target = learner.extra, hyperparameters.desired_kl
    following = {name: rule(used[name], kl, target) for name, rule in adapted.items()}
    return learner.replace(extra={**used, **following}), {"kl": kl, **used}
