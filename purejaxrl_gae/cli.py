"""The command line that all algorithms share: flags from the config's fields, one-line errors, exit codes.

Exit codes: 0 done, 1 the run could not be completed, 2 the request was wrong, 128 + signal interrupted and saved.
"""

import argparse
import contextlib
import dataclasses
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from purejaxrl_gae import algorithms, config
from purejaxrl_gae.config import TrainingConfig
from purejaxrl_gae.errors import Interrupted, RunError, UserError, closest
from purejaxrl_gae.host.options import SAVED_OPTIONS, RunOptions

RESUMABLE_FLAGS = (
    *("resume", "goal_score", "progress", "tensorboard", "compilation_cache", "total_timesteps"),
    *("devices", "coordinator", "num_processes", "process_id"),
)


def main(algorithm: str, arguments: list[str] | None = None) -> None:
    """Runs an algorithm from the command line and exits."""
    arguments = sys.argv[1:] if arguments is None else arguments

    def train():
        training_config, options = parse(algorithm, arguments)
        from purejaxrl_gae.host import training_run

        training_run.run(training_config, options)

    run_and_exit(train)


def run_and_exit(action: Callable[[], Any]) -> None:
    """Runs a command and exits with its code, whatever goes wrong in a way it knows of as one line."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's own notes on cached programs are not for users
    try:
        action()
    except UserError as error:
        _fail(error, 2)
    except RunError as error:
        _fail(error, 1)
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(error: Exception, exit_code: int) -> None:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(exit_code)


def parse(algorithm: str, arguments: list[str]) -> tuple[TrainingConfig, RunOptions]:
    """Config and options: defaults < preset < file < flags, or those of the run to be resumed.

    Raises:
      UserError: a flag, a file or a value is wrong.
    """
    config_class = algorithms.config_class(algorithm)
    names = [*config.field_types(config_class), *config.field_types(RunOptions)]
    given = check_flag_names(arguments, names)
    early = early_flags(arguments)
    if early.resume is not None:
        only_resumable(given, RESUMABLE_FLAGS, "a run with its own config")
        training_config, options = _of_run(config_class, Path(early.resume))
        return _parse_flags(algorithm, arguments, training_config, options)
    file_values = {} if early.config is None else config.read_yaml(config.find_file(early.config))
    file_algorithm = file_values.pop("algorithm", algorithm)
    if file_algorithm != algorithm:
        raise UserError(f"config {early.config} is for {file_algorithm}; run python -m purejaxrl_gae.{file_algorithm}")
    training_values, option_values = split(file_values, SAVED_OPTIONS)
    training_config = base_config(config_class, early, training_values)
    options = config.with_values(RunOptions(), option_values, f"config {early.config}")
    return _parse_flags(algorithm, arguments, training_config, options)


def base_config(
    config_class: type[TrainingConfig], early: argparse.Namespace, values: dict[str, Any]
) -> TrainingConfig:
    """Defaults < preset < the values of the file that --config names.

    Raises:
      UserError: a value in the file is wrong.
    """
    base = config_class()
    base = dataclasses.replace(base, env=early.env or values.get("env", base.env))
    if early.preset:
        base = config.with_preset(base)
    return config.with_values(base, values, f"config {early.config}")


def early_flags(arguments: list[str], *more: str) -> argparse.Namespace:
    """The flags that decide where all other values come from; `more` names those of one command."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("env", "config", "resume", *more):
        parser.add_argument(f"--{name}")
    parser.add_argument("--no-preset", dest="preset", action="store_false")
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise UserError(f"{error.argument_name} needs a value") from None


def check_flag_names(arguments: list[str], names: list[str]) -> set[str]:
    """The names of the flags given, with underscores.

    Raises:
      UserError: one is unknown, with the closest that is known.
    """
    given = set()
    for argument in arguments:
        if not argument.startswith("--"):
            continue
        flag = argument[2:].split("=", 1)[0].replace("-", "_")
        name = flag.removeprefix("no_")
        if flag != "help" and flag not in names and name not in names:
            known = [f"--{known.replace('_', '-')}" for known in names]
            raise UserError(f"unknown flag {argument.split('=', 1)[0]}{closest(argument.split('=', 1)[0], known)}")
        given.add(flag if flag in names else name)
    return given


def only_resumable(given: set[str], resumable: tuple[str, ...], what: str) -> None:
    """Refuses a flag that would change what --resume continues.

    Raises:
      UserError: names it.
    """
    changed = sorted(given - set(resumable) - {"help"})
    if changed:
        flag = changed[0].replace("_", "-")
        raise UserError(f"--{flag} cannot be combined with --resume, which continues {what}")


def _of_run(config_class: type[TrainingConfig], path: Path) -> tuple[TrainingConfig, RunOptions]:
    """What a run folder to be resumed says it ran."""
    training_config, options = saved_run(path, field="resume")
    if training_config.algorithm != config_class.algorithm:
        right = training_config.algorithm
        raise UserError(f"resume is {str(path)!r}, a run of {right}; use python -m purejaxrl_gae.{right}")
    return training_config, dataclasses.replace(options, resume=path)


def saved_run(path: Path, field: str = "run_dir") -> tuple[TrainingConfig, RunOptions]:
    """The config and options that a run folder's config.yaml holds.

    Raises:
      UserError: it is no run folder; `field` is named.
    """
    if not (path / "config.yaml").is_file():
        raise UserError(f"{field} is {str(path)!r}, which holds no run: it has no config.yaml")
    values = config.read_yaml(path / "config.yaml")
    config_class = algorithms.config_class(str(values.pop("algorithm", None)))
    training_values, option_values = split(values, SAVED_OPTIONS)
    source = str(path / "config.yaml")
    training_config = config.with_values(config_class(), training_values, source)
    return training_config, config.with_values(RunOptions(), option_values, source)


def split(values: dict[str, Any], options: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file's values as those of the config and those of the options so named."""
    option_values = {name: value for name, value in values.items() if name in options}
    return {name: value for name, value in values.items() if name not in option_values}, option_values


def _parse_flags(
    algorithm: str, arguments: list[str], training_config: TrainingConfig, options: RunOptions
) -> tuple[TrainingConfig, RunOptions]:
    """Lays the flags over both."""
    kinds = [("training", type(training_config)), ("run", RunOptions)]
    both = dataclasses.make_dataclass("Flags", kinds, frozen=True)
    description = (
        "Trains and writes a run folder. Values come from the defaults, the environment's preset, --config and the "
        "flags, each overriding the one before."
    )
    flags = parse_by_tyro(algorithm, both, arguments, both(training_config, options), description)
    return flags.training, flags.run


Options = TypeVar("Options")


def parse_options(module: str, kind: type[Options], arguments: list[str] | None = None) -> Options:
    """The flags of a command whose options are one dataclass; exits with code 2 and one line where one is wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        check_flag_names(arguments, list(config.field_types(kind)))
        return parse_by_tyro(module, kind, arguments, None, None)
    except UserError as error:
        _fail(error, 2)
        raise


def parse_by_tyro(module: str, kind: Any, arguments: list[str], default: Any, description: str | None) -> Any:
    """Parses by tyro, whose framed messages become one line.

    Raises:
      UserError: a value is missing or wrong.
    """
    import tyro

    errors = io.StringIO()
    defaults = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                kind,
                args=arguments,
                prog=f"python -m purejaxrl_gae.{module}",
                description=description,
                config=(tyro.conf.OmitArgPrefixes,),
                **defaults,
            )
    except SystemExit as exit_request:
        if exit_request.code in (0, None):
            raise
        raise UserError(_first_sentence(errors.getvalue())) from None


def _first_sentence(box: str) -> str:
    """What tyro's framed message says, on one line and without the frame."""
    words = []
    for line in box.splitlines()[1:]:
        text = re.sub(r"^[│|]|[│|]$", "", line.strip()).strip()
        if text.startswith(("─", "╰")):
            break
        words.append(text)
    return " ".join(words) or "the flags could not be read; see --help"
