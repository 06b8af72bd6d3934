"""python -m purejaxrl_gae.sweep --algo ppo --env CartPole-v1 --grid learning_rate=1e-4,1e-3: many agents at once.

Every configuration is trained with every seed. All that differ in traced values only (learning rates, discounts,
coefficients) are one program, compiled once; others are grouped into as few programs as there are shapes.
"""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

from purejaxrl_gae import cli
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.program.optimizers import refuse_two_schedules
from purejaxrl_gae.runs import streams
from purejaxrl_gae.runs.run_options import SAVED_SWEEP_OPTIONS, SharedOptions, SweepOptions
from purejaxrl_gae.settings import config, config_files, flags, help_page
from purejaxrl_gae.settings.config import TrainingConfig
from purejaxrl_gae.settings.errors import UserError

RESUMABLE_FLAGS = (
    *("resume", "trust", "progress", "compilation_cache"),
    *("devices", "coordinator", "num_processes", "process_id"),
)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What is tried, of which algorithm."""

    algo: str
    """whose config is swept: ppo, trpo, a2c, reinforce or off_policy"""


def parse(arguments: list[str]) -> tuple[TrainingConfig, SweepOptions]:
    """Reads the config that every configuration changes, and the options; or those of the sweep to be resumed.

    Raises:
      UserError: a flag, a file or a value is wrong.
    """
    early = cli.early_flags(arguments)
    if early.resume is not None:
        return _resumed(early.resume, arguments, early.trust)
    file_values = cli.values_of_file(early)
    file_algorithm = file_values.pop("algorithm", "ppo")
    config_class = algorithms.config_class(file_algorithm if early.algo is None else early.algo)
    given = flags.read(arguments, {**_hints(config_class), "algo": str})
    training_values, _ = cli.split(file_values, cli.SAVED_OPTIONS)
    base = cli.base_config(config_class, early, training_values)
    return _with_flags(arguments, base, SweepOptions(), given)


def _resumed(path: Path, arguments: list[str], trusted: bool) -> tuple[TrainingConfig, SweepOptions]:
    from purejaxrl_gae.runs.sweep_results import saved_sweep

    values = saved_sweep(path, trusted)
    config_class = algorithms.config_class(values.pop("algorithm", None))
    given = flags.read(arguments, {**_hints(config_class), "algo": str})
    cli.only_resumable(set(given), RESUMABLE_FLAGS, "a sweep as it was begun")
    values, option_values = cli.split(values, SAVED_SWEEP_OPTIONS)
    source = str(path / "sweep.yaml")
    base = config.with_values(config_class(), values, source)
    options = config.with_values(SweepOptions(), option_values, source)
    return _with_flags(arguments, base, options, given)


def _hints(config_class: type[TrainingConfig]) -> dict[str, Any]:
    return {**config.field_types(config_class), **config.field_types(SweepOptions)}


def _with_flags(
    arguments: list[str], base: TrainingConfig, options: SweepOptions, given: dict[str, Any]
) -> tuple[TrainingConfig, SweepOptions]:
    """Lays the flags over both; shows them instead where help is wanted."""
    if flags.wants_help(arguments):
        own = help_page.algorithm_subject(base)
        sources = [
            help_page.Source(Choice(base.algorithm), "sweep", "sweep", Choice),
            help_page.Source(options, "run", "sweep", SharedOptions),
            help_page.Source(base, "training", own, TrainingConfig),
        ]
        order = ("sweep", "run", "environment", "training", own, "network", "reports", "devices")
        page = help_page.laid_out(sources, order)
        description = (
            "Trains every configuration with every seed, side by side, and ranks them by IQM, then the lower end of "
            "its interval, then the area under the learning curve. Fields of the algorithm's config that are not "
            "swept come from the defaults, the environment's preset, --config and the flags."
        )
        cli.show_help("sweep", type(page), page, description)
    refuse_two_schedules(given)
    return cli.replaced(base, given), cli.replaced(options, given)


def new_sweep_path(base: TrainingConfig, options: SweepOptions) -> Path:
    """Returns the folder of a new sweep: the one asked for, not yet made, or one of a new name, empty.

    Raises:
      UserError: it cannot be made, or holds a sweep already.
    """
    from purejaxrl_gae.runs.folder import refuse_unusable, reserve

    if options.run_dir is not None:
        refuse_unusable(options.run_dir, "sweep.yaml")
        return options.run_dir
    env = config_files.file_name(config.to_plain(base)["env"])
    return reserve(
        Path("sweeps") / f"{env}__{config_files.file_name(base.algorithm)}__{time.strftime('%Y%m%d-%H%M%S')}"
    )


def refuse_wrong_configurations(base: TrainingConfig, options: SweepOptions) -> None:
    """Checks every configuration that is known beforehand, before a folder is made.

    Raises:
      UserError: of the first that is not valid.
    """
    options.random_dimensions(type(base))
    drawn_beforehand = [] if options.optuna_rounds else options.random_points(type(base), base.seed)
    for source, points in (("grid", options.grid_points(type(base))), ("random", drawn_beforehand)):
        for values in points:
            try:
                dataclasses.replace(base, **values).validate()
            except UserError as error:
                raise UserError(f"{source} has a configuration in which {error}") from None


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    arguments = sys.argv[1:] if arguments is None else arguments

    def sweep():
        base, options = parse(arguments)
        options.validate()
        base.validate()
        options.seeds_from(base.seed)
        refuse_wrong_configurations(base, options)
        path = options.resume or options.run_dir
        if options.resume is None and options.process_id == 0:
            path = new_sweep_path(base, options)
        from purejaxrl_gae.runs import sweep_run

        assert path is not None  # options.validate
        sweep_run.run(base, options, path)

    with streams.dispensable():
        cli.run_and_exit(sweep)


if __name__ == "__main__":
    main()
