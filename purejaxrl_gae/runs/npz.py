"""Reading .npz files of anyone: no pickles, and no more memory than was agreed to."""

import math
import zipfile
from typing import Any

import numpy as np

READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class StoredArrays:
    """The arrays of a .npz of anyone: each is read when it is asked for, after its size has been checked.

    Args:
      archive: the open file.
      largest: bytes that may be read of it.
    """

    def __init__(self, archive: zipfile.ZipFile, largest: int):
        self._archive = archive
        self._room = self._largest = largest

    def names(self) -> list[str]:
        """Returns the names of all arrays."""
        return [name.removesuffix(".npy") for name in self._archive.namelist()]

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._archive.NameToInfo

    def __getitem__(self, name: str) -> np.ndarray:
        """Returns an array, whose header has to say exactly what lies there."""
        info = self._archive.getinfo(f"{name}.npy")
        self._room -= info.file_size
        if self._room < 0:
            raise ValueError(f"it holds more than {self._largest:,} bytes: {name} alone {info.file_size:,}")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others expand without asking
            raise ValueError(f"its {name} is compressed in another way than NumPy's")
        with self._archive.open(info) as file:
            read_header = READ_HEADER[np.lib.format.read_magic(file)]
            shape, fortran_order, dtype = read_header(file)
            contents = file.read()
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(contents):
            raise ValueError(f"its {name} does not hold what its header says")
        array = np.frombuffer(contents, dtype)
        return array.reshape(shape[::-1]).T if fortran_order else array.reshape(shape)

    def get(self, name: str, default: Any = None) -> Any:
        """Returns an array, or the default where there is none."""
        if name in self:
            return self[name]
        return default

    def scalar(self, name: str, default: Any = None) -> Any:
        """Returns a single value as Python's own, or the default where there is one to fall back to."""
        return default if default is not None and name not in self else self[name].item()
