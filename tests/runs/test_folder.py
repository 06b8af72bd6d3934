"""A folder is made last, written by one process, and costs nothing where it cannot be written."""

import shlex

import pytest

from purejaxrl_gae.runs.folder import Folder, refuse_unusable, rescue, reserve
from purejaxrl_gae.settings.errors import UserError


def full():
    raise OSError(28, "No space left on device")


def test_a_write_that_fails_is_tried_again_and_said_twice(tmp_path):
    said = []
    folder = Folder(tmp_path, said.append)
    assert not folder.attempt("a checkpoint", full)
    assert not folder.attempt("a checkpoint", full)
    assert folder.missing() == "a checkpoint (No space left on device)"
    assert folder.attempt("a checkpoint", lambda: None)
    assert not folder.failing
    assert [line.split(str(tmp_path))[1] for line in said] == [
        " cannot be written (No space left on device); it is tried again later",
        " can be written again",
    ]


def test_at_the_end_all_that_is_missing_is_said_at_once(tmp_path):
    said = []
    folder = Folder(tmp_path, said.append)
    folder.complain_no_more()
    folder.attempt("policy.npz", full)
    folder.attempt("summary.json", full)
    assert not said
    assert folder.missing() == "policy.npz, summary.json (No space left on device)"


def test_a_folder_is_written_by_one_at_a_time(tmp_path):
    first = Folder(tmp_path, print)
    first.lock("resume")
    with pytest.raises(UserError, match=r"resume is '.*', which another process is writing"):
        Folder(tmp_path, print).lock("resume")
    first.close()
    second = Folder(tmp_path, print)
    second.lock("resume")
    second.close()
    assert not list(tmp_path.iterdir())


def test_a_new_folder_is_marked_and_not_taken_twice(tmp_path):
    path = tmp_path / "deep" / "my run"
    folder = Folder(path, print)
    folder.make("config.yaml", "seed: 1")
    folder.close()
    assert (path / "config.yaml").read_text() == "seed: 1"
    for take in (lambda: refuse_unusable(path, "config.yaml"), lambda: Folder(path, print).make("config.yaml", "")):
        with pytest.raises(UserError, match="holds a run already; continue it with --resume") as error:
            take()
        assert shlex.split(str(error.value))[-2:] == ["--resume", str(path)]  # as a shell reads it


@pytest.mark.parametrize(
    "name, reason", [("file/run", "is no folder"), ("x" * 300, "File name too long"), ("\0", "null")]
)
def test_a_folder_that_cannot_be_made_is_refused_beforehand(tmp_path, name, reason):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=reason):
        refuse_unusable(tmp_path / name, "config.yaml")
    with pytest.raises(UserError, match="run_dir is"):
        Folder(tmp_path / name, print).make("config.yaml", "")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_whose_name_the_locale_has_no_letters_for_is_refused_beforehand(tmp_path):
    with pytest.raises(UserError, match="letters of this locale; PYTHONUTF8=1"):  # checkpoints could not be written
        refuse_unusable(tmp_path / "\udce9", "config.yaml")


def test_two_runs_of_one_second_get_two_names_and_leave_none_that_is_empty(tmp_path):
    first, second = reserve(tmp_path / "runs" / "a"), reserve(tmp_path / "runs" / "a")
    assert (first.name, second.name) == ("a", "a-2")
    Folder(second, print, reserved=True).close()
    begun = Folder(first, print, reserved=True)
    begun.make("config.yaml", "")
    begun.close()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["a"]


def test_what_a_folder_does_not_take_goes_to_the_next_place_that_does(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("a file, where nothing can be written")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    refuge = rescue("run", {"policy.npz": b"weights"})
    assert refuge.parent == tmp_path and (refuge / "policy.npz").read_bytes() == b"weights"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "home"))
    assert rescue("run", {"policy.npz": b"weights"}) is None
