"""Estimators of the advantage, built-in ones and those handed in, called by the names of their arguments."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae import kernels
from purejaxrl_gae.program.memories import values_along
from purejaxrl_gae.program.types import Experience, Network, Params
from purejaxrl_gae.settings import parts
from purejaxrl_gae.settings.errors import UserError

Estimator = Callable[..., Any]


def monte_carlo(rewards, values, next_values, terminated, truncated, gamma):
    """Returns R - V and R: discounted returns, which go on with a value where a rollout or a time limit cuts them."""
    returns = kernels.discounted_returns(rewards, next_values, terminated, truncated, gamma=gamma)
    return returns - values, returns


BUILT_IN: dict[str, Estimator] = {
    "gae": kernels.gae,
    "td_residual": kernels.td_residuals,
    "n_step": kernels.k_step_advantages,
    "monte_carlo": monte_carlo,
}


RENAMED = {"td": "td_residual", "baseline": "monte_carlo", "advantage": "gae"}


def notes_of(config: Any) -> list[str]:
    """Says what an estimator's name until 0.1 has become; files of that time have it."""
    new = RENAMED.get(config.advantage) if isinstance(config.advantage, str) else None
    return [] if new is None else [f"advantage is {str(config.advantage)!r}, which is called {new!r} now"]


def estimator_of(config: Any, built_in: dict[str, Any] = BUILT_IN) -> Estimator:
    """Returns the estimator that a config's `advantage` names.

    Raises:
      UserError: there is none of that name.
    """
    return parts.find_function("advantage", config.advantage, built_in)


def estimate(estimator: Estimator, experience: Experience, **more: Any) -> tuple[jax.Array, jax.Array]:
    """Estimates advantages and what the value function is fitted to.

    Args:
      estimator: it may name `rewards`, `values`, `next_values`, `terminated`, `truncated`, all `[T, N]`, and whatever
        is in `more`; it returns advantages, or `(advantages, targets)`.
      experience: a rollout.
      **more: `gamma`, `gae_lambda` and what else the algorithm has.

    Returns:
      `(advantages, targets)`, both `[T, N]`; where the estimator has no targets, advantages + values.
    """
    found = parts.call("advantage", estimator, {**experience.transitions, **more})
    return found if isinstance(found, tuple) else (found, found + experience.values)


def revalued(network: Network, params: Params, experience: Experience) -> Experience:
    """Returns a rollout with the values of these parameters; those behind time limits stay the rollout's."""
    last_starts = experience.terminated[-1] | experience.truncated[-1]
    values, following = values_along(network, params, experience.inputs, experience.last_observations, last_starts)
    next_values = jnp.where(experience.truncated, experience.next_values, following)
    return experience._replace(values=values, next_values=next_values)


def check_estimator(config: Any, built_in: dict[str, Any] = BUILT_IN, **more: Any) -> None:
    """Finds an estimator; traces one that was handed in on five steps of three environments, which computes nothing.

    Raises:
      UserError: there is none of that name, it raises, or what it returns does not have the rollout's shape.
    """
    estimator = estimator_of(config, built_in)
    if isinstance(config.advantage, str) and config.advantage in built_in:
        return
    name, numbers = parts.name_of(config.advantage), jax.ShapeDtypeStruct((5, 3), jnp.float32)
    ends = jax.ShapeDtypeStruct((5, 3), bool)

    def traced(numbers, ends):
        fields = dict.fromkeys(("observations", "actions", "log_probs", "rewards", "values", "next_values"), numbers)
        rollout = Experience(**fields, distribution=None, terminated=ends, truncated=ends, last_observations=None)
        given = {field: numbers if field == "log_ratios" else value for field, value in more.items()}
        return estimate(estimator, rollout, **given)

    found = parts.trace("advantage", name, traced, numbers, ends)
    shapes = [list(leaf.shape) for leaf in jax.tree.leaves(found)]
    if shapes != [[5, 3], [5, 3]]:
        raise UserError(
            f"advantage is {name}, which returned {shapes} for a rollout [5, 3]; it must return advantages, or "
            "(advantages, targets), of its shape"
        )
