"""Functions under vmap over agents: some stay a branch, some are done for one agent after another."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from purejaxrl_gae.parallel.platform import takes_branches


def compute_if_any(
    needed: jax.Array, compute: Callable[..., Any], otherwise: Callable[..., Any], *operands: Any
) -> Any:
    """Returns `compute(*operands)` where any of `needed` is set, else `otherwise(*operands)`; on a CPU by a branch.

    `lax.cond` under `vmap` computes both sides for every agent. Here it stays a branch: all agents take the first side
    in a step in which one of them needs it, and none does in any other. Both sides must agree wherever `needed` is not
    set, or what they disagree in must not be used: where branches are not worth it (see `platform`), all take the first
    side in every step. It may be differentiated, both ways.

    Args:
      needed: bool, any shape.
      compute: pure.
      otherwise: the same, and cheap.
      *operands: pytrees of arrays.
    """
    if not takes_branches():
        return compute(*operands)
    # A batching rule sees operands alone, so traced values that the functions close over are made some: parameters
    # of an environment, for example, that agents are vmapped over.
    compute, of_compute = _hoisted(compute, operands)
    otherwise, of_otherwise = _hoisted(otherwise, operands)
    return _branch(
        needed,
        lambda values, _, *operands: compute(values, *operands),
        lambda _, values, *operands: otherwise(values, *operands),
        of_compute,
        of_otherwise,
        *operands,
    )


def _hoisted(function: Callable[..., Any], operands: tuple[Any, ...]) -> tuple[Callable[..., Any], list[jax.Array]]:
    """Returns `hoisted(values, *operands)` for `function(*operands)`, and the traced values it closes over."""
    closed, types = jax.make_jaxpr(function, return_shape=True)(*operands)
    structure = jax.tree.structure(types)
    traced = {index: value for index, value in enumerate(closed.consts) if isinstance(value, jax.core.Tracer)}

    def hoisted(values, *operands):
        consts = dict(enumerate(closed.consts)) | dict(zip(traced, values, strict=True))
        outputs = jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, list(consts.values())))(*jax.tree.leaves(operands))
        return jax.tree.unflatten(structure, outputs)

    return hoisted, list(traced.values())


def _branch(needed: jax.Array, compute: Callable[..., Any], otherwise: Callable[..., Any], *operands: Any) -> Any:
    """Does what `compute_if_any` says, of functions that close over nothing traced."""

    @jax.custom_batching.custom_vmap
    def call(needed, operands):
        return jax.lax.cond(jnp.any(needed), compute, otherwise, *operands)

    @call.def_vmap
    def batched(axis_size, are_batched, needed, operands):
        leaves, structure = jax.tree.flatten(operands)
        axes = [0 if flag else None for flag in jax.tree.leaves(are_batched[1])]
        over_agents = partial(jax.vmap, in_axes=axes, axis_size=axis_size)
        sides = (over_agents(_of_leaves(function, structure)) for function in (compute, otherwise))
        outputs = _branch(needed, *sides, *leaves)
        return outputs, jax.tree.map(lambda _: True, outputs)

    # Differentiated, it is the first side in every step: JAX cannot transpose a `cond` that was vmapped in between.
    return _differentiable(call, lambda _, operands: compute(*operands))(needed, operands)


def _of_leaves(function: Callable[..., Any], structure: Any) -> Callable[..., Any]:
    """Returns a function of pytrees as one of their leaves."""
    return lambda *leaves: function(*jax.tree.unflatten(structure, leaves))


def _differentiable(call: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `call`, differentiated as `plain`, of the same values: JAX cannot transpose a `custom_vmap`."""
    function = jax.custom_jvp(call)
    function.defjvp(lambda primals, tangents: jax.jvp(plain, primals, tangents))
    return function


def one_agent_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets agents that are vmapped on a CPU go through a function one after another, and elsewhere together.

    A rollout's many tiny steps want to be batched over agents. Learning from it does not, on a CPU: one agent's matrix
    products already fill a core, and XLA runs batched products at half the speed of plain ones.

    Args:
      function: of pytrees of arrays, pure; closes over no traced value.

    Returns:
      The same function with that batching rule.
    """

    @jax.custom_batching.custom_vmap
    def call(*arguments):
        return function(*arguments)

    @call.def_vmap
    def batched(axis_size, are_batched, *arguments):
        one, varying = _of_varying(call, arguments, jax.tree.leaves(are_batched))
        outputs = jax.lax.map(one, varying)
        return outputs, jax.tree.map(lambda _: True, outputs)

    in_turn = _differentiable(call, function)

    def on_this_platform(*arguments):
        return in_turn(*arguments) if takes_branches() else function(*arguments)

    return on_this_platform


def _of_varying(function: Callable[..., Any], arguments: Any, flags: list[bool]) -> tuple[Callable[..., Any], list]:
    """Returns a function of those leaves of its arguments that are flagged, and these leaves."""
    leaves, structure = jax.tree.flatten(arguments)

    def one(varying):
        remaining = iter(varying)
        full = [next(remaining) if flag else leaf for leaf, flag in zip(leaves, flags, strict=True)]
        return function(*jax.tree.unflatten(structure, full))

    return one, [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]
