"""One update guarded against what is not finite, and sums over several."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae.parallel.platform import branch
from purejaxrl_gae.program.debugging import no_value
from purejaxrl_gae.program.types import Algorithm, EpisodeTotals, Hyperparameters, Metrics, TrainState

Update = Callable[[Hyperparameters, TrainState], tuple[TrainState, Metrics, EpisodeTotals]]


def guarded_update(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState, update: Update
) -> tuple[TrainState, Metrics, EpisodeTotals, jax.Array]:
    """Makes one update, and undoes it where it would leave a parameter or a loss that is not finite.

    Returns:
      `(state, metrics, totals, healthy)`. Where not healthy, the learner is the one from before; for good, where the
      config says halt.
    """
    new_state, metrics, totals = update(hyperparameters, state)
    healthy = all_finite((new_state.learner, metrics))
    if algorithm.setup.config.on_nonfinite == "halt":
        healthy &= state.counters.skipped_updates == 0
    learner = branch(healthy, lambda: new_state.learner, lambda: state.learner)
    counters = new_state.counters.replace(
        updates=state.counters.updates + 1,
        skipped_updates=state.counters.skipped_updates + jnp.where(healthy, 0, 1),
    )
    return new_state.replace(learner=learner, counters=counters), metrics, totals, healthy


def all_finite(tree: Any) -> jax.Array:
    """Says whether no floating-point leaf holds a NaN or an infinity."""
    floats = [leaf.reshape(-1) for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.isfinite(jnp.concatenate(floats)))


class Sums(NamedTuple):
    """Sums over updates.

    Attributes:
      updates: int32, those that were not undone.
      metrics: `[M]` sums of the metrics over those, in the order of their names.
      totals: sums over the episodes that ended, in all updates.
    """

    updates: jax.Array
    metrics: jax.Array
    totals: EpisodeTotals


def no_sums(hyperparameters: Hyperparameters, state: TrainState, update: Update) -> tuple[list[str], Sums]:
    """Returns the metrics' names in order, and sums over no update."""
    _, metrics, totals = jax.eval_shape(update, hyperparameters, state)
    zero_totals = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), totals)
    return sorted(metrics), Sums(jnp.zeros((), jnp.int32), jnp.zeros(len(metrics), jnp.float32), zero_totals)


def summed_update(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState, sums: Sums, update: Update
) -> tuple[TrainState, Sums, jax.Array]:
    """Makes one guarded update and adds it to the sums: `(state, sums, healthy)`."""
    state, metrics, totals, healthy = guarded_update(algorithm, hyperparameters, state, update)
    values = jnp.stack([metrics[name] for name in sorted(metrics)])
    metrics_sum = sums.metrics + jnp.where(healthy, values, 0.0)
    return state, Sums(sums.updates + healthy, metrics_sum, sums.totals.plus(totals)), healthy


def mean_metrics(names: list[str], sums: Sums) -> Metrics:
    """Returns the means over the updates that were not undone."""
    means = sums.metrics / sums.updates
    return {name: means[index] for index, name in enumerate(names)}


def episode_metrics(totals: EpisodeTotals) -> Metrics:
    """Returns the means over the episodes that ended, NaN where none did."""
    ended, count = totals.episodes > 0, jnp.maximum(totals.episodes, 1)
    return {
        "episodes": totals.episodes,
        "episodic_return": jnp.where(ended, totals.returns / count, no_value()),
        "episodic_length": jnp.where(ended, totals.lengths / count, no_value()),
    }
