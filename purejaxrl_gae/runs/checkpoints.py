"""Checkpoints of a run's full state, by orbax: atomic, checked, the newest few kept.

A state is stored as flat named arrays; beside it what is known of it, the step among it, and a digest over all of
that. A checkpoint that is incomplete, unreadable, altered or renamed is passed over with a message that names it, and
the one before it is taken.
"""

import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from purejaxrl_gae.runs import json_lines
from purejaxrl_gae.settings.errors import RunError

FORMAT = 2  # 1 had no digest over what is stored beside the state
FIRST_FORMAT = "manifest.ocdbt"  # a file that states had before there were formats
MISFIT = 2**30  # bytes by which a state may be larger than one that fits and still be read, to say in what it differs
CHECKPOINT_SECONDS = 30.0  # between two, where no number of steps says when


class Restored(NamedTuple):
    """A checkpoint read back.

    Attributes:
      state: the pytree, in the structure it was asked for in.
      about: what was stored with it.
      step: what it was saved under: environment steps of a run, updates of a sweep's chunk.
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
        self._unusable: set[int] = set()

    def save(self, step: int, state: Any, about: dict[str, Any]) -> None:
        """Writes a state under its step; returns once it is complete on disk.

        Raises:
          OSError: it could not be written; earlier checkpoints are untouched.
        """
        import orbax.checkpoint as ocp

        from purejaxrl_gae.runs.checkpoint_files import Files

        arrays = to_arrays(state)
        about = {**about, "format": FORMAT, "step": step}
        about["digest"] = digest(arrays, about)
        try:
            manager = self._open()
            with _silent_logs():
                if step in self._unusable:
                    manager.delete(step)
                    self._unusable.discard(step)
                manager.save(step, args=ocp.args.Composite(state=Files(arrays, about)), force=True)
        except ocp.checkpoint_manager.StepAlreadyExistsError:
            return
        except Exception as error:
            for unfinished in self.directory.glob(f"{step}.orbax-checkpoint-tmp*"):
                shutil.rmtree(unfinished, ignore_errors=True)
            raise _as_os_error(error) from error

    def steps(self) -> list[int]:
        """Lists the steps of the complete checkpoints, oldest first.

        Raises:
          RunError: the folder cannot be read.
        """
        try:
            return sorted(self._open().all_steps()) if self.directory.is_dir() else []
        except Exception as error:  # whatever orbax raises at files that are not its own
            reason = getattr(error, "strerror", None) or _one_line(error)
            raise RunError(f"{self.directory} cannot be read: {reason}") from None

    def path(self, step: int) -> Path:
        """Returns the folder of a checkpoint."""
        return self.directory / str(step)

    def restore(self, like: Any, warn: Callable[[str], None]) -> Restored | None:
        """Reads the newest checkpoint that is whole; None where there is none at all.

        Args:
          like: pytree of arrays or shapes to read into.
          warn: told about each damaged checkpoint that is passed over.

        Raises:
          RunError: the state's shape is not the one stored, naming the first leaf that differs; or every checkpoint
            is damaged.
        """
        found = self.newest(bytes_of(like), warn)
        if found is None:
            return None
        arrays, about, step = found
        return Restored(from_arrays(arrays, like, self.path(step)), about, step)

    def newest(
        self, expected: int, warn: Callable[[str], None]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any], int] | None:
        """Reads the arrays of the newest checkpoint that is whole, what is known of them, and its step.

        Args:
          expected: bytes of a state that fits; not much more is read.
          warn: told about each damaged checkpoint that is passed over.

        Raises:
          RunError: every checkpoint is damaged, or written by a version that stored states in another form.
        """
        steps = self.steps()
        if steps and all((self.path(step) / "state" / FIRST_FORMAT).exists() for step in steps):
            raise RunError(
                f"checkpoints in {self.directory} are of an earlier version, whose states this one does not read; go "
                "on with that version, or train anew (policy.npz beside them still plays)"
            )
        for step in reversed(steps):
            try:
                return *self._read(step, 2 * expected + MISFIT), step
            except Exception as error:
                self._unusable.add(step)
                warn(f"checkpoint {self.path(step)} cannot be used and is passed over: {_one_line(error)}")
        if steps:
            raise RunError(f"no checkpoint in {self.directory} can be used, of {steps}")
        return None

    def _read(self, step: int, largest: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        import orbax.checkpoint as ocp

        from purejaxrl_gae.runs.checkpoint_files import Files

        manager = self._open()
        with _silent_logs():
            files = manager.restore(step, args=ocp.args.Composite(state=Files(largest=largest)))["state"]
        arrays, about = files.arrays, files.about
        if about.get("format") != FORMAT:
            raise ValueError(f"it is of format {about.get('format')}; this version reads {FORMAT}")
        if digest(arrays, about) != about["digest"]:
            raise ValueError("its contents do not match its digest")
        if about["step"] != step:
            raise ValueError(f"it was taken at step {about['step']} and its folder renamed")
        return arrays, about

    def _open(self) -> Any:
        import orbax.checkpoint as ocp

        from purejaxrl_gae.runs.checkpoint_files import FilesHandler

        if self._manager is None:
            logging.getLogger("absl").setLevel(logging.ERROR)
            self.directory.mkdir(parents=True, exist_ok=True)
            _refuse_devices(self.directory)
            own = jax.process_index()  # a state is whole in every process: none needs to wait for another
            alone = ocp.options.MultiprocessingOptions(
                primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process_{own}"
            )
            options = ocp.CheckpointManagerOptions(
                max_to_keep=self.keep, enable_async_checkpointing=False, create=False, multiprocessing_options=alone
            )
            self._manager = ocp.CheckpointManager(
                self.directory, options=options, item_handlers={"state": FilesHandler()}
            )
        return self._manager


def to_arrays(state: Any) -> dict[str, np.ndarray]:
    """Turns a pytree into named NumPy arrays; random keys into their data."""
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    return {_name(path): np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf) for path, leaf in leaves}


def bytes_of(like: Any) -> int:
    """Returns how large the arrays of a pytree are, or would be."""
    leaves = [jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(like)]
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def from_arrays(arrays: dict[str, np.ndarray], like: Any, source: Path) -> Any:
    """Rebuilds the pytree in the structure of `like`.

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


def digest(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> str:
    """Computes SHA-256 over names, types, shapes and bytes, and over all of `about` but the digest itself."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name}|{array.dtype}|{array.shape}|".encode())
        total.update(array.tobytes())
    known = {name: value for name, value in about.items() if name != "digest"}
    total.update(json.dumps(known, sort_keys=True).encode())
    return total.hexdigest()


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _name(path: Any) -> str:
    """Words a leaf's path, as `learner.params.policy.mlp.Dense_0.kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _refuse_devices(folder: Path) -> None:
    """Refuses a folder in which a name or a link leads to a device or a pipe, which may have no end to read.

    Raises:
      OSError: names the first.
    """
    for path in folder.rglob("*"):
        if json_lines.may_have_no_end(path):
            raise OSError(errno.EINVAL, f"{path.relative_to(folder)} is no file")


@contextlib.contextmanager
def _silent_logs() -> Iterator[None]:
    """Keeps libraries from saying at length what one line says."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _as_os_error(error: Exception) -> OSError:
    """Finds the operating system's reason, where a library's long message holds one."""
    code, text = getattr(error, "errno", None), str(error)
    for known in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO):
        if code == known or os.strerror(known) in text:
            return OSError(known, os.strerror(known))
    return OSError(_one_line(error))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + " …"
