"""All that a run keeps so that it can go on: its folder, its checkpoints, and how it stops without losing anything."""

import json
import shlex
import signal
import time
from typing import Any, NoReturn

import jax

from purejaxrl_gae.program import algorithms
from purejaxrl_gae.runs import devices, provenance
from purejaxrl_gae.runs.checkpoints import CHECKPOINT_SECONDS, Checkpoints, Restored
from purejaxrl_gae.runs.display import Display
from purejaxrl_gae.runs.programs import agent_of, stack_of_one
from purejaxrl_gae.runs.reports import Clock, versions
from purejaxrl_gae.runs.run_folder import RunFolder
from purejaxrl_gae.runs.run_options import RunOptions
from purejaxrl_gae.settings import config
from purejaxrl_gae.settings.config import TrainingConfig
from purejaxrl_gae.settings.errors import Interrupted, RunError


class Keeping:
    """The checkpoints of one run and what its folder says.

    Args:
      training_config: of the run.
      options: see RunOptions.
      folder: where to write.
      display: what to show.
      clock: the run's seconds, kept with each checkpoint.
      origin: where this process of the run comes from.

    Attributes:
      checkpoints: of the run.
      origin: where the run comes from, over all its processes.
    """

    def __init__(
        self,
        training_config: TrainingConfig,
        options: RunOptions,
        folder: RunFolder,
        display: Display,
        clock: Clock,
        origin: dict[str, Any],
    ):
        self._config, self._options, self._folder, self._display = training_config, options, folder, display
        self._clock, self.origin = clock, origin
        self.checkpoints = Checkpoints(folder.path / "checkpoints", options.keep_checkpoints)
        self._last_checkpoint = time.monotonic()

    @property
    def resume_command(self) -> str:
        """The command that goes on with the run."""
        return f"{algorithms.command_of(self._config.algorithm)} --resume {shlex.quote(str(self._folder.path))}"

    def begin(self) -> None:
        """Makes the folder of a new run.

        Raises:
          UserError: it cannot be made or written, or holds a run already.
        """
        plain = config.to_plain(self._config)
        self._folder.make_for({"algorithm": self._config.algorithm, **plain, **self._options.saved()})

    def restore(self, types: Any) -> Restored | None:
        """Reads the newest checkpoint, and takes its reports and seconds for the run's; None where there is none.

        Raises:
          RunError: none can be used.
        """
        alone = self._options.num_seeds == 1  # the files of one agent have no axis for it
        types = jax.eval_shape(agent_of, types) if alone else types
        restored = self.checkpoints.restore(types, self._display.complain)
        if restored is None:
            self._display.say("no checkpoint had been written yet: starting from the first step")
            self._folder.forget_after(0)
            return None
        self._folder.forget_after(restored.step)
        self._clock.run = restored.about["run_seconds"]
        self._clock.evaluation = restored.about["evaluation_seconds"]
        self._clock.compile += restored.about["compile_seconds"]
        self.origin = provenance.continued(restored.about.get("origin"), self.origin)
        changed = changes(restored.about["config"], json.loads(json.dumps(config.to_plain(self._config))))
        if changed:
            self._display.complain(f"note: from the checkpoint on with {', '.join(changed)}")
        return restored._replace(state=stack_of_one(restored.state)) if alone else restored

    def save(self, saved: Any, updates: int) -> bool:
        """Writes a checkpoint, behind the reports until then; True if it could be written."""
        self._folder.flush()
        about = {
            "config": config.to_plain(self._config),
            "run_seconds": self._clock.run,
            "evaluation_seconds": self._clock.evaluation,
            "compile_seconds": self._clock.compile,
            "versions": versions(),
            "origin": self.origin,
        }
        self._last_checkpoint = time.monotonic()
        step = updates * self._config.steps_per_update
        state = agent_of(saved) if self._options.num_seeds == 1 else saved
        return self._folder.attempt("a checkpoint", lambda: self.checkpoints.save(step, state, about))

    def is_due(self, before: int, updates: int) -> bool:
        """Says whether a checkpoint is to be written between two update counts."""
        if self._options.checkpoint_freq:
            return self._config.crossed(self._options.checkpoint_freq, before, updates)
        return devices.agree(time.monotonic() - self._last_checkpoint >= CHECKPOINT_SECONDS)

    def stop(self, saved: Any, updates: int, received: signal.Signals | None) -> NoReturn:
        """Saves and ends a run that was asked to stop.

        Raises:
          Interrupted: it is saved.
          RunError: it could not be saved.
        """
        number = received or signal.SIGTERM  # where another process got the signal
        step = updates * self._config.steps_per_update
        self._display.stop()
        self._folder.complain_no_more()
        if not self.save(saved, updates):
            raise RunError(f"{number.name}: stopped at step {step:,}, which {self._unsaved()}")
        self._display.say(f"{number.name}: saved at step {step:,}; continue with: {self.resume_command}")
        raise Interrupted(128 + int(number))

    def failed(self, failure: RunError, saved: Any, updates: int) -> RunError:
        """Saves a run whose environment or callback failed, and returns its error."""
        self._display.stop()
        self._folder.complain_no_more()
        if not self.save(saved, updates):
            return RunError(f"{failure}; the training until then {self._unsaved()}")
        step = updates * self._config.steps_per_update
        return RunError(f"{failure}; saved at step {step:,}; continue with: {self.resume_command}")

    def _unsaved(self) -> str:
        steps = self.checkpoints.steps()
        newest = f"step {steps[-1]:,}" if steps else "none"
        return f"could not be saved: {self._folder.missing()} in {self._folder.path}; newest checkpoint: {newest}"


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names each value that was another, as `gamma 0.9 (0.99 until then)`; fields that only one has are left out."""
    return [
        f"{name} {value} ({before[name]} until then)"
        for name, value in now.items()
        if name in before and before[name] != value
    ]
