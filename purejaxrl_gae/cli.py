"""The command line that all algorithms share: flags from the config's fields, one-line errors, exit codes.

Exit codes: 0 done, 1 the run could not be completed, 2 the request was wrong, 128 + signal interrupted and saved.
"""

import argparse
import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from purejaxrl_gae.program import algorithms
from purejaxrl_gae.program.optimizers import refuse_two_schedules
from purejaxrl_gae.runs import streams
from purejaxrl_gae.runs.run_options import SAVED_OPTIONS, RunOptions
from purejaxrl_gae.runs.saved import saved_run, split
from purejaxrl_gae.settings import config, config_files, flags, help_page, trust
from purejaxrl_gae.settings.config import TrainingConfig
from purejaxrl_gae.settings.errors import Interrupted, RunError, UserError

RESUMABLE_FLAGS = (
    *("resume", "trust", "goal_score", "progress", "tensorboard", "compilation_cache", "total_timesteps"),
    *("eval_episodes", "eval_freq", "devices", "coordinator", "num_processes", "process_id", "callback"),
)

EARLY_FLAGS: dict[str, Any] = {
    **{"env": str, "config": Path | None, "resume": Path | None},
    **{"algo": str, "memory": str, "preset": bool, "trust": bool},
}


def main(algorithm: str, arguments: list[str] | None = None) -> None:
    """Runs an algorithm from the command line and exits."""
    arguments = sys.argv[1:] if arguments is None else arguments

    def train():
        training_config, options = parse(algorithm, arguments)
        options.validate()
        training_config.validate()
        from purejaxrl_gae.runs import training_run

        begun_anew = options.preset and options.resume is None
        training_run.run(training_config, options, config_files.preset_name(training_config) if begun_anew else None)

    with streams.dispensable():
        run_and_exit(train)


def run_and_exit(action: Callable[[], Any]) -> None:
    """Runs a command and exits with its code, whatever goes wrong in a way it knows of as one line."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's own notes on cached programs are not for users
    try:
        action()
    except BrokenPipeError:  # whoever reads has seen enough, as of `--help | head`
        streams.forget_unwritable(sys.stdout)
    except UserError as error:
        _fail(error, 2)
    except RunError as error:
        _fail(error, 1)
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def show(result: str) -> None:
    """Prints what a command is for.

    Raises:
      BrokenPipeError: nobody reads on.
      RunError: it cannot be written.
    """
    try:
        print(result, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        streams.forget_unwritable(sys.stdout)
        raise RunError(f"standard output cannot be written: {error.strerror}") from None


def _fail(error: Exception, exit_code: int) -> None:
    with contextlib.suppress(OSError, ValueError):  # the exit code says it where nothing can be shown
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
    sys.exit(exit_code)


def parse(algorithm: str, arguments: list[str]) -> tuple[TrainingConfig, RunOptions]:
    """Reads config and options: defaults < preset < file < flags, or those of the run to be resumed.

    Raises:
      UserError: a flag, a file or a value is wrong.
    """
    config_class = algorithms.config_class(algorithm)
    hints = {**config.field_types(config_class), **config.field_types(RunOptions)}
    given = flags.read(arguments, hints)
    early = early_flags(arguments)
    if early.resume is not None:
        only_resumable(set(given), RESUMABLE_FLAGS, "a run with its own config")
        training_config, options = _of_run(config_class, early.resume, early.trust)
        return _with_flags(algorithm, arguments, training_config, options, given)
    file_values = values_of_file(early)
    file_algorithm = file_values.pop("algorithm", algorithm)
    if file_algorithm != algorithm and algorithms.config_class(file_algorithm) is not config_class:
        raise UserError(f"config {early.config} is for {file_algorithm}; run {algorithms.command_of(file_algorithm)}")
    training_values, option_values = split(file_values, SAVED_OPTIONS)
    training_config = base_config(config_class, early, training_values)
    options = config.with_values(RunOptions(), option_values, f"config {early.config}")
    return _with_flags(algorithm, arguments, training_config, options, given)


def values_of_file(early: argparse.Namespace) -> dict[str, Any]:
    """Returns what the file that --config names holds; --env stands in place of its own.

    Raises:
      UserError: it cannot be read.
    """
    if early.config is None:
        return {}
    values = config_files.read_yaml(config_files.find_file(str(early.config)), trusted=early.trust, has_flag=True)
    return values if early.env is None else {**values, "env": early.env}


def base_config(
    config_class: type[TrainingConfig], early: argparse.Namespace, values: dict[str, Any]
) -> TrainingConfig:
    """Lays the values of the file that --config names over the preset, and that over the defaults.

    Raises:
      UserError: a value in the file is wrong.
    """
    base = config_class()
    chosen = {name: getattr(early, name) or values.get(name, getattr(base, name)) for name in ("env", "memory")}
    base = dataclasses.replace(base, **chosen)
    if early.preset:
        base = config_files.with_preset(base)
    return config.with_values(base, values, f"config {early.config}")


def early_flags(arguments: list[str]) -> argparse.Namespace:
    """Returns the flags that decide where all other values come from."""
    defaults = {**dict.fromkeys(EARLY_FLAGS), "preset": True, "trust": False}
    return argparse.Namespace(**{**defaults, **flags.look_for(arguments, EARLY_FLAGS)})


def only_resumable(given: set[str], resumable: tuple[str, ...], what: str) -> None:
    """Refuses a flag that would change what --resume continues.

    Raises:
      UserError: names it.
    """
    changed = sorted(given - set(resumable))
    if changed:
        flag = changed[0].replace("_", "-")
        raise UserError(f"--{flag} cannot be combined with --resume, which continues {what}")


def _of_run(config_class: type[TrainingConfig], path: Path, trusted: bool) -> tuple[TrainingConfig, RunOptions]:
    """Reads what a run folder to be resumed says it ran."""
    training_config, options = saved_run(path, "resume", trusted=trusted)
    if training_config.algorithm != config_class.algorithm:
        right = training_config.algorithm
        raise UserError(f"resume is {str(path)!r}, a run of {right}; use {algorithms.command_of(right)}")
    return training_config, dataclasses.replace(options, resume=path)


def _with_flags(
    algorithm: str,
    arguments: list[str],
    training_config: TrainingConfig,
    options: RunOptions,
    given: dict[str, Any],
) -> tuple[TrainingConfig, RunOptions]:
    """Lays the flags over both; shows them instead where help is wanted."""
    if flags.wants_help(arguments):
        own = help_page.algorithm_subject(training_config)
        sources = [
            help_page.Source(training_config, "training", own, TrainingConfig),
            help_page.Source(options, "run", "run", RunOptions),
        ]
        page = help_page.laid_out(sources, ("environment", "training", own, "network", "run", "reports", "devices"))
        description = (
            "Trains and writes a run folder. Values come from the defaults, the environment's preset, --config and the "
            "flags, each overriding the one before."
        )
        show_help(algorithm, type(page), page, description)
    refuse_two_schedules(given)
    return replaced(training_config, given), replaced(options, given)


Options = TypeVar("Options")


def replaced(config_or_options: Options, given: dict[str, Any]) -> Options:
    """Returns a dataclass with those of the values given that are its own."""
    own = config.field_types(type(config_or_options))
    return dataclasses.replace(config_or_options, **{name: given[name] for name in given if name in own})  # type: ignore


def parse_options(
    module: str, kind: type[Options], arguments: list[str] | None = None, positional: str | None = None
) -> Options:
    """Returns the flags of a command whose options are one dataclass.

    Args:
      module: of the command.
      kind: the dataclass.
      arguments: of the command line; the process's own where None.
      positional: the field that is given without a flag.

    Raises:
      UserError: a flag is wrong.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    given = flags.read(arguments, config.field_types(kind), positional)
    if flags.wants_help(arguments):
        show_help(module, kind, None, None)
    return kind(**{**({positional: ()} if positional else {}), **given})


def show_help(module: str, kind: Any, default: Any, description: str | None) -> None:
    """Prints the flags with their defaults and exits."""
    import tyro

    tyro.cli(
        kind,
        args=["--help"],
        prog=algorithms.command_of(module),
        description=description,
        config=(tyro.conf.OmitArgPrefixes,),
        **({} if default is None else {"default": _vouched(default)}),
    )


def _vouched(default: Any) -> Any:
    """Reads the same flags as plain texts, the only ones that tyro knows; they are only shown."""
    if not dataclasses.is_dataclass(default) or isinstance(default, type):
        return trust.vouched(default)
    changes = {field.name: _vouched(getattr(default, field.name)) for field in dataclasses.fields(default)}
    return dataclasses.replace(default, **changes)
