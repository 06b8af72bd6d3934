"""The fields all algorithms share, their checks, and how values reach them: defaults < preset < file < flags."""

import dataclasses
import math
import os
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml

from purejaxrl_gae.errors import UserError, closest

# The fields that say which environment: arguments of `environments.make_environment`.
ENVIRONMENT_FIELDS = ("env", "env_args", "max_episode_steps", "action_repeat", "sticky_actions")
INT_COUNTERS = 2**31 - 1


@dataclass(frozen=True)
class TrainingConfig:
    """What every algorithm's config has; names as in CleanRL.

    Fields that are floats and could be swept are traced (each algorithm's hyperparameters name them); everything else
    is static: it decides shapes and structure, and changing it compiles anew.
    """

    algorithm: ClassVar[str]

    env: Any = "Pendulum-v1"
    """gymnax id, brax:NAME, mjx:NAME of MuJoCo Playground, gymnasium:ID, or MODULE:FACTORY of your own; in Python also
    an object with gymnax's methods, an Environment or a HostEnvironment"""
    env_args: tuple[str, ...] = ()
    """name=value … for the environment's constructor, as backend=spring; of a gymnax id for its parameters"""
    max_episode_steps: int | None = None
    """time limit in place of the environment's own, in steps of the environment"""
    action_repeat: int = 1
    """steps for which each action is applied; rewards add up, and it stops where the episode ends"""
    sticky_actions: float = 0.0
    """probability that the environment repeats its previous action instead of taking the new one"""
    action_bounds: Literal["clip", "scale", "tanh"] = "clip"
    """how real actions get within bounds: clipped; -1 to 1 scaled to them; or squashed by tanh, then scaled"""
    total_timesteps: int = 500_000
    """environment steps to train for, over all environments; rounded up to whole updates"""
    seed: int = 0
    """everything random follows from it"""
    num_envs: int = 16
    """environments stepped side by side"""
    num_steps: int = 128
    """steps in each environment between two updates"""
    time_limit: Literal["bootstrap", "terminal"] = "bootstrap"
    """what a time limit is to the value function: a cut behind which value remains, or an end"""
    stagger_episodes: bool = False
    """cut each environment's first episode at its own random length, so that later ones end at different times"""
    normalize_observations: bool = False
    """shift and scale observations by their running mean and deviation"""
    normalize_rewards: bool = True
    """divide rewards by the running deviation of the discounted return"""
    network: Literal["separate", "shared"] = "separate"
    """one network each for policy and value, or a shared encoder with two heads"""
    encoder: Literal["mlp", "minatar_cnn", "nature_cnn"] = "mlp"
    """what stands before the hidden layers: nothing; one 3x3 convolution, for grids; three of the Nature paper's,
    for pixels, which it scales by 1/255"""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """widths of the hidden layers"""
    activation: Literal["tanh", "relu", "elu", "silu"] = "tanh"
    """of the hidden layers"""
    initialization: Literal["orthogonal", "uniform"] = "orthogonal"
    """weights at the start: orthogonal with a small last layer of the policy, or uniform within 1 / sqrt(inputs)"""
    learn_std: bool = True
    """learn the Gaussian policy's standard deviation, one per action dimension, the same in every state"""
    log_std_init: float = 0.0
    """logarithm of its initial value, or its value for good where it is not learned"""
    on_nonfinite: Literal["halt", "skip"] = "halt"
    """at a loss, parameter, reward or observation that is NaN or infinite: stop, or leave it out and count it"""

    @property
    def steps_per_update(self) -> int:
        """Environment steps of one update."""
        return self.num_envs * self.num_steps

    @property
    def num_updates(self) -> int:
        """Updates of the whole run, rounded up."""
        return -(-self.total_timesteps // self.steps_per_update)

    @property
    def env_steps(self) -> int:
        """Environment steps the whole run really makes."""
        return self.num_updates * self.steps_per_update

    def validate(self) -> None:
        """Refuses wrong values, before anything is compiled.

        Raises:
          UserError: names the field, the value and what would be valid.
        """
        check_types(self)
        for name in ("total_timesteps", "num_envs", "num_steps"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        read_arguments(self.env_args)
        require(self, "max_episode_steps", self.max_episode_steps is None or self.max_episode_steps >= 1, "at least 1")
        require(self, "action_repeat", self.action_repeat >= 1, "at least 1")
        require(self, "sticky_actions", 0.0 <= self.sticky_actions < 1.0, "at least 0 and below 1")
        require(self, "seed", 0 <= self.seed < 2**32, "between 0 and 2^32 - 1")
        require(self, "hidden_sizes", len(self.hidden_sizes) >= 1, "at least one layer")
        require(self, "hidden_sizes", all(size >= 1 for size in self.hidden_sizes), "widths of at least 1")
        if self.encoder == "nature_cnn" and self.normalize_observations:
            raise UserError(
                "normalize_observations is true; with encoder = nature_cnn, which scales pixels, it must be false"
            )
        require(self, "log_std_init", -20.0 <= self.log_std_init <= 10.0, "between -20 and 10")
        if self.steps_per_update >= 2**28:
            raise UserError(
                f"num_envs * num_steps is {self.num_envs} * {self.num_steps} = {self.steps_per_update}; "
                f"one update may hold at most {2**28 - 1} steps"
            )
        if self.num_updates > INT_COUNTERS:
            raise UserError(
                f"total_timesteps is {self.total_timesteps}, {self.num_updates} updates; at most {INT_COUNTERS}"
            )

    def notes(self) -> list[str]:
        """What a user should know of values that are valid but surely surprising."""
        return []


def read_arguments(texts: tuple[str, ...]) -> dict[str, Any]:
    """What `env_args` says: each `name=value` with its value as YAML reads it; lists become tuples.

    Raises:
      UserError: one is not of that form, or a name comes twice.
    """
    arguments: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()):
            raise UserError(f"env_args has {text!r}; it must be name=value, as backend=spring")
        if name in arguments:
            raise UserError(f"env_args has {name} twice; once is enough")
        arguments[name] = _read_value(text, value)
    return arguments


def _read_value(text: str, value: str) -> Any:
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"env_args has {text!r}, whose value is not YAML") from None
    if isinstance(read, str):
        try:
            return float(read)  # PyYAML reads 3e-4 as text
        except ValueError:
            return read
    return tuple(read) if isinstance(read, list) else read


def require(config: Any, name: str, condition: bool, valid: str) -> None:
    """Raises the one-line error for a field whose value is out of range."""
    if not condition:
        raise UserError(f"{name} is {getattr(config, name)}; it must be {valid}")


def require_fraction(config: Any, *names: str) -> None:
    """Each named field lies in [0, 1]."""
    for name in names:
        require(config, name, 0.0 <= getattr(config, name) <= 1.0, "between 0 and 1")


def require_non_negative(config: Any, *names: str) -> None:
    """Each named field is finite and at least 0."""
    for name in names:
        value = getattr(config, name)
        require(config, name, math.isfinite(value) and value >= 0.0, "a finite number, 0 or more")


def check_types(config: Any) -> None:
    """Every field of a config dataclass holds a value of its declared type.

    Raises:
      UserError: the first that does not.
    """
    for name, hint in field_types(type(config)).items():
        try:
            coerced = coerce(name, getattr(config, name), hint)
        except UserError:
            raise
        if isinstance(coerced, float) and not math.isfinite(coerced) and hint is float:
            raise UserError(f"{name} is {coerced}; it must be a finite number")


def field_types(kind: type) -> dict[str, Any]:
    """Names and type hints of a dataclass's fields."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def coerce(name: str, value: Any, hint: Any) -> Any:
    """A value read from YAML as its field's type.

    PyYAML reads `3e-4` as text and `1` as an integer; both are good floats. `1e6` is a good integer.

    Raises:
      UserError: it cannot be read as that type.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        if value not in arguments:
            choices = ", ".join(repr(choice) for choice in arguments)
            raise UserError(
                f"{name} is {value!r}; it must be one of {choices}{closest(str(value), map(str, arguments))}"
            )
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return coerce(name, value, inner)
    if origin is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(coerce(name, item, arguments[0]) for item in value)
        raise UserError(f"{name} is {value!r}; it must be a list of {_plain(arguments[0])}")
    return _coerce_scalar(name, value, hint)


def _coerce_scalar(name: str, value: Any, kind: type) -> Any:
    wrong = UserError(f"{name} is {value!r}; it must be {_plain(kind)}")
    if kind is bool or isinstance(value, bool):
        if kind is bool and isinstance(value, bool):
            return value
        raise wrong
    if kind is str or kind is Path:
        if isinstance(value, (str, Path)):
            return kind(value)
        raise wrong
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise wrong from None
    if kind is float:
        return number
    if not math.isfinite(number) or number != int(number):
        raise wrong
    return value if isinstance(value, int) else int(number)


def _plain(kind: type) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return names.get(kind, str(kind))


def with_values(config: Any, values: dict[str, Any], source: str) -> Any:
    """A config with values from a file.

    Raises:
      UserError: a key is unknown, or a value has the wrong type; `source` is named.
    """
    hints = field_types(type(config))
    coerced = {}
    for name, value in values.items():
        if name not in hints:
            raise UserError(f"{source} has the unknown key {name!r}{closest(str(name), hints)}")
        try:
            coerced[name] = coerce(name, value, hints[name])
        except UserError as error:
            raise UserError(f"{source}: {error}") from None
    return dataclasses.replace(config, **coerced)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping a YAML file holds.

    Raises:
      UserError: there is no such file, or it holds something else.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"config is {str(path)!r}, which cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UserError(f"config is {str(path)!r}, which is not YAML: {problem}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(
            f"config is {str(path)!r}, which holds a {type(values).__name__}; it must hold name: value pairs"
        )
    return values


def to_plain(config: Any) -> dict[str, Any]:
    """A config as what YAML and JSON can hold; `env` objects by name."""
    plain = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "env" and not isinstance(value, str):
            value = str(getattr(value, "name", type(value).__name__))
        plain[field.name] = (
            list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
        )
    return plain


def configs_directory() -> Path:
    """Where the shipped YAML files are: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def file_name(env: str) -> str:
    """An environment's name as part of a file's: `gymnasium:ALE/Pong-v5` as `gymnasium_ALE_Pong-v5`."""
    return env.replace(":", "_").replace("/", "_")


def preset_path(algorithm: str, env: str) -> Path | None:
    """The preset for an environment, or None where there is none."""
    path = configs_directory() / algorithm / f"{file_name(env)}.yaml"
    return path if path.is_file() else None


def with_preset(config: Any) -> Any:
    """A config with the preset of its algorithm and environment laid over it, where there is one."""
    path = preset_path(config.algorithm, config.env) if isinstance(config.env, str) else None
    if path is None:
        return config
    values = {name: value for name, value in read_yaml(path).items() if name not in ("algorithm", "env")}
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
    raise UserError(f"config is {text!r}, which cannot be read: No such file or directory{hint}")
