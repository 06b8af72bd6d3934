"""A job as a process: `python -m purejaxrl_gae.ALGORITHM … --run-dir`, in a folder of its own.

The folder has the settings, the command, what the process printed, and the run folder. A run that was stopped goes on
from its checkpoint if it is the same command at the same commit and its environment is a pure function, so that it
ends with the bits it would have had; any other begins anew.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.results import children, records
from benchmarks.results.records import Record
from benchmarks.results.suites import ROOT, Job
from purejaxrl_gae.runs import json_lines
from purejaxrl_gae.runs.folder import replace_file
from purejaxrl_gae.settings.config_files import file_name
from purejaxrl_gae.settings.errors import RunError

PATIENCE = 60.0  # seconds in which a process that is asked to stop may save
LONGEST_ERROR = 500
SETTINGS, COMMAND, CHANGED = "settings.yaml", "command.json", " with changes"
PEERS_PYTHON = os.environ.get("SB3_PYTHON", sys.executable)  # of an environment that has stable-baselines3
OURS = ("purejaxrl_gae", "configs", "benchmarks")


def commit() -> str:
    """Returns the commit of the checkout, marked where the code or the presets have been changed since."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=ROOT).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", *OURS)
    return git("rev-parse", "HEAD") + (CHANGED if changed else "")


class RunProcess:
    """A job that has been started.

    Args:
      job: what to train.
      folder: of the job; what it holds of another command is thrown away.
      versions: of the code, for the records.
      cores: that it may compute on; none: all.
    """

    def __init__(self, job: Job, folder: Path, versions: dict[str, Any], cores: set[int]):
        self._job, self._folder, self._versions = job, folder, versions
        command = self._prepared()
        with (folder / "output.txt").open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C and a closed terminal are for the suite, which then asks it to stop
                preexec_fn=children.tied(cores),
            )

    @property
    def _run(self) -> Path:
        return self._folder / "run"

    def poll(self) -> list[Record] | None:
        """Returns the records of its runs once it has ended, well or not."""
        code = self._process.poll()
        if code is None:
            return None
        if code != 0:
            (self._folder / COMMAND).unlink(missing_ok=True)  # another try begins anew
            return records.failed(self._job, self._error(code), self._versions)
        try:
            return records.of_run(self._job, self._run, self._versions)
        except (RunError, OSError, KeyError) as error:
            return records.failed(self._job, str(error), self._versions)

    def stop(self) -> list[Record] | None:
        """Asks it to save and stop, and ends it if it does not; returns records if it had ended well before."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self.poll() if self._process.returncode == 0 else None

    def _prepared(self) -> list[str]:
        """Makes the folder ready and returns the command."""
        begin = command_of(self._job, self._folder)
        told = {"command": begin, "settings": self._job.configuration.settings, **self._versions}
        if self._can_go_on(told):
            module = begin[: begin.index("--env")]
            return [*module, "--resume", str(self._run), "--trust", "--no-progress", "--devices", "1"]
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        (self._folder / SETTINGS).write_text(json.dumps(self._job.configuration.settings))  # which is YAML too
        replace_file(self._folder / COMMAND, json.dumps(told))
        return begin

    def _can_go_on(self, told: dict[str, Any]) -> bool:
        path = self._folder / COMMAND
        is_same = path.exists() and json_lines.parsed(path.read_bytes()) == told and CHANGED not in told["commit"]
        is_pure = not self._job.configuration.env.startswith("gymnasium:")
        return is_same and is_pure and any((self._run / "checkpoints").glob("*"))

    def _error(self, code: int) -> str:
        """Returns the line in which a process said why it failed."""
        lines = (self._folder / "output.txt").read_text(errors="replace").strip().splitlines()
        said = [line for line in lines if line.startswith("error: ")] or lines
        ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        if not said:
            return ended
        line = said[-1].replace(str(self._folder), self._folder.name).replace(str(ROOT), ".")  # no paths of a machine
        return f"{line[:LONGEST_ERROR]} ({ended})"


def command_of(job: Job, folder: Path) -> list[str]:
    """Returns the command that trains a job from the start."""
    configuration = job.configuration
    where = ("--env", configuration.env, "--config", str(folder / SETTINGS), "--run-dir", str(folder / "run"))
    if configuration.is_peer:
        peer = configuration.algo.removeprefix("sb3_")
        return [PEERS_PYTHON, "-m", "benchmarks.results.sb3", *where, "--algo", peer, "--seed", str(job.seeds[0])]
    return [
        *(sys.executable, "-m", f"purejaxrl_gae.{configuration.algo}", *where, "--seed", str(job.seeds[0])),
        *(["--num-seeds", str(len(job.seeds))] if len(job.seeds) > 1 else []),
        *([] if configuration.preset else ["--no-preset"]),
        *("--trust", "--devices", "1", "--no-progress", "--no-tensorboard"),
    ]


def folder_of(job: Job) -> str:
    """Returns a name for a job's folder, of its own among those of a suite."""
    configuration = job.configuration
    parts = (configuration.env, configuration.algo, configuration.variant, f"seed{job.seeds[0]}", f"x{len(job.seeds)}")
    text = "__".join(file_name(part) for part in parts if part)
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in text)
