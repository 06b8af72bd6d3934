"""What a run does besides training; none of it changes the numbers that are learned."""

from dataclasses import dataclass
from pathlib import Path

from purejaxrl_gae.config import check_types, require
from purejaxrl_gae.errors import UserError


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
    """stop once the mean return of the last 100 episodes reaches this, with every seed"""
    num_seeds: int = 1
    """agents to train side by side in one program, with seeds seed, seed + 1, …"""
    devices: int = 0
    """devices to divide agents, or the environments of one agent, among; 0: all, CPU cores for agents only"""
    coordinator: str | None = None
    """host:port of process 0, where several processes train together; all get the same flags and folder"""
    num_processes: int = 1
    """how many take part"""
    process_id: int = 0
    """which of them this is"""
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
        require(self, "devices", self.devices >= 0, "at least 0")
        require(self, "process_id", 0 <= self.process_id < self.num_processes, "below num_processes, at least 0")
        if self.num_processes > 1 and self.coordinator is None:
            raise UserError(f"num_processes is {self.num_processes}, which needs coordinator, as host:port of process 0")
        if self.coordinator is not None and ":" not in self.coordinator:
            raise UserError(f"coordinator is {self.coordinator!r}; it must be host:port")
        if self.coordinator is not None and self.resume is None and self.run_dir is None:
            raise UserError("run_dir is none; several processes need one folder named to all of them")
        for name in ("eval_episodes", "keep_checkpoints", "num_seeds", "num_processes"):
            require(self, name, getattr(self, name) >= 1, "at least 1")

    def report_every(self, steps_per_update: int) -> int:
        """Updates of one call of the compiled program."""
        return self.updates_per_report or max(1, 16_384 // steps_per_update)


# What a config.yaml keeps of the options: how the run behaves, not where it lies.
SAVED_OPTIONS = (
    "num_seeds",
    "goal_score",
    "eval_freq",
    "eval_episodes",
    "updates_per_report",
    "checkpoint_freq",
    "keep_checkpoints",
    "tensorboard",
)
