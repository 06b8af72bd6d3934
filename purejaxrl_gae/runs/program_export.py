"""Making a policy of any network a program of its own, which `runs.program_policy` reads and acts with."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from purejaxrl_gae.environments.structures import batched, seen_types
from purejaxrl_gae.program import memories, player
from purejaxrl_gae.program.types import Learner, Normalizers, Setup
from purejaxrl_gae.runs.program_policy import FORMAT, KEY_TYPE, WITHOUT_MEMORY, digest_of, refuse_calls
from purejaxrl_gae.settings import parts, trust
from purejaxrl_gae.settings.errors import UserError, first_line

PLATFORMS = ("cpu", "cuda", "tpu")


def exported(setup: Setup, learner: Learner) -> export.Exported:
    """Makes the program of a setup's policy, the same for all learners.

    Args:
      setup: static parts.
      learner: one of them, or its shapes and types.

    Raises:
      UserError: the network cannot be exported.
    """
    structure = jax.tree.structure(_policy_weights(setup, learner))
    held_types, form = jax.tree.flatten(jax.eval_shape(partial(memories.initial_memory, setup.network, 1)))

    def act(weights, observations, memory, key_data, deterministic):
        params, moments = jax.tree.unflatten(structure, weights)
        acting = Learner(params, (), (), Normalizers(moments, None))
        number = jax.tree.leaves(observations)[0].shape[:1]
        key, begun = jax.random.wrap_key_data(key_data, impl=KEY_TYPE), jnp.zeros(number, bool)
        remembered = jax.tree.unflatten(form, memory), begun
        actions, behind = player.act(setup, acting, observations, remembered, key, deterministic)
        return actions, tuple(jax.tree.leaves(behind))

    def act_without_memory(weights, observations, key_data, deterministic):
        return act(weights, observations, (), key_data, deterministic)[0]

    def with_batch_of(size):
        observations = batched(seen_types(setup.environment), size)
        memory = tuple(jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype) for leaf in held_types)
        key_data = jax.ShapeDtypeStruct((2,), jnp.uint32)
        weights = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in weights_of(setup, learner))
        of_any = export.export(jax.jit(act if memory else act_without_memory), platforms=PLATFORMS)
        inputs = (observations, memory) if memory else (observations,)
        return of_any(weights, *inputs, key_data, jax.ShapeDtypeStruct((), jnp.bool_))

    try:
        try:
            program = with_batch_of(*export.symbolic_shape("batch"))
        except Exception:  # whatever a network raises that has to know how many observations there are
            program = with_batch_of(1)
        refuse_calls(program.mlir_module())
    except Exception as error:
        name = parts.name_of(setup.config.network)
        raise UserError(f"network is {name}, which has no form as a file: {first_line(error)}") from error
    return program


def weights_of(setup: Setup, learner: Learner) -> list[Any]:
    """Returns the arrays that a policy's program gets, of parameters and of the observations' moments."""
    return jax.tree.leaves(_policy_weights(setup, learner))


def _policy_weights(setup: Setup, learner: Learner) -> Any:
    """Returns what acting needs: with memory all parameters, as what is remembered may be the value function's too."""
    params = learner.params
    if setup.network.has_own_value_params and not memories.has_memory(setup.network):
        params = {"policy": params["policy"]}
    return params, learner.normalizers.observations


def program_arrays(setup: Setup, learner: Learner, program: export.Exported) -> dict[str, np.ndarray]:
    """Returns the arrays of a program and its weights."""
    contents, held = bytes(program.serialize()), jax.tree.leaves(memories.initial_memory(setup.network, 1))
    arrays: dict[str, Any] = {
        "format": np.int64(FORMAT if held else WITHOUT_MEMORY),
        "program": np.frombuffer(contents, np.uint8),
        "program_signature": np.str_(trust.signed(digest_of(contents)).get(trust.SIGNATURE, "")),
    }
    arrays |= {f"memory_{i}": np.asarray(each[0]) for i, each in enumerate(held)}
    return arrays | {f"weight_{i}": np.asarray(each) for i, each in enumerate(weights_of(setup, learner))}
