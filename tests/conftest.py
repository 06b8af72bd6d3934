"""What all tests share: how programs are compiled and kept, in other processes too, and a key of their own.

Tests compile hundreds of programs and run each for a moment, so XLA is asked for code that is compiled soon, not code
that runs fast. What is said here has to be said before JAX is imported.
"""

import os
import shutil
import subprocess
import sys
import tempfile

import pytest

CACHE_SETTINGS = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.15",  # to keep and to find a smaller one takes as long
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
}
COMPILED_SOON = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",  # halves the time
    "--xla_cpu_parallel_codegen_split_count=1",  # both cores are busy with tests
)
# The same since jaxlib 0.11; on 0.10 it makes several devices differ from one by bits.
SAME_SINCE_011 = "--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters=true"
# Files of most seconds, in that order: begun last, one of them would keep one core busy alone.
LONGEST = (
    "test_many_agents.py",
    "test_ppo.py",
    "test_host_environments.py",
    "test_sweep.py",
    "test_command_line.py",
    "test_training.py",
    "test_brax_adapter.py",
    "test_every_algorithm.py",
    "test_encoders.py",
    "test_run.py",
    "test_gymnax_adapter.py",
    "test_spaces.py",
)
IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ  # which inherits what is set here
MADE_HERE = "JAX_COMPILATION_CACHE_DIR" not in os.environ  # not so in workers, which inherit it


def known(flags: tuple[str, ...]) -> list[str]:
    """Those of the flags that this jaxlib has: one that it has not would end every process that computes."""
    command = [sys.executable, "-c", "import jax; jax.devices()"]

    def are_known(some: tuple[str, ...]) -> bool:
        environment = {**os.environ, "XLA_FLAGS": " ".join(some)}
        return subprocess.run(command, env=environment, capture_output=True).returncode == 0

    return list(flags) if are_known(flags) else [*(flag for flag in flags if are_known((flag,))), SAME_SINCE_011]


CACHE = os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="tests-xla-") if MADE_HERE else "")
for setting, value in CACHE_SETTINGS.items():
    os.environ.setdefault(setting, value)


def pytest_configure(config):
    """Tells XLA how to compile where XLA_FLAGS does not, but for the slow tests, which run longer than they compile."""
    if not IS_WORKER and config.getoption("markexpr") == "not slow":
        os.environ.setdefault("XLA_FLAGS", " ".join(known(COMPILED_SOON)))


def pytest_collection_modifyitems(items):
    """Puts the longest files first; pytest's option --no-loadscope-reorder keeps them there."""
    place = {name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


def pytest_report_header():
    """Says how programs are compiled; without the flags the fast tests take three times as long."""
    return f"XLA_FLAGS: {os.environ.get('XLA_FLAGS', 'none')}"


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
