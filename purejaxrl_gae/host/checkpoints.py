"""Checkpoints of a run's full state, by orbax: atomic, checked, the newest few kept.

A state is stored as flat named arrays, with a digest over all of them beside it. A checkpoint that is incomplete,
unreadable or altered is passed over with a message that names it, and the one before it is taken.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from purejaxrl_gae.errors import RunError

FORMAT = 1
CHECKPOINT_SECONDS = 30.0  # between two, where no number of steps says when


class Restored(NamedTuple):
    """A checkpoint read back.

    Attributes:
      state: the pytree, in the structure it was asked for in.
      about: what was stored with it.
      step: environment steps at which it was taken.
    """

    state: Any
    about: dict[str, Any]
    step: int


class Checkpoints:
    """The checkpoints of one run folder.

    Args:
      directory: where they lie; made at the first save.
      keep: newest to keep.
    """

    def __init__(self, directory: Path, keep: int):
        self.directory = directory.resolve()
        self.keep = keep
        self._manager: Any = None

    def save(self, step: int, state: Any, about: dict[str, Any]) -> None:
        """Writes the state of that environment step; returns once it is complete on disk.

        Raises:
          OSError: it could not be written; earlier checkpoints are untouched.
        """
        import orbax.checkpoint as ocp

        arrays = to_arrays(state)
        about = {**about, "format": FORMAT, "digest": digest(arrays)}
        contents = ocp.args.Composite(state=ocp.args.StandardSave(arrays), about=ocp.args.JsonSave(about))
        try:
            self._open().save(step, args=contents, force=True)
        except ocp.checkpoint_manager.StepAlreadyExistsError:
            return
        except OSError:
            raise
        except Exception as error:  # tensorstore reports a full disk as ValueError
            raise OSError(f"checkpoint at step {step} could not be written: {_one_line(error)}") from error

    def steps(self) -> list[int]:
        """Environment steps of the complete checkpoints, oldest first."""
        return sorted(self._open().all_steps()) if self.directory.is_dir() else []

    def path(self, step: int) -> Path:
        """The folder of a checkpoint."""
        return self.directory / str(step)

    def restore(self, like: Any, warn: Callable[[str], None]) -> Restored | None:
        """The newest checkpoint that is whole, or None where there is none at all.

        Args:
          like: pytree of arrays or shapes to read into.
          warn: told about each damaged checkpoint that is passed over.

        Raises:
          RunError: the state's shape is not the one stored, naming the first leaf that differs; or every checkpoint
            is damaged.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                arrays, about = self._read(step)
            except Exception as error:
                warn(f"checkpoint {self.path(step)} is damaged and is passed over: {_one_line(error)}")
                continue
            return Restored(from_arrays(arrays, like, self.path(step)), about, step)
        if steps:
            raise RunError(f"no checkpoint in {self.directory} can be read; all of {steps} are damaged")
        return None

    def _read(self, step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        import orbax.checkpoint as ocp

        contents = ocp.args.Composite(state=ocp.args.StandardRestore(), about=ocp.args.JsonRestore())
        logger = logging.getLogger("absl")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            restored = self._open().restore(step, args=contents)
        finally:
            logger.setLevel(level)
        arrays = {name: np.asarray(array) for name, array in restored["state"].items()}
        if digest(arrays) != restored["about"]["digest"]:
            raise ValueError("its contents do not match its digest")
        return arrays, restored["about"]

    def _open(self) -> Any:
        import orbax.checkpoint as ocp

        if self._manager is None:
            logging.getLogger("absl").setLevel(logging.ERROR)
            self.directory.mkdir(parents=True, exist_ok=True)
            own = jax.process_index()  # a state is whole in every process: none needs to wait for another
            alone = ocp.options.MultiprocessingOptions(
                primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process_{own}"
            )
            options = ocp.CheckpointManagerOptions(
                max_to_keep=self.keep, enable_async_checkpointing=False, create=False, multiprocessing_options=alone
            )
            handlers = {
                "state": ocp.StandardCheckpointHandler(multiprocessing_options=alone),
                "about": ocp.JsonCheckpointHandler(multiprocessing_options=alone),
            }
            self._manager = ocp.CheckpointManager(self.directory, options=options, item_handlers=handlers)
        return self._manager


def to_arrays(state: Any) -> dict[str, np.ndarray]:
    """A pytree as named NumPy arrays; random keys as their data."""
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    return {_name(path): np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf) for path, leaf in leaves}


def from_arrays(arrays: dict[str, np.ndarray], like: Any, source: Path) -> Any:
    """The pytree in the structure of `like`.

    Raises:
      RunError: names, shapes or types differ; the first is named.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    restored = []
    for path, leaf in leaves:
        name, is_key = _name(path), _is_key(leaf)
        wanted = jax.eval_shape(jax.random.key_data, leaf) if is_key else leaf
        found = arrays.get(name)
        if found is None or found.shape != wanted.shape or found.dtype != wanted.dtype:
            stored = "nothing" if found is None else f"{found.dtype}{list(found.shape)}"
            raise RunError(
                f"checkpoint {source} does not fit: {name} is stored as {stored}, "
                f"this run needs {wanted.dtype}{list(wanted.shape)}"
            )
        restored.append(jax.random.wrap_key_data(jax.numpy.asarray(found)) if is_key else jax.numpy.asarray(found))
    unknown = sorted(set(arrays) - {_name(path) for path, _ in leaves})
    if unknown:
        raise RunError(f"checkpoint {source} does not fit: it stores {unknown[0]}, which this run does not have")
    return jax.tree.unflatten(structure, restored)


def digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name}|{array.dtype}|{array.shape}|".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _name(path: Any) -> str:
    """A leaf's path as `learner.params.policy.mlp.Dense_0.kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + " …"
