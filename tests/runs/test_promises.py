"""What is promised of saving: files are whole, digests cover shapes, and who asks twice to stop is heard."""

import errno
import os
import signal
from pathlib import Path

import jax.numpy as jnp
import pytest

from purejaxrl_gae.runs import checkpoints
from purejaxrl_gae.runs.folder import replace_file
from purejaxrl_gae.runs.interrupts import StopRequests
from purejaxrl_gae.settings.errors import RunError


@pytest.fixture
def path(tmp_path):
    """A file with contents."""
    path = tmp_path / "file"
    path.write_text("old and longer")
    return path


def test_a_file_is_replaced_and_never_written_over(path):
    with path.open() as open_before:
        replace_file(path, "new")
        assert open_before.read() == "old and longer"
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("failing", ["write", "rename"])
def test_a_file_that_cannot_be_replaced_stays_as_it_was(path, monkeypatch, failing):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    def write_half(self, data):
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        fail()

    if failing == "write":
        monkeypatch.setattr(Path, "write_bytes", write_half)
    else:
        monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert path.read_text() == "old and longer"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_request_to_stop_reaches_whoever_would_have_had_the_first(number):
    heard = []
    usual = signal.signal(number, lambda *arguments: heard.append(number))
    try:
        with StopRequests() as stop:
            os.kill(os.getpid(), number)
            assert (stop.signal, heard) == (number, [])
            os.kill(os.getpid(), number)
            assert heard == [number]
    finally:
        signal.signal(number, usual)


def test_the_same_bytes_in_another_shape_have_another_digest(tmp_path, monkeypatch):
    state = {"weights": jnp.arange(6.0).reshape(3, 2)}
    saved = checkpoints.Checkpoints(tmp_path / "checkpoints", 1)
    saved.save(1, state, {})
    digest = checkpoints.digest
    turned = lambda arrays, *rest: digest({"weights": arrays["weights"].reshape(2, 3)}, *rest)  # noqa: E731
    monkeypatch.setattr(checkpoints, "digest", turned)
    with pytest.raises(RunError, match="no checkpoint"):
        saved.restore(state, lambda message: None)
