"""The files of one checkpoint, as orbax is told to write and read them: plain NumPy arrays and plain JSON.

Everything is written by the calling thread, so that a disk that is full is one error and not one for every array.
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from purejaxrl_gae.runs.npz import StoredArrays

ARRAYS, ABOUT = "arrays.npz", "about.json"
LARGEST_ABOUT = 2**26  # bytes; a sweep keeps two numbers for each agent there


class FilesHandler(ocp.CheckpointHandler):
    """Writes and reads `Files`."""

    def save(self, directory: Any, args: "Files") -> None:
        """Writes both files."""
        folder = Path(directory)
        with (folder / ARRAYS).open("wb") as file:
            np.savez(file, **args.arrays)  # type: ignore[arg-type]
        (folder / ABOUT).write_text(json.dumps(args.about))

    def restore(self, directory: Any, args: Any = None) -> "Files":
        """Reads both; nothing in them is executed, and nothing is read beyond `args.largest` bytes."""
        folder = Path(directory)
        with zipfile.ZipFile(folder / ARRAYS) as archive:
            stored = StoredArrays(archive, args.largest)
            arrays = {name: stored[name] for name in stored.names()}
        with (folder / ABOUT).open("rb") as file:
            about = file.read(LARGEST_ABOUT + 1)
        if len(about) > LARGEST_ABOUT:
            raise ValueError(f"its {ABOUT} has more than {LARGEST_ABOUT:,} bytes")
        return Files(arrays, json.loads(about))


@ocp.args.register_with_handler(FilesHandler, for_save=True, for_restore=True)
@dataclass
class Files(ocp.args.CheckpointArgs):
    """The contents of one checkpoint.

    Attributes:
      arrays: by name.
      about: what is known of them, as JSON can hold it.
      largest: bytes of arrays that may be read.
    """

    arrays: dict[str, np.ndarray] | None = None
    about: dict[str, Any] | None = None
    largest: int = 0
