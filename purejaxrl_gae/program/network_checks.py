"""The contract that a network handed in is held to: it is traced, which computes nothing, before compiling."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae.environments import ActionSpace
from purejaxrl_gae.environments.structures import batched, described, same_structure
from purejaxrl_gae.kernels import Categorical
from purejaxrl_gae.program import memories
from purejaxrl_gae.program.heads import sampled_types
from purejaxrl_gae.settings import parts
from purejaxrl_gae.settings.errors import UserError, first_line

METHODS_OF_A_NETWORK = ("init", "policy", "value", "prediction")
ATTRIBUTES_OF_A_NETWORK = ("has_own_value_params", "has_action_values")
METHODS = ("noise", "from_noise", "sample", "mode", "log_prob", "entropy", "kl_divergence", "fisher_product")


def check_network(name: str, network: Any, observations: Any, actions: ActionSpace) -> None:
    """Traces a network on two observations and holds parameters and outputs to the contract.

    Raises:
      UserError: names the output and what it must be.
    """
    needed = METHODS_OF_A_NETWORK + (("remember",) if hasattr(network, "initial_memory") else ())
    missing = [each for each in needed if not callable(getattr(network, each, None))]
    missing += [each for each in ATTRIBUTES_OF_A_NETWORK if not hasattr(network, each)]
    if missing:
        raise UserError(
            f"network is {name}, which made a {type(network).__name__} without {missing[0]!r}; it must return "
            f"networks.separate(policy, value), networks.joint(module), or a Network"
        )

    def outputs(params, seen):
        memory = memories.initial_memory(network, 2)
        distribution, remembered = memories.act(network, params, seen, memory, jnp.zeros(2, bool))
        return distribution, memories.value(network, params, seen, memory), memory, remembered

    try:
        params = jax.eval_shape(network.init, jax.eval_shape(jax.random.key, 0))
        distribution, values, *held = jax.eval_shape(outputs, params, batched(observations, 2))
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"network is {name}, which raised {type(error).__name__} for observations {described(observations)}: "
            f"{first_line(error)}"
        ) from error
    _refuse_other_types(name, "has a parameter", params)
    _check_distribution(name, distribution, actions)
    if str(held[0]) != str(held[1]):  # shapes and types of pytrees
        raise UserError(f"network is {name}, which remembers {held[1]}; it must be as initial_memory: {held[0]}")
    if not _are_two_numbers(values):
        form = parts.form_of(values)
        raise UserError(f"network is {name}, whose values of 2 observations are {form}; they must be 2 real numbers")
    _refuse_other_types(name, "has values", values)


def _check_distribution(name: str, distribution: Any, actions: ActionSpace) -> None:
    """Holds every method of a distribution of two states to the contract."""
    lacking = [each for each in METHODS if not callable(getattr(distribution, each, None))]
    if lacking:
        kind = type(distribution).__name__
        raise UserError(
            f"network is {name}, whose policy returned a {kind} without {lacking[0]!r}; it must return a distribution, "
            f"as kernels.Categorical(logits) or kernels.DiagonalGaussian(mean, log_std)"
        )
    key = jax.eval_shape(jax.random.key, 0)
    noise = _traced(name, "noise", lambda each, key: each.noise(key), distribution, key)
    several = _traced(name, "noise", lambda each, key: each.noise(key, (3,)), distribution, key)
    if [leaf.shape for leaf in jax.tree.leaves(several)] != [(3, *leaf.shape) for leaf in jax.tree.leaves(noise)]:
        raise UserError(f"network is {name}, whose policy's noise(key, (3,)) must be three times noise(key)")
    sampled = _traced(name, "from_noise", lambda each, noise: each.from_noise(noise), distribution, noise)
    _check_actions(name, "policy", sampled, actions)
    one_each = _traced(name, "sample", lambda each, key: each.sample(key), distribution, key)
    _check_actions(name, "policy's sample", one_each, actions)
    _check_actions(name, "policy's mode", _traced(name, "mode", lambda each: each.mode(), distribution), actions)
    if isinstance(distribution, Categorical) and distribution.logits.shape[-1] != actions.num_outputs:
        raise UserError(
            f"network is {name}, whose policy has {distribution.logits.shape[-1]} logits; the environment has "
            f"{actions.num_outputs} actions"
        )
    for method, given in (("log_prob", (sampled,)), ("entropy", ()), ("kl_divergence", (distribution,))):
        found = _traced(name, method, lambda each, *more, of=method: getattr(each, of)(*more), distribution, *given)
        if not _are_two_numbers(found):
            form = parts.form_of(found)
            raise UserError(
                f"network is {name}, whose policy's {method} of 2 states is {form}; it must be 2 real numbers"
            )
        _refuse_other_types(name, f"has a {method}", found)
    of = "fisher_product"
    product = _traced(name, of, lambda each, change: each.fisher_product(change), distribution, distribution)
    if _shapes(product) != _shapes(distribution):
        raise UserError(f"network is {name}, whose policy's {of} must have the form of the distribution itself")


def _traced(name: str, method: str, function: Callable[..., Any], *types: Any) -> Any:
    """Returns the types of what a method of the policy's distribution returns."""
    try:
        return jax.eval_shape(function, *types)
    except Exception as error:
        raise UserError(
            f"network is {name}, whose policy's {method} raised {type(error).__name__}: {first_line(error)}"
        ) from error


def _check_actions(name: str, whose: str, found: Any, actions: ActionSpace) -> None:
    wanted = sampled_types(actions, 2)
    kinds = [
        [(leaf.shape, jnp.issubdtype(leaf.dtype, jnp.integer)) for leaf in jax.tree.leaves(each)]
        for each in (found, wanted)
    ]
    if not same_structure(found, wanted) or kinds[0] != kinds[1]:
        shapes = [f"{list(leaf.shape[1:])} of type {leaf.dtype}" for leaf in jax.tree.leaves(found)]
        raise UserError(
            f"network is {name}, whose {whose} gives actions {', '.join(shapes)}; the environment has {actions} ones"
        )


def _refuse_other_types(name: str, what: str, found: Any) -> None:
    for leaf in jax.tree.leaves(found):
        if leaf.dtype != jnp.float32:
            raise UserError(
                f"network is {name}, which {what} of type {leaf.dtype}; it must be float32, whatever it computes in"
            )


def _are_two_numbers(found: Any) -> bool:
    return hasattr(found, "shape") and found.shape == (2,) and jnp.issubdtype(found.dtype, jnp.floating)


def _shapes(tree: Any) -> Any:
    return jax.tree.structure(tree), [leaf.shape for leaf in jax.tree.leaves(tree)]
