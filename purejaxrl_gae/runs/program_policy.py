"""A trained policy of any network as a program of its own: StableHLO by `jax.export`, run without its author's code.

    from purejaxrl_gae import load_policy
    policy = load_policy("runs/.../policy.stablehlo")
    actions = policy.act(observations)                      # the most probable ones
    actions = policy.act(observations, jax.random.key(0))   # drawn from the policy

The file is a .npz: `program` is what `deserialize` of jax.export reads, a function of the arrays `weight_0`, …
as a tuple, observations `[B, *shape]` float32, two uint32 of a random key, and whether to take the most probable
actions. Normalisation, sampling and action bounds are inside.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from purejaxrl_gae.environments.structures import batched, seen_types
from purejaxrl_gae.program import memories, player
from purejaxrl_gae.program.types import Learner, Normalizers, Setup
from purejaxrl_gae.runs.npz import StoredArrays
from purejaxrl_gae.runs.numpy_spaces import NumpyActions, NumpyLeaves, read_actions, read_leaves
from purejaxrl_gae.settings import parts, trust
from purejaxrl_gae.settings.errors import UserError, first_line

FORMAT = 1
PLATFORMS = ("cpu", "cuda", "tpu")
KEY_TYPE = "threefry2x32"
READ_ELSEWHERE = (
    "import sys; from jax import export; "
    "sys.stdout.write(export.deserialize(bytearray(sys.stdin.buffer.read())).mlir_module())"
)
HARMLESS_CALLS = ("shape_assertion",)  # checks the size of the batch; gone before anything is compiled


@dataclass(frozen=True, eq=False)
class ProgramPolicy:
    """A policy that is a compiled function of its weights.

    Attributes:
      environment: what it was trained in, as arguments of `environments.make_environment`; empty where unknown.
      observations: the arrays of an observation, in their order.
      actions: what it chooses.
      program: see the module.
      weights: arrays that it gets.
    """

    environment: dict[str, Any]
    observations: NumpyLeaves
    actions: NumpyActions
    program: export.Exported = field(repr=False)
    weights: tuple[np.ndarray, ...] = field(repr=False)

    def act(self, observations: Any, key: jax.Array | None = None) -> Any:
        """Returns actions for one observation or a batch, as the environment takes them.

        Args:
          observations: `[..., *shape]`, or a dictionary or tuple of such arrays; where the environment gives whole
            numbers also those.
          key: draws actions from the policy; where None, the most probable ones are taken.

        Raises:
          ValueError: the observations have another shape.
        """
        leaves, structure = jax.tree.flatten(observations)
        types = self.program.in_avals[len(self.weights) : -2]
        given = [each if hasattr(each, "dtype") else np.asarray(each) for each in leaves]
        encoded = [leaf.encode(own) for leaf, own in zip(self.observations.seen, given, strict=True)]
        leading = encoded[0].shape[: encoded[0].ndim - len(self.observations.seen[0].shape)]
        rows = [
            jnp.reshape(own, (-1, *kind.shape[1:])).astype(kind.dtype) for own, kind in zip(encoded, types, strict=True)
        ]
        data = jax.random.key_data(jax.random.key(0, impl=KEY_TYPE) if key is None else key)
        actions = self._call(self._placed, jax.tree.unflatten(structure, rows), data, key is None)
        return jax.tree.map(lambda leaf: leaf.reshape(*leading, *leaf.shape[1:]), actions)

    @cached_property
    def _placed(self) -> tuple[jax.Array, ...]:
        return tuple(map(jnp.asarray, self.weights))

    @cached_property
    def _call(self) -> Callable[..., Any]:
        program, (batch, *_) = self.program, self.program.in_avals[len(self.weights)].shape
        if batch != 1:
            return jax.jit(program.call)

        def one_by_one(weights, rows, data, deterministic):
            number = jax.tree.leaves(rows)[0].shape[0]
            keys = jax.random.split(jax.random.wrap_key_data(data, impl=KEY_TYPE), number)
            each = jax.tree.map(lambda leaf: leaf[:, None], rows), jax.random.key_data(keys)
            stacked = jax.lax.map(lambda own: program.call(weights, *own, deterministic), each)
            return jax.tree.map(lambda leaf: leaf[:, 0], stacked)

        return jax.jit(one_by_one)


def exported(setup: Setup, learner: Learner) -> export.Exported:
    """Makes the program of a setup's policy, the same for all learners.

    Args:
      setup: static parts.
      learner: one of them, or its shapes and types.

    Raises:
      UserError: the network cannot be exported, or has memory.
    """
    if memories.has_memory(setup.network):
        raise UserError(f"network is {parts.name_of(setup.config.network)}, which remembers: no file can do that yet")
    structure = jax.tree.structure(_policy_weights(setup, learner))

    def act(weights, observations, key_data, deterministic):
        params, moments = jax.tree.unflatten(structure, weights)
        acting = Learner(params, (), (), Normalizers(moments, None))
        number = jax.tree.leaves(observations)[0].shape[:1]
        key, nothing = jax.random.wrap_key_data(key_data, impl=KEY_TYPE), ((), jnp.zeros(number, bool))
        return player.act(setup, acting, observations, nothing, key, deterministic)[0]

    def with_batch_of(size):
        observations = batched(seen_types(setup.environment), size)
        key_data = jax.ShapeDtypeStruct((2,), jnp.uint32)
        weights = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in weights_of(setup, learner))
        of_any = export.export(jax.jit(act), platforms=PLATFORMS)
        return of_any(weights, observations, key_data, jax.ShapeDtypeStruct((), jnp.bool_))

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
    params = learner.params
    if setup.network.has_own_value_params:
        params = {"policy": params["policy"]}
    return params, learner.normalizers.observations


def program_arrays(setup: Setup, learner: Learner, program: export.Exported) -> dict[str, np.ndarray]:
    """Returns the arrays of a program and its weights."""
    contents = bytes(program.serialize())
    arrays: dict[str, Any] = {
        "format": np.int64(FORMAT),
        "program": np.frombuffer(contents, np.uint8),
        "program_signature": np.str_(trust.signed(_digest(contents)).get(trust.SIGNATURE, "")),
    }
    return arrays | {f"weight_{i}": np.asarray(each) for i, each in enumerate(weights_of(setup, learner))}


def read_program(arrays: StoredArrays, environment: dict[str, Any]) -> ProgramPolicy:
    """Reads a program of anyone: it is neither run nor compiled, and refused where it could call anything outside.

    One that the user has not written is read by another process first: the reader of StableHLO can crash.

    Raises:
      ValueError: it is of a newer format, or no such program.
    """
    if int(arrays.scalar("format")) > FORMAT:
        raise ValueError(f"it is of format {arrays.scalar('format')}; this version reads {FORMAT} and older")
    count = sum(name.startswith("weight_") for name in arrays.names())
    weights = tuple(arrays[f"weight_{index}"] for index in range(count))
    contents = arrays["program"].tobytes()
    program = export.deserialize(bytearray(contents))
    observations = read_leaves(json.loads(str(arrays.scalar("observations"))))
    actions = read_actions(json.loads(str(arrays.scalar("actions"))))
    takes = [(each.shape, each.dtype) for each in program.in_avals]
    kinds = [dtype for _, dtype in takes[count:-2]]
    batch, *_ = takes[count][0]
    seen = [((batch, *leaf.shape), kind) for leaf, kind in zip(observations.seen, kinds, strict=True)]
    wanted = [*((each.shape, each.dtype) for each in weights), *seen, ((2,), np.uint32), ((), np.bool_)]
    has_effects = program.ordered_effects or program.unordered_effects
    if takes != wanted or program.nr_devices != 1 or has_effects:
        raise ValueError("its program does not take what a policy's does")
    if batch != 1 and not export.is_symbolic_dim(batch):
        raise ValueError(f"its program takes {batch} observations at once; it must be one, or any number")
    signed = {**_digest(contents), trust.SIGNATURE: str(arrays.scalar("program_signature", ""))}
    if isinstance(trust.of_file(signed, "the policy")["program"], trust.Foreign):
        refuse_calls(_text_of(contents))
    return ProgramPolicy(environment, observations, actions, program, weights)


def _digest(contents: bytes) -> dict[str, Any]:
    """Returns what of a program is signed."""
    return {"program": f"sha256:{hashlib.sha256(contents).hexdigest()}"}


def _text_of(contents: bytes) -> str:
    """Returns a program as text, made by another process.

    Raises:
      ValueError: that failed, in whatever way.
    """
    command, environment = [sys.executable, "-P", "-c", READ_ELSEWHERE], {**os.environ, "JAX_PLATFORMS": "cpu"}
    read = subprocess.run(command, input=contents, capture_output=True, env=environment, check=False)
    if read.returncode:
        raise ValueError("its program is damaged")
    return read.stdout.decode()


def refuse_calls(text: str) -> None:
    """Refuses a program that would call functions outside of itself.

    Args:
      text: of its module.

    Raises:
      ValueError: names the call.
    """
    for name in HARMLESS_CALLS:
        text = text.replace(f"custom_call @{name}(", "")
    _, found, after = text.partition("custom_call")
    if found:
        raise ValueError(f"its program calls {after[:60].strip()!r}, which is outside of it")
