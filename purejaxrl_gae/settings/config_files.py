"""YAML files of configs, shipped ones among them, and presets: defaults < preset < file < flags."""

import os
from pathlib import Path
from typing import Any

from purejaxrl_gae.settings import safe_yaml, trust
from purejaxrl_gae.settings.config import with_values
from purejaxrl_gae.settings.errors import UserError, closest, shown

WITH_MEMORY = "+memory"
CHOOSING = ("algorithm", "env", "memory")  # what a preset is found by


def read_yaml(path: Path, *, trusted: bool = False, has_flag: bool = False) -> dict[str, Any]:
    """Returns the mapping that a YAML file holds; what it names to import is foreign, see `trust`.

    Args:
      path: of the file.
      trusted: the user vouches for the file in this call.
      has_flag: what it names could be named on the command line too.

    Raises:
      UserError: there is no such file, or it holds something else.
    """
    try:
        values = safe_yaml.read(path)
    except UserError as error:
        raise UserError(f"config is {shown(str(path))}, which {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        kind = type(values).__name__
        raise UserError(f"config is {shown(str(path))}, which holds a {kind}; it must hold name: value pairs")
    shipped = path.resolve().is_relative_to(configs_directory())
    return trust.of_file(values, shown(str(path)), trusted=trusted or shipped, has_flag=has_flag)


def configs_directory() -> Path:
    """Returns where the shipped YAML files are: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def file_name(env: str) -> str:
    """Turns an environment's name into part of a file's: `gymnasium:ALE/Pong-v5` into `gymnasium_ALE_Pong-v5`."""
    return env.replace(":", "_").replace("/", "_")


def preset_path(config: Any) -> Path | None:
    """Returns the preset for a config's algorithm and environment, or None where there is none.

    For a config with memory that is `ENV+memory`, where there is one. A task of EnvPool that Gymnasium has under the
    same name takes Gymnasium's, where it has none of its own.
    """
    if not isinstance(config.env, str):
        return None
    folder = configs_directory() / config.algorithm
    envs = (config.env, config.env.replace("envpool:", "gymnasium:", 1))
    endings = ("",) if config.memory == "none" else (WITH_MEMORY, "")
    paths = (folder / f"{file_name(env)}{ending}.yaml" for env in envs for ending in endings)
    return next(filter(is_file, paths), None)


def is_file(path: Path) -> bool:
    """Returns whether there is such a file; one whose name is too long, or that may not be seen, is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def preset_name(config: Any) -> str | None:
    """Returns the name of the preset for a config's algorithm and environment, as --config takes it, or None."""
    path = preset_path(config)
    return None if path is None else f"{path.parent.name}/{path.stem}"


def with_preset(config: Any) -> Any:
    """Lays the preset of a config's algorithm and environment over it, where there is one."""
    path = preset_path(config)
    if path is None:
        return config
    values = {name: value for name, value in read_yaml(path).items() if name not in CHOOSING}
    return with_values(config, values, f"preset {path.name}")


def shipped_files() -> dict[str, Path]:
    """Returns the shipped YAML files by name, as `ppo/CartPole-v1` or `seeds/ppo_cartpole_lecture`."""
    return {f"{path.parent.name}/{path.stem}": path for path in sorted(configs_directory().glob("*/*.yaml"))}


def find_file(text: str) -> Path:
    """Returns the file that --config names: a path, or a shipped file's name, which is known in every folder.

    Raises:
      UserError: it is neither, with the shipped name that is closest.
    """
    if os.path.exists(text):
        return Path(text)
    folder, _, rest = text.removeprefix("configs/").removesuffix(".yaml").partition("/")
    name, shipped = f"{folder}/{file_name(rest)}", shipped_files()
    if name in shipped:
        return shipped[name]
    hint = closest(name, shipped)
    raise UserError(f"config is {shown(text)}, which cannot be read: No such file or directory{hint}")
