"""Commands do not import from the folder they are started in."""

import subprocess
import sys

import pytest

from purejaxrl_gae.settings.search_path import without_current_folder

COMMAND = ["python", "-m", "purejaxrl_gae.evaluate", "--policy", "x"]


@pytest.mark.parametrize(
    "path, started, package, expected",
    [
        (["/here", "/lib"], COMMAND, "/lib", ["/lib"]),
        (["", "/lib"], COMMAND, "/lib", ["/lib"]),
        (["/here", "/lib"], ["python", "-mpurejaxrl_gae.ppo"], "/lib", ["/lib"]),
        (["/here", "/lib"], COMMAND, "/here", ["/here", "/lib"]),  # a checkout
        (["/here", "/lib"], ["python", "-m", "pytest", "purejaxrl_gae"], "/lib", ["/here", "/lib"]),
        (["/here", "/lib"], ["python", "train.py"], "/lib", ["/here", "/lib"]),
        (["/lib", "/here"], COMMAND, "/lib", ["/lib", "/here"]),  # python -P, and a PYTHONPATH of the user's
        ([], COMMAND, "/lib", []),
    ],
)
def test_only_commands_of_this_package_leave_the_current_folder(path, started, package, expected):
    assert without_current_folder(path, started, "/here", package) == expected


def test_modules_and_plugins_beside_a_strangers_file_are_not_imported(tmp_path):
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "purejaxrl_gae").symlink_to(sys.modules["purejaxrl_gae"].__path__[0])
    folder = tmp_path / "strangers"
    for name in ("yaml", "hashlib", "dataclasses", "jax_plugins/evil/__init__", "jax/__init__"):
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("open('pwned', 'w')\n")
    command = [sys.executable, "-m", "purejaxrl_gae.evaluate", "--policy", "none.npz"]
    result = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(tmp_path / "installed")}, capture_output=True, text=True
    )
    assert "No such file or directory" in result.stderr
    assert not (folder / "pwned").exists()
