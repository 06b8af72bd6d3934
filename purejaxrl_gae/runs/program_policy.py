"""A trained policy of any network as a program of its own: StableHLO by `jax.export`, run without its author's code.

    from purejaxrl_gae import load_policy
    policy = load_policy("runs/.../policy.stablehlo")
    actions = policy.act(observations)                      # the most probable ones
    actions = policy.act(observations, jax.random.key(0))   # drawn from the policy

or, of a network with memory, from that of an episode that begins:

    memory = policy.initial_memory()
    action, memory = policy.act(observation, memory)

The file is a .npz: `program` is what `deserialize` of jax.export reads, a function of the arrays `weight_0`, …
as a tuple, observations `[B, *shape]` float32, two uint32 of a random key, and whether to take the most probable
actions. With memory it also takes, behind the observations, a tuple of arrays `[B, ...]`, and returns `(actions,
memory)`; `memory_0`, … are what one episode begins with. Normalisation, sampling and action bounds are inside.
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

from purejaxrl_gae.runs.npz import StoredArrays
from purejaxrl_gae.runs.numpy_spaces import NumpyActions, NumpyLeaves, read_actions, read_leaves
from purejaxrl_gae.settings import trust

FORMAT = 2
WITHOUT_MEMORY = 1  # the format of a program that older versions read too
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
        return self._acted(observations, (), key)[0]

    def _acted(self, observations: Any, memory: tuple[Any, ...], key: jax.Array | None) -> tuple[Any, Any]:
        """Returns actions and what is remembered behind them, of one or any batch of observations and memories."""
        leaves, structure = jax.tree.flatten(observations)
        count = len(self.observations.seen)
        given = [each if hasattr(each, "dtype") else np.asarray(each) for each in leaves]
        encoded = [leaf.encode(own) for leaf, own in zip(self.observations.seen, given, strict=True)]
        leading = encoded[0].shape[: encoded[0].ndim - len(self.observations.seen[0].shape)]
        found, wanted = [np.shape(own) for own in memory], [(*leading, *own.shape[1:]) for own in self._types[count:]]
        if found != wanted:
            raise ValueError(f"memory has the shapes {found}; of these observations they must be {wanted}")
        rows = [
            jnp.reshape(own, (-1, *kind.shape[1:])).astype(kind.dtype)
            for own, kind in zip([*encoded, *memory], self._types, strict=True)
        ]
        data = jax.random.key_data(jax.random.key(0, impl=KEY_TYPE) if key is None else key)
        seen, held = jax.tree.unflatten(structure, rows[:count]), tuple(rows[count:])
        acted = self._call(self._placed, (seen, held) if held else (seen,), data, key is None)
        return jax.tree.map(lambda leaf: leaf.reshape(*leading, *leaf.shape[1:]), acted if held else (acted, ()))

    @property
    def _types(self) -> tuple[Any, ...]:
        """Types of the arrays of observations, and of memory, that the program takes."""
        return tuple(self.program.in_avals[len(self.weights) : -2])

    @cached_property
    def _placed(self) -> tuple[jax.Array, ...]:
        return tuple(map(jnp.asarray, self.weights))

    @cached_property
    def _call(self) -> Callable[..., Any]:
        program, (batch, *_) = self.program, self._types[0].shape

        def all_at_once(weights, inputs, data, deterministic):
            return program.call(weights, *inputs, data, deterministic)

        def one_by_one(weights, inputs, data, deterministic):
            number = jax.tree.leaves(inputs)[0].shape[0]
            keys = jax.random.split(jax.random.wrap_key_data(data, impl=KEY_TYPE), number)
            each = jax.tree.map(lambda leaf: leaf[:, None], inputs), jax.random.key_data(keys)
            stacked = jax.lax.map(lambda own: program.call(weights, *own[0], own[1], deterministic), each)
            return jax.tree.map(lambda leaf: leaf[:, 0], stacked)

        return jax.jit(one_by_one if batch == 1 else all_at_once)


@dataclass(frozen=True, eq=False)
class RecurrentProgramPolicy(ProgramPolicy):
    """A policy that remembers.

    Attributes:
      memory: what one episode begins with, the arrays of its network's memory in their order.
    """

    memory: tuple[np.ndarray, ...] = field(kw_only=True, repr=False)

    def initial_memory(self, *batch_shape: int) -> tuple[np.ndarray, ...]:
        """Returns what is remembered where an episode begins: of one, or of a batch of that shape."""
        return tuple(np.broadcast_to(leaf, (*batch_shape, *leaf.shape)) for leaf in self.memory)

    def act(self, observations: Any, memory: Any, key: jax.Array | None = None) -> tuple[Any, Any]:  # type: ignore[override]
        """Returns actions and what is remembered behind this step.

        Args:
          observations: as of ProgramPolicy.
          memory: of as many, what the last step returned, or `initial_memory` where an episode begins.
          key: draws actions from the policy; where None, the most probable ones are taken.

        Raises:
          ValueError: observations or memory have another shape.
        """
        return self._acted(observations, memory, key)


def read_program(arrays: StoredArrays, environment: dict[str, Any]) -> ProgramPolicy:
    """Reads a program of anyone: it is neither run nor compiled, and refused where it could call anything outside.

    One that the user has not written is read by another process first: the reader of StableHLO can crash.

    Raises:
      ValueError: it is of a newer format, or no such program.
    """
    if int(arrays.scalar("format")) > FORMAT:
        raise ValueError(f"it is of format {arrays.scalar('format')}; this version reads {FORMAT} and older")
    weights, memory = _numbered(arrays, "weight"), _numbered(arrays, "memory")
    contents = arrays["program"].tobytes()
    program = export.deserialize(bytearray(contents))
    observations = read_leaves(json.loads(str(arrays.scalar("observations"))))
    actions = read_actions(json.loads(str(arrays.scalar("actions"))))
    takes, gives = _forms(program.in_avals), _forms(program.out_avals)
    kinds = [dtype for _, dtype in takes[len(weights) :]]
    batch, *_ = takes[len(weights)][0]
    seen = [((batch, *leaf.shape), kind) for leaf, kind in zip(observations.seen, kinds, strict=False)]
    held = [((batch, *each.shape), each.dtype) for each in memory]
    wanted = [*_forms(weights), *seen, *held, ((2,), np.uint32), ((), np.bool_)]
    has_effects = program.ordered_effects or program.unordered_effects
    if takes != wanted or gives[len(gives) - len(held) :] != held or program.nr_devices != 1 or has_effects:
        raise ValueError("its program does not take what a policy's does")
    if batch != 1 and not export.is_symbolic_dim(batch):
        raise ValueError(f"its program takes {batch} observations at once; it must be one, or any number")
    signed = {**digest_of(contents), trust.SIGNATURE: str(arrays.scalar("program_signature", ""))}
    if isinstance(trust.of_file(signed, "the policy")["program"], trust.Foreign):
        refuse_calls(_text_of(contents))
    fields = environment, observations, actions, program, weights
    return RecurrentProgramPolicy(*fields, memory=memory) if memory else ProgramPolicy(*fields)


def _numbered(arrays: StoredArrays, name: str) -> tuple[np.ndarray, ...]:
    """Returns the arrays `name_0`, `name_1`, …, as many as there are of that name."""
    count = sum(each.startswith(f"{name}_") for each in arrays.names())
    return tuple(arrays[f"{name}_{index}"] for index in range(count))


def _forms(arrays: Any) -> list[tuple[Any, Any]]:
    return [(each.shape, each.dtype) for each in arrays]


def digest_of(contents: bytes) -> dict[str, Any]:
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
