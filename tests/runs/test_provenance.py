"""Where a run came from, as summary.json says it."""

import subprocess
import sys

import pytest

from purejaxrl_gae.runs import provenance


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of one commit, beside the user's own git settings."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for key in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{key}_NAME", "someone")
        monkeypatch.setenv(f"GIT_{key}_EMAIL", "someone@example.org")
    folder = tmp_path / "repository"
    (folder / "below").mkdir(parents=True)
    (folder / "code.py").write_text("x = 1\n")
    for command in ("init -q", "add code.py", "commit -q -m first"):
        subprocess.run(["git", "-C", folder, *command.split()], check=True)
    return folder


def test_the_commit_and_whether_files_differ_from_it(repository):
    clean = provenance.of_checkout(repository / "below")
    assert len(clean["git_commit"]) == 40 and clean["git_dirty"] is False
    (repository / "notes.txt").write_text("not tracked")
    assert provenance.of_checkout(repository) == clean
    (repository / "code.py").write_text("x = 2\n")
    assert provenance.of_checkout(repository) == {**clean, "git_dirty": True}


def test_the_first_folder_in_a_repository_counts(repository, tmp_path):
    (tmp_path / "outside").mkdir()
    of_package = provenance.of_checkout(tmp_path / "outside", repository)
    assert of_package == provenance.of_checkout(repository)
    nowhere = {"git_commit": None, "git_dirty": None}
    assert provenance.of_checkout(tmp_path / "outside", tmp_path / "missing") == nowhere


@pytest.mark.parametrize("setting", ["core.fsmonitor", "filter.x.clean", "filter.x.process", "filter.x.smudge"])
def test_what_a_repositorys_own_config_names_is_not_run(repository, tmp_path, setting):
    ran = tmp_path / "ran"
    subprocess.run(["git", "-C", repository, "config", setting, f"touch {ran}; cat"], check=True)
    subprocess.run(["git", "-C", repository, "config", "filter.x.required", "true"], check=True)
    (repository / ".git" / "info" / "attributes").write_text("* filter=x\n")
    (repository / "code.py").write_text("x = 3\n")
    assert provenance.of_checkout(repository)["git_dirty"] is True
    assert not ran.exists()


def test_without_git_there_is_no_commit(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.of_checkout(repository) == {"git_commit": None, "git_dirty": None}


def test_the_command_is_what_was_typed_and_can_be_typed_again(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "purejaxrl_gae.ppo", "--run-dir", "my runs/a"])
    found = provenance.of_this_process("ppo/Pendulum-v1")
    assert found["command"] == "python -m purejaxrl_gae.ppo --run-dir 'my runs/a'"
    assert found["preset"] == "ppo/Pendulum-v1"
    assert found["date"][:2] == "20" and len(found["date"]) == len("2026-11-24T10:00:00+0000")
