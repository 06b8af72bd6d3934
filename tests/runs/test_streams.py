"""What is shown never costs a training: pipes that close, full disks, closed and narrow outputs."""

import io
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from purejaxrl_gae import cli
from purejaxrl_gae.runs.compilation_cache import use_compilation_cache
from purejaxrl_gae.runs.display import Display
from purejaxrl_gae.settings.errors import RunError


def closed_pipe():
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "w")


def closed_file():
    file = io.StringIO()
    file.close()
    return file


def say_much(display):
    for number in range(3):
        display.say(f"line {number}")
        display.table(("a",), [(number,)])
        display.update(number, 1.0, 2.0, last=True)


def full_disk():
    return open("/dev/full", "w")


@pytest.mark.parametrize("make", [closed_pipe, closed_file, full_disk])
def test_an_output_that_cannot_be_written_is_named_once_and_done_without(make, monkeypatch, capsys):
    output = make()
    monkeypatch.setattr(sys, "stdout", output)
    display = Display(10, enabled=True)
    display.start()
    say_much(display)
    display.stop()
    errors = capsys.readouterr().err
    assert errors.count("standard output cannot be written") == 1
    assert len(errors.splitlines()) == 1
    if not output.closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())  # what it still holds is written when it is freed


def test_without_any_output_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    display = Display(10, enabled=True)
    say_much(display)
    display.complain("nobody reads this")


def test_what_an_encoding_cannot_say_is_escaped(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    Display(10, enabled=True).say("runs/ünï\udcff ±")
    sys.stdout.flush()
    assert written.getvalue() == b"runs/\\xfcn\\xef\\udcff \\xb1\n"


PROGRAM = r"""
import sys
from purejaxrl_gae.runs import streams
with streams.dispensable():
    streams.Stream("stdout").write("x\n")
    streams.Stream("stderr").write("x\n")
    opened = open("/dev/null")
    sys.exit(7 if opened.fileno() > 2 else 1)
"""


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "2>&-", ">&- 2>&-", ">/dev/full 2>/dev/full", "| true"])
def test_a_command_ends_with_its_own_exit_code_whatever_its_outputs_are(redirection):
    program = f"""exec 3>&1; ( {sys.executable} -c '{PROGRAM}'; echo $? >&3 ) {redirection}"""
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=300)
    assert done.stdout.split()[-1] == "7"
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize("command", ["", "ppo --help", "sweep --help", "evaluate --policy policy.npz --episodes 1"])
def test_whoever_reads_no_further_gets_no_traceback(command, tmp_path):
    policy = dict(kernel_0=np.zeros((4, 2)), bias_0=np.zeros(2), activated=[False], discrete=True, activation="tanh")
    np.savez(tmp_path / "policy.npz", format=2, environment='{"env": "CartPole-v1"}', observation_shape=[4], **policy)
    program = f"( {sys.executable} -m purejaxrl_gae {command}; echo $? >&2 ) | true"
    search = {"PYTHONPATH": os.getcwd(), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["bash", "-c", program], cwd=tmp_path, env={**os.environ, **search}, capture_output=True, text=True, timeout=300
    )
    assert done.stderr == "0\n"


def test_a_result_that_cannot_be_written_is_one_line(monkeypatch):
    with open("/dev/full", "w") as full:  # closed without complaint, as Python does at its end
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(RunError, match="standard output cannot be written: No space left"):
            cli.show("result")


def test_a_compilation_cache_that_a_full_disk_does_not_take_is_no_news():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use_compilation_cache()
        warnings.warn("Error writing persistent compilation cache entry for 'jit_f': OSError: [Errno 28]", stacklevel=1)
    assert not caught
