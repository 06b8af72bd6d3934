"""What a run does besides training; none of it changes the numbers that are learned."""

from dataclasses import dataclass
from pathlib import Path

from purejaxrl_gae.config import check_types, require


@dataclass(frozen=True)
class RunOptions:
    """Where a run writes, when it reports and when it stops."""

    run_dir: Path | None = None
    """folder to write; default runs/{env}__{algo}__{seed}__{time}"""
    resume: Path | None = None
    """continue the run in this folder, with its own config, to the bits an uninterrupted run would have reached"""
    config: Path | None = None
    """YAML file of fields; it overrides the environment's preset, flags override it"""
    preset: bool = True
    """start from the preset for the environment, where there is one"""
    goal_score: float | None = None
    """stop once the mean return of the last 100 episodes reaches this"""
    eval_freq: int = 0
    """evaluate about every so many environment steps; 0: at the end only"""
    eval_episodes: int = 100
    """episodes of an evaluation, with the deterministic policy"""
    updates_per_report: int = 0
    """updates between two reports; 0: as many as make about 16,384 environment steps"""
    checkpoint_freq: int = 0
    """save the full state about every so many environment steps; 0: every 30 seconds"""
    keep_checkpoints: int = 3
    """newest checkpoints to keep"""
    tensorboard: bool = True
    """write tensorboard events"""
    progress: bool = True
    """show progress"""
    compilation_cache: bool = True
    """keep compiled programs on disk, so that a second start need not compile"""

    def validate(self) -> None:
        """Refuses wrong values.

        Raises:
          UserError: names the field, the value and what would be valid.
        """
        check_types(self)
        for name in ("eval_freq", "updates_per_report", "checkpoint_freq"):
            require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("eval_episodes", "keep_checkpoints"):
            require(self, name, getattr(self, name) >= 1, "at least 1")

    def report_every(self, steps_per_update: int) -> int:
        """Updates of one call of the compiled program."""
        return self.updates_per_report or max(1, 16_384 // steps_per_update)


# What a config.yaml keeps of the options: how the run behaves, not where it lies.
SAVED_OPTIONS = (
    "goal_score",
    "eval_freq",
    "eval_episodes",
    "updates_per_report",
    "checkpoint_freq",
    "keep_checkpoints",
    "tensorboard",
)
