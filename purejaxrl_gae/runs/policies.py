"""Reading the policy of a file, whoever wrote it: a policy.npz, which needs no JAX, or a policy.stablehlo."""

import json
import zipfile
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, Union

from purejaxrl_gae.runs.npz import StoredArrays
from purejaxrl_gae.runs.numpy_convolutions import LARGEST
from purejaxrl_gae.runs.numpy_policy import NumpyPolicy, read_layers
from purejaxrl_gae.settings import trust

if TYPE_CHECKING:
    from purejaxrl_gae.runs.program_policy import ProgramPolicy


def load_policy(path: str | PathLike[str] | BinaryIO) -> Union[NumpyPolicy, "ProgramPolicy"]:
    """Reads a policy.npz or a policy.stablehlo, from a path or an open file; nothing in it is run, whoever wrote it.

    Only the arrays of a policy are read, and none before its size has been checked.

    Returns:
      What has `act(observations)`; of a policy.npz it computes in NumPy, and JAX is not imported.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is of a newer format, too large, or not a policy.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _policy(StoredArrays(archive, LARGEST))
    except (OSError, ValueError):
        raise
    except ImportError as error:
        raise ValueError(f"it is a program, and reading that needs a package that is missing: {error}") from error
    except Exception as error:  # of an archive, a header or a value that is wrong in one of many ways
        raise ValueError(f"it is not a policy: {type(error).__name__}") from error


def _policy(arrays: StoredArrays) -> Union[NumpyPolicy, "ProgramPolicy"]:
    environment = _environment(arrays)
    if "program" not in arrays:
        return read_layers(arrays, environment)
    from purejaxrl_gae.runs.program_policy import read_program

    return read_program(arrays, environment)


def _environment(arrays: StoredArrays) -> dict[str, Any]:
    """Returns where the policy was trained; what that names is foreign unless the user's own signature is on it."""
    if "environment" not in arrays:
        return {}
    values = json.loads(str(arrays.scalar("environment")))
    if not isinstance(values, dict):
        raise ValueError("it is not a policy: its environment is no mapping")
    values[trust.SIGNATURE] = str(arrays.scalar("signature", ""))
    return trust.of_file(values, "the policy", has_flag=True)
