"""README.md: short, and every command and block of it runs as written, in order, from an empty folder."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import faults
from benchmarks.results import pages
from purejaxrl_gae import cli
from tests.pages import INSTALLING, ROOT, refuse_wrong_command

PAGE = ROOT / "README.md"
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def commands():
    """The lines of the shell blocks without installing, which a test of what is installed has behind it."""
    lines = [line for kind, block in BLOCKS if kind == "bash" for line in block.splitlines() if line.strip()]
    return [INSTALLING.sub("", line) for line in lines if "pytest" not in line]


def test_it_is_short_and_has_the_test_command():
    assert len(PAGE.read_text().splitlines()) < 120
    assert '\npip install ".[test]" && pytest -n 2\n' in PAGE.read_text()


def test_its_figures_are_those_of_the_records():
    text = PAGE.read_text()
    speeds = json.loads((ROOT / "docs" / "benchmark_training_cpu.json").read_text())["results"]
    one, many = ({each["name"]: each for each in speeds[row]["timings"]} for row in ("pendulum", "seeds-16"))
    assert f"learns from {one['purejaxrl_gae']['per_second']:,.0f}"[:-3] + "000 steps" in text
    assert f"{one['reference']['ratio']:.1f} times as many as the common way" in text
    assert f"{int(one['sb3']['ratio'])} times as many as Stable-Baselines3" in text
    assert f"in one program learn from {many['purejaxrl_gae']['per_second']:,.0f}"[:-3] + "000" in text
    (cartpole, pendulum) = pages.table_of("classic").splitlines()[2:4]
    known = {each["what"]: each for each in json.loads(faults.RESULTS.read_text())}
    untrained = faults.cells_of(known["the line search takes returns for the new surrogate"])[1]  # it takes no step
    ppo, trpo = (cell.split()[0] for cell in pendulum.split("|")[2:4])
    assert (
        f"reach {ppo} on the pendulum after 150,000 steps, of TRPO {trpo} (untrained: {untrained}), and all five"
        in text.replace("\n  ", " ")
    )
    assert all(cell.startswith(" 500 (") for cell in cartpole.split("|")[2:-1])
    right, wrong, _ = faults.cells_of(known["time limit taken for an end, gamma = 0.99"])
    assert f"leaves PPO at {wrong} on the pendulum in place of {right}" in text


@pytest.mark.parametrize("command", commands())
def test_every_command_is_one_that_the_package_takes(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.startswith("python -m ")
    refuse_wrong_command(command)


def test_no_command_writes_over_a_file_of_the_checkout():
    for command in commands():
        for text in shlex.split(command, comments=True)[3:]:
            assert not (ROOT / text).is_file(), command


@pytest.mark.parametrize("about", ["kernels.gae"])
def test_the_blocks_that_train_nothing_run(about):
    (block,) = [block for kind, block in BLOCKS if kind == "python" and about in block]
    exec(compile(block, str(PAGE), "exec"), {"__name__": "readme"})


@pytest.mark.slow
def test_all_of_it_runs_in_order_from_an_empty_folder(tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    if not (Path(cli.__file__).parent / "configs").is_dir():  # not installed: a checkout
        environment["PYTHONPATH"] = str(ROOT)
    for kind, block in BLOCKS:
        lines = [f"python - <<'BLOCK'\n{block}BLOCK"] if kind == "python" else block.splitlines()
        for line in lines:
            if "pytest" in line or not line.strip():
                continue
            command = ["bash", "-c", INSTALLING.sub("", line)]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, (line, done.stderr[-2000:])
            assert kind == "bash" or "nan" not in done.stdout, line
    made = {"episode.gif", "curve.png", "runs", "sweeps"}
    assert made <= {path.name for path in tmp_path.iterdir()}
