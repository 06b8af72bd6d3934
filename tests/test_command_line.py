"""The commands as a user types them: in processes of their own with real signals, or in this one where that is all."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from purejaxrl_gae import cli, evaluate

RUN = [
    *("--env", "CartPole-v1", "--no-preset", "--num-envs", "4", "--num-steps", "32", "--hidden-sizes", "8", "8"),
    *("--num-minibatches", "4", "--update-epochs", "4"),
    *("--total-timesteps", "30000", "--updates-per-report", "4", "--checkpoint-freq", "1024", "--no-tensorboard"),
]


def start(*arguments, module="ppo"):
    command = [sys.executable, "-m", f"purejaxrl_gae.{module}", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process, timeout=300):
    output, errors = process.communicate(timeout=timeout)
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "uninterrupted"
    code, output, errors = finish(start(*RUN, "--run-dir", path))
    assert code == 0, errors
    return path, output


def assert_same_run(path, other):
    expected, actual = np.load(other / "policy.npz"), np.load(path / "policy.npz")
    for name in expected.files:
        np.testing.assert_array_equal(actual[name], expected[name])

    def rows(folder):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if "second" not in k} for line in lines]

    assert rows(path) == rows(other)


def test_a_run_says_what_it_does_and_how_it_ended(uninterrupted):
    path, output = uninterrupted
    assert "cpu" in output and "steps/s" in output and "score of the last 100 episodes" in output
    assert "evaluation over 100 episodes" in output
    summary = json.loads((path / "summary.json").read_text())
    assert summary["env_steps"] == 30_080
    assert summary["eval_return_mean"] > 100.0


def test_evaluate_scores_a_run(uninterrupted):
    code, output, errors = finish(start("--run-dir", uninterrupted[0], "--episodes", "20", module="evaluate"))
    assert code == 0, errors
    scored = json.loads(output)
    assert scored["episodes"] == 20
    assert scored["env_steps"] == 30_080
    assert scored["return_mean"] > 100.0


def wait_for_checkpoint(process, path, seconds=300):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"ended before it could be stopped: {process.communicate()}")
        if any(entry.name.isdigit() for entry in (path / "checkpoints").glob("*")):
            return
        time.sleep(0.01)
    raise AssertionError("no checkpoint was written")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_resuming_ends_in_the_same_bits(uninterrupted, tmp_path, number):
    path = tmp_path / "stopped"
    process = start(*RUN, "--run-dir", path)
    wait_for_checkpoint(process, path)
    process.send_signal(number)
    code, output, errors = finish(process)
    assert code == 128 + number, errors
    assert f"--resume {path}" in output
    assert "Traceback" not in errors
    code, output, errors = finish(start("--resume", path))
    assert code == 0, errors
    assert "resumed at step" in output
    assert_same_run(path, uninterrupted[0])


def test_a_killed_run_resumes_to_the_same_bits(uninterrupted, tmp_path):
    path = tmp_path / "killed"
    process = start(*RUN, "--run-dir", path)
    wait_for_checkpoint(process, path)
    process.kill()
    process.communicate()
    code, _, errors = finish(start("--resume", path))
    assert code == 0, errors
    assert_same_run(path, uninterrupted[0])


def test_a_run_killed_before_its_first_checkpoint_starts_again(uninterrupted, tmp_path):
    path = tmp_path / "killed-early"
    process = start(*RUN, "--run-dir", path)
    while not (path / "config.yaml").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    code, _, errors = finish(start("--resume", path))
    assert code == 0, errors
    assert_same_run(path, uninterrupted[0])


@pytest.mark.parametrize(
    "module, arguments, message",
    [
        (
            "ppo",
            ["--env", "Pendulm-v1"],
            "env is 'Pendulm-v1', which gymnax does not know; did you mean 'Pendulum-v1'?",
        ),
        ("ppo", ["--num-minibatches", "7", "--no-preset"], "num_minibatches is 7, which does not divide"),
        ("evaluate", ["--run-dir", "/does/not/exist"], "holds no run"),
        ("evaluate", [], "--run-dir"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(module, arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        evaluate.main(arguments) if module == "evaluate" else cli.main(module, arguments)
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
    assert errors.startswith("error: ")


def test_help_names_every_field(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main("ppo", ["--help"])
    assert not ended.value.code
    output = capsys.readouterr().out
    for flag in ("--env", "--total-timesteps", "--clip-coef", "--target-kl", "--goal-score", "--resume", "--eval-freq"):
        assert flag in output


def test_the_numpy_policy_needs_no_jax(uninterrupted):
    code = (
        "import sys; from purejaxrl_gae import load_policy; import numpy as np;"
        f"print(load_policy({str(uninterrupted[0] / 'policy.npz')!r}).act(np.zeros(4)));"
        "assert not any(name.split('.')[0] in ('jax', 'flax', 'gymnax') for name in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() in ("0", "1")
