"""What all tests share: the programs they compile, which workers and other processes find too, and a key of their own.

The cache has to be named before JAX is imported.
"""

import os
import shutil
import tempfile

import pytest

CACHE_SETTINGS = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
}
MADE_HERE = "JAX_COMPILATION_CACHE_DIR" not in os.environ  # not so in workers, which inherit it
CACHE = os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="tests-xla-") if MADE_HERE else "")
for setting, value in CACHE_SETTINGS.items():
    os.environ.setdefault(setting, value)


def pytest_unconfigure():
    """Throws the programs away, where no other session is to have them."""
    if MADE_HERE:
        shutil.rmtree(CACHE, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def config_folder(tmp_path_factory):
    """A folder for the user's key that is not the user's."""
    folder = tmp_path_factory.mktemp("config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        yield folder
