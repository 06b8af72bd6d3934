"""Epochs of shuffled minibatches over one rollout, or fewer where the policy has moved far enough."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import kernels
from purejaxrl_gae.parallel import sharding
from purejaxrl_gae.parallel.platform import branch, takes_branches
from purejaxrl_gae.program import minibatches
from purejaxrl_gae.program.types import Distribution, Learner, Metrics, Params
from purejaxrl_gae.settings.config import MOST_LOOPS, require_between
from purejaxrl_gae.settings.errors import UserError


class Samples(NamedTuple):
    """Samples as a gradient step needs them, `[M, ...]` each; with memory `[T, M, ...]`.

    Attributes:
      observations: as the networks see them, with memory a Sequence.
      actions: as sampled.
      log_probs: log pi_old(a|s).
      values: V(s) when the data was collected.
      advantages: by GAE.
      targets: lambda-returns.
      distribution: pi_old(.|s), or None where no objective asks for it.
    """

    observations: jax.Array
    actions: jax.Array
    log_probs: jax.Array
    values: jax.Array
    advantages: jax.Array
    targets: jax.Array
    distribution: Distribution | None


def require_minibatches(config: Any) -> None:
    """Requires minibatches of more than one sample that fill a rollout, or of trajectories that fill its environments.

    Raises:
      UserError: names the number that is closest.
    """
    require_between(config, 1, config.steps_per_update, "num_minibatches")
    require_between(config, 1, MOST_LOOPS, "update_epochs")
    if config.steps_per_update % config.num_minibatches:
        raise UserError(
            f"num_minibatches is {config.num_minibatches}, which does not divide num_envs * num_steps = "
            f"{config.num_envs} * {config.num_steps} = {config.steps_per_update}; "
            f"nearest that does: {_nearest_divisor(config.steps_per_update, config.num_minibatches)}"
        )
    if config.norm_adv and config.num_minibatches == config.steps_per_update > 1:
        raise UserError(
            f"num_minibatches is {config.num_minibatches}, so that each is a single sample, whose advantage norm_adv "
            f"turns into 0; it must be at most num_envs * num_steps / 2 = {config.steps_per_update // 2}"
        )
    if config.minibatch_sampling == "trajectories" and config.num_envs % config.num_minibatches:
        raise UserError(
            f"num_minibatches is {config.num_minibatches}, which does not divide num_envs = {config.num_envs}, "
            f"as minibatch_sampling = trajectories needs; "
            f"nearest that does: {_nearest_divisor(config.num_envs, config.num_minibatches)}"
        )


def _nearest_divisor(number: int, wanted: int) -> int:
    small = [divisor for divisor in range(1, math.isqrt(number) + 1) if number % divisor == 0]
    return min(small + [number // divisor for divisor in small], key=lambda divisor: (abs(divisor - wanted), divisor))


def run_epochs(
    config: Any,
    loss: Callable[[Params, Samples], tuple[jax.Array, Metrics]],
    optimizer: optax.GradientTransformation,
    learner: Learner,
    samples: Samples,
    keys: jax.Array,
    target_kl: jax.Array | None,
    reestimate: Callable[[Params, Samples], Samples] | None = None,
) -> tuple[Learner, Metrics]:
    """Runs K epochs over the samples, or fewer where the policy has moved further than `target_kl`.

    Args:
      config: with `num_minibatches`, `minibatch_sampling`, `norm_adv` and `gradient_chunk`.
      loss: `(params, minibatch) -> (scalar, metrics)`.
      optimizer: of the flat vector of the parameters.
      learner: before them.
      samples: of one rollout.
      keys: one for each epoch.
      target_kl: the mean `approx_kl` of an epoch that ends them; None: none does.
      reestimate: `(params, samples) -> samples` before each epoch; None: they stay as they are.

    Returns:
      `(learner, metrics)`; metrics are means over the epochs that ran.
    """
    rows, unpack = minibatches.pack(samples)
    flat_params, unravel = ravel_pytree(learner.params)
    ahead = config.norm_adv and _normalizes_ahead()

    def unpack_normalized(some_rows, *normalized):
        minibatch = unpack(some_rows)
        if not config.norm_adv:
            return minibatch
        (advantages,) = normalized or (kernels.normalize_advantages(minibatch.advantages),)
        return minibatch._replace(advantages=advantages)

    def one_epoch(carry, key):
        current = samples if reestimate is None else reestimate(unravel(carry[0]), samples)
        current_rows = rows if reestimate is None else minibatches.pack(current)[0]
        indices = _draw(config, key, rows.shape[0])
        return minibatches.descend(
            loss,
            optimizer,
            unravel,
            carry,
            (current_rows, unpack_normalized),
            indices,
            more=(_normalized(current.advantages, indices),) if ahead else (),
            chunk_size=config.gradient_chunk,
        )

    carry = (flat_params, learner.optimizer_state)
    if target_kl is None:
        carry, metrics = jax.lax.scan(one_epoch, carry, keys)
        metrics = jax.tree.map(jnp.mean, metrics)
    else:
        carry, metrics = _stop_by_kl(one_epoch, carry, keys, target_kl)
    flat_params, optimizer_state = carry
    return learner.replace(params=unravel(flat_params), optimizer_state=optimizer_state), metrics


def _draw(config: Any, key: jax.Array, batch_size: int) -> jax.Array:
    """Draws the samples of each of an epoch's minibatches, `[K, M]` int32."""
    if config.minibatch_sampling == "epochs":
        return minibatches.shuffled_indices(key, batch_size, batch_size // config.num_minibatches)
    num_trajectories = config.num_envs // config.num_minibatches
    num_steps = config.num_steps // (config.steps_per_update // batch_size)
    return minibatches.trajectory_indices(key, num_steps, config.num_envs, num_trajectories)


def _normalizes_ahead() -> bool:
    """Says whether all of an epoch's advantages are normalised before its first gradient step.

    On an accelerator that takes kernels out of the loop, and between devices two sums: each device has all advantages.
    """
    return not takes_branches() or sharding.num_devices() > 1


def _normalized(advantages: jax.Array, indices: jax.Array) -> jax.Array:
    """Normalises the advantages of each minibatch.

    Args:
      advantages: `[B]`, or of trajectories `[T, B]`.
      indices: `[K, M]` samples of each minibatch.

    Returns:
      `[K, M]` or `[K, T, M]`, divided among devices along M.
    """
    chosen = sharding.everywhere(jnp.moveaxis(sharding.everywhere(advantages)[..., indices], -2, 0))
    normalized = sharding.everywhere(jax.vmap(kernels.normalize_advantages)(chosen))
    return sharding.divided(normalized, axis=normalized.ndim - 1)


def _stop_by_kl(one_epoch: Any, carry: Any, keys: jax.Array, target_kl: jax.Array) -> tuple[Any, Metrics]:
    """Runs epochs until one's mean approximate KL exceeds the target; metrics are means over those that ran."""
    shapes = jax.eval_shape(one_epoch, carry, keys[0])[1]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def maybe_one_epoch(carry_and_stopped, key):
        carry, stopped = carry_and_stopped
        carry, metrics = branch(stopped, lambda carry, _: (carry, zeros), one_epoch, carry, key)
        return (carry, stopped | (metrics["approx_kl"] > target_kl)), (metrics, ~stopped)

    (carry, _), (metrics, ran) = jax.lax.scan(maybe_one_epoch, (carry, jnp.array(False)), keys)
    epochs = jnp.sum(ran, dtype=jnp.float32)
    means = jax.tree.map(lambda metric: jnp.sum(metric) / epochs, metrics)
    return carry, {**means, "epochs": epochs}
