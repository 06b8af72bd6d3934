"""Options of a run besides training; none of it changes the numbers that are learned."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from purejaxrl_gae.settings import search_space
from purejaxrl_gae.settings.config import INT_COUNTERS, check_types, coerce, require, require_between
from purejaxrl_gae.settings.errors import UserError, shown
from purejaxrl_gae.settings.search_space import MOST_CONFIGURATIONS

MOST_DEVICES, MOST_AGENTS, MOST_EPISODES = 65_536, 1_000_000, 1_000_000
LARGEST_SEED = 2**32 - 1
REPORT_STEPS = 16_384
REPORTS_WANTED = 100  # of long runs
POINTS_WANTED = 50  # of a learning curve
HOST_REPORT_STEPS = 2_048  # of environments on the host, which are slower


@dataclass(frozen=True)
class SharedOptions:
    """What runs and sweeps have in common: where they write, and which devices and processes compute."""

    devices: int = 0
    """devices to divide agents, or one agent's environments, among; 0: all, CPU cores for agents only"""
    coordinator: str | None = None
    """host:port of process 0, where several processes train together; all get the same flags and folder"""
    num_processes: int = 1
    """how many take part"""
    process_id: int = 0
    """which of them this is"""
    run_dir: Path | None = None
    """folder to write; default runs/{env}__{algo}__{seed}__{time}, of a sweep sweeps/{env}__{algo}__{time}"""
    resume: Path | None = None
    """continue what this folder holds, with its own config, to the bits it would have reached uninterrupted"""
    config: Path | None = None
    """YAML file of fields, or the name of a shipped one, as ppo/CartPole-v1 or seeds/ppo_cartpole_lecture; it overrides
    the environment's preset, flags override it"""
    trust: bool = False
    """in this call, import what --config or the folder of --resume names to import, although it is not signed by you"""
    preset: bool = True
    """start from the preset for the environment, where there is one"""
    num_seeds: int = 1
    """agents to train side by side in one program, with seeds seed, seed + 1, …; each is the run of its seed alone, up
    to rounding and not to its bits"""
    eval_episodes: int = 100
    """episodes of an agent's evaluation by the policy's mode, and as many with actions sampled; of a sweep by mode"""
    updates_per_report: int = 0
    """updates between two reports; 0: as many as make about 16,384 environment steps of one agent, or 2,048 where the
    environment runs on the host; in long runs up to four times as many; in short ones fewer, for 50 points in all"""
    progress: bool = True
    """show progress"""
    compilation_cache: bool = True
    """keep compiled programs on disk, so that a second start need not compile"""

    def __post_init__(self) -> None:
        """Takes paths as text too."""
        for name in ("run_dir", "resume", "config", "init_from"):
            if isinstance(value := getattr(self, name, None), str):
                object.__setattr__(self, name, Path(value))

    def validate(self) -> None:
        """Refuses wrong values.

        Raises:
          UserError: names the field, the value and what would be valid.
        """
        check_types(self)
        require_between(self, 0, MOST_DEVICES, "devices")
        require_between(self, 1, MOST_DEVICES, "num_processes")
        require_between(self, 0, self.num_processes - 1, "process_id")
        if self.num_processes > 1 and self.coordinator is None:
            raise UserError(
                f"num_processes is {self.num_processes}, which needs coordinator, as host:port of process 0"
            )
        if self.coordinator is not None:
            host, _, port = self.coordinator.rpartition(":")
            is_port = port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65_535
            require(self, "coordinator", bool(host) and is_port, "host:port, with a port between 1 and 65535")
        if self.coordinator is not None and self.resume is None and self.run_dir is None:
            raise UserError("run_dir is none; several processes need one folder named to all of them")
        require_between(self, 0, INT_COUNTERS, "updates_per_report")
        require_between(self, 1, MOST_AGENTS, "num_seeds")
        require_between(self, 1, MOST_EPISODES, "eval_episodes")

    def seeds_from(self, first: int) -> np.ndarray:
        """Returns the seeds of the agents, `[S]`.

        Raises:
          UserError: the last would be beyond what a random key can be made of, and would be another seed's run.
        """
        last = first + self.num_seeds - 1
        if last > LARGEST_SEED:
            raise UserError(
                f"seed is {first} and num_seeds {self.num_seeds}, so the last agent's seed would be {last}; it must be "
                f"at most {LARGEST_SEED}, that is 2^32 - 1"
            )
        return first + np.arange(self.num_seeds)

    def report_every(self, steps_per_update: int, num_updates: int, report_steps: int = REPORT_STEPS) -> int:
        """Returns the updates of one call of the compiled program, the same however fast it is.

        By default about `report_steps` environment steps, and up to four times as many in runs of many reports; fewer
        in a run so short that its curve would have less than `POINTS_WANTED` points, down to one update.
        """
        usual = max(1, report_steps // steps_per_update)
        shortest = min(usual, max(1, num_updates // POINTS_WANTED))
        return self.updates_per_report or max(shortest, min(num_updates // REPORTS_WANTED, 4 * usual))


def refuse_no_reference(reference: str | None) -> None:
    """Refuses what cannot be MODULE:NAME of a callback, before anything starts.

    Raises:
      UserError: it is not.
    """
    if reference is not None and not all(reference.partition(":")):
        raise UserError(f"callback is {shown(reference)}; it must be MODULE:NAME of a function of a record")


@dataclass(frozen=True)
class RunOptions(SharedOptions):
    """What a run reports, evaluates and saves, and when it stops."""

    goal_score: float | None = None
    """stop once the mean return of the last 100 episodes reaches this, with every seed"""
    eval_freq: int = 0
    """evaluate about every so many environment steps; 0: at the end only"""
    checkpoint_freq: int = 0
    """save the full state about every so many environment steps; 0: every 30 seconds"""
    keep_checkpoints: int = 3
    """newest checkpoints to keep"""
    tensorboard: bool = True
    """write tensorboard events"""
    init_from: Path | None = None
    """start with the weights and normalisers of this run's newest checkpoint, with any other flags of its own"""
    callback: str | None = None
    """MODULE:NAME of a function called with each report, a dict; the run ends, evaluated and saved, once it returns
    True"""

    def saved(self) -> dict[str, Any]:
        """Returns what config.yaml keeps: how the run behaves, and what it started from, not where it lies."""
        values = {name: getattr(self, name) for name in SAVED_OPTIONS}
        return {**values, "init_from": None if self.init_from is None else str(self.init_from.resolve())}

    def validate(self) -> None:
        """See SharedOptions.validate."""
        super().validate()
        refuse_no_reference(self.callback)
        require_between(self, 0, 2**62, "eval_freq", "checkpoint_freq")
        require_between(self, 1, 1_000_000, "keep_checkpoints")


# What a config.yaml keeps of the options.
SAVED_OPTIONS = (
    "num_seeds",
    "goal_score",
    "eval_freq",
    "eval_episodes",
    "updates_per_report",
    "checkpoint_freq",
    "keep_checkpoints",
    "tensorboard",
    "init_from",
    "callback",
)


@dataclass(frozen=True)
class SweepOptions(SharedOptions):
    """What a sweep tries."""

    num_seeds: int = 4
    """agents for each configuration, with seeds seed, seed + 1, …"""
    grid: tuple[str, ...] = ()
    """every combination of these: name=value,value,…"""
    random: tuple[str, ...] = ()
    """a number, then what to draw: 64 learning_rate=log:1e-5:1e-2 gamma=uniform:0.9:0.999 num_envs=int:4:64"""
    optuna_rounds: int = 0
    """draw --random's space by Optuna, in this many rounds of as many configurations each; 0: independent draws"""
    max_agents: int = 0
    """agents to train at once; 0: as many as fit into half the memory"""

    def validate(self) -> None:
        """See SharedOptions.validate."""
        super().validate()
        require_between(self, 0, MOST_CONFIGURATIONS, "optuna_rounds")
        require_between(self, 0, MOST_AGENTS, "max_agents")
        if not self.grid and not self.random:
            raise UserError(
                "grid and random are both empty; name at least one field to sweep, as learning_rate=1e-4,1e-3"
            )
        if self.random and not 1 <= self.draws <= MOST_CONFIGURATIONS:
            raise UserError(
                f"random begins with {shown(self.random[0])}; it must begin with how many configurations to draw, "
                f"a whole number between 1 and {MOST_CONFIGURATIONS}"
            )
        if self.random and len(self.random) == 1:
            raise UserError("random has a number but nothing to draw, as learning_rate=log:1e-5:1e-2")
        if self.number_of_draws() > MOST_CONFIGURATIONS:
            raise UserError(
                f"optuna_rounds is {self.optuna_rounds}, of {self.draws} configurations each; "
                f"a sweep may draw at most {MOST_CONFIGURATIONS}"
            )
        if self.optuna_rounds and (self.grid or not self.random):
            raise UserError("optuna_rounds needs random, which says what to draw and how many a round, and no grid")

    @property
    def draws(self) -> int:
        """Configurations to draw, in one round; 0 where it does not say how many."""
        try:
            return coerce("random", self.random[0], int) if self.random else 0
        except UserError:
            return 0

    def number_of_draws(self) -> int:
        """Counts the configurations drawn in the whole sweep."""
        return self.draws * max(1, self.optuna_rounds)

    def grid_points(self, config_class: type) -> list[dict[str, Any]]:
        """Lists the grid's configurations."""
        dimensions = search_space.read_dimensions(self.grid, config_class, "grid")
        return search_space.grid(dimensions) if dimensions else []

    def random_dimensions(self, config_class: type) -> list[search_space.Dimension]:
        """Lists the dimensions that are drawn from."""
        return search_space.read_dimensions(self.random[1:], config_class, "random")

    def random_points(self, config_class: type, seed: int) -> list[dict[str, Any]]:
        """Draws configurations independently."""
        return search_space.random(self.random_dimensions(config_class), self.draws, seed)


# What a sweep.yaml keeps of them.
SAVED_SWEEP_OPTIONS = (
    "num_seeds",
    "grid",
    "random",
    "optuna_rounds",
    "eval_episodes",
    "updates_per_report",
    "max_agents",
)
