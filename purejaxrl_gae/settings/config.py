"""The fields all algorithms share, their checks, and configs as plain values and back."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from purejaxrl_gae.settings import parts, safe_yaml
from purejaxrl_gae.settings.errors import UserError, closest, shown
from purejaxrl_gae.settings.fields import MOST_LOOPS as MOST_LOOPS
from purejaxrl_gae.settings.fields import RENAMED
from purejaxrl_gae.settings.fields import Traced as Traced
from purejaxrl_gae.settings.fields import check_types as check_types
from purejaxrl_gae.settings.fields import coerce as coerce
from purejaxrl_gae.settings.fields import field_types as field_types
from purejaxrl_gae.settings.fields import require as require
from purejaxrl_gae.settings.fields import require_between as require_between
from purejaxrl_gae.settings.fields import require_fraction as require_fraction
from purejaxrl_gae.settings.fields import require_name as require_name
from purejaxrl_gae.settings.fields import require_non_negative as require_non_negative
from purejaxrl_gae.settings.fields import require_part as require_part
from purejaxrl_gae.settings.fields import traced_fields as traced_fields
from purejaxrl_gae.settings.search_space import read_ranges

ActionBounds = Literal["clip", "scale", "tanh"]
Encoder = Literal["mlp", "minatar_cnn", "nature_cnn"]
Activation = Literal["tanh", "relu", "elu", "silu"]
Initialization = Literal["orthogonal", "uniform"]
Memory = Literal["none", "gru", "lstm", "lru"]
# The fields that say which environment: arguments of `environments.make_environment`.
ENVIRONMENT_FIELDS = (
    *("env", "env_args", "randomize", "max_episode_steps", "action_repeat", "sticky_actions", "observe"),
    *("frame_stack", "env_workers"),
)
INT_COUNTERS = 2**31 - 1
MOST_STEPS_PER_UPDATE = 2**28 - 1
LONGEST_TIME_LIMIT = 10**9  # with room for one more in int32
WIDEST_LAYER, MOST_LAYERS = 65_536, 100
MOST_FRAMES = MOST_WORKERS = 1024


@dataclass(frozen=True)
class TrainingConfig:
    """The fields of every algorithm's config; names as in CleanRL.

    Fields that are floats and could be swept are `Traced`; everything else is static: it decides shapes and structure,
    and changing it compiles anew.
    """

    algorithm: ClassVar[str]

    env: Any = "Pendulum-v1"
    """gymnax id, brax:NAME, mjx:NAME of MuJoCo Playground, jumanji:NAME, pgx:NAME, craftax:NAME, navix:NAME,
    gymnasium:ID, envpool:ID, or MODULE:FACTORY of your own; in Python also an object with gymnax's methods, an
    Environment or a HostEnvironment"""
    env_args: tuple[str, ...] = ()
    """name=value … for the environment's constructor, as backend=spring; of a gymnax id for its parameters"""
    randomize: tuple[str, ...] = ()
    """name=uniform:low:high …, or log: or int:, for parameters of a gymnax environment that each copy draws anew for
    every episode"""
    max_episode_steps: int | None = None
    """time limit in place of the environment's own, in steps of the environment"""
    action_repeat: int = 1
    """steps for which each action is applied; rewards add up, and it stops where the episode ends"""
    sticky_actions: float = 0.0
    """probability that the environment repeats its previous action instead of taking the new one"""
    observe: tuple[int, ...] = ()
    """numbers of the observation to keep, counted from 0: 0 2 hides CartPole's velocities; none: all"""
    frame_stack: int = 1
    """observations shown at once, the last so many side by side on their last axis; 1: the newest alone"""
    env_workers: int = 0
    """processes that step copies of a Gymnasium environment, which do the same as in this one; 0: this one"""
    action_bounds: ActionBounds = "clip"
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
    """divide rewards by the running deviation of the discounted return; values and their losses are in those units, and
    purejaxrl_gae.make_value_function gives them in rewards too"""
    network: Any = "separate"
    """separate: one network each for policy and value; shared: one trunk with two heads; MODULE:FACTORY of your own,
    from observations, actions and config to a network; in Python also the factory or the network"""
    encoder: Encoder = "mlp"
    """what stands before the hidden layers: nothing; one 3x3 convolution, for grids; three of the Nature paper's,
    for pixels, which it scales by 1/255"""
    policy_observations: tuple[str, ...] = ()
    """leaves that the policy sees, where observations are a dictionary or tuple of arrays; all but the action mask, if
    none is named"""
    value_observations: tuple[str, ...] = ()
    """leaves that the value function sees, more than the policy perhaps; all but the action mask, if none is named"""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """widths of the hidden layers"""
    memory: Memory = "none"
    """what the networks remember of an episode: nothing; or by a cell behind the hidden layers, a gated recurrent unit,
    long short-term memory, or a linear recurrent unit, which learns of all steps of a rollout at once"""
    memory_size: int = 64
    """units of the memory cell"""
    activation: Activation = "tanh"
    """of the hidden layers"""
    initialization: Initialization = "orthogonal"
    """weights at the start: orthogonal with a small last layer of the policy, or uniform within 1 / sqrt(inputs)"""
    learn_std: bool = True
    """learn the Gaussian policy's standard deviation, one per action dimension, the same in every state"""
    log_std_init: float = 0.0
    """logarithm of its initial value, or its value for good where it is not learned"""
    matmul_precision: Literal["default", "tensorfloat32", "float32"] = "default"
    """of the value function's matrix products on a GPU or TPU, by JAX's names; those behind likelihood ratios, KL
    divergences and curvature are always in float32"""
    adam_eps: Traced = 1e-5
    """epsilon of every Adam, added to the root of its second moment; PyTorch's default is 1e-8"""
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

    def crossed(self, frequency: int, before: int, updates: int) -> bool:
        """Says whether a multiple of `frequency` environment steps lies between two update counts."""
        each = self.steps_per_update
        return frequency > 0 and before * each // frequency != updates * each // frequency

    def validate(self) -> None:
        """Refuses wrong values, before anything is compiled.

        Raises:
          UserError: names the field, the value and what would be valid.
        """
        check_types(self)
        require_name(self, "env")
        require_part(self, "network", ("separate", "shared"))
        require_between(self, 1, 2**62, "total_timesteps")
        require_between(self, 1, MOST_STEPS_PER_UPDATE, "num_envs", "num_steps")
        read_arguments(self.env_args)
        read_ranges(self.randomize, "randomize")
        require(
            self, "observe", _are_different(self.observe) and min(self.observe, default=0) >= 0, "different, from 0"
        )
        for name in ("policy_observations", "value_observations"):
            leaves = getattr(self, name)
            require(self, name, _are_different(leaves) and all(leaves), "different names of leaves")
        require_between(self, 1, LONGEST_TIME_LIMIT, "max_episode_steps")
        require_between(self, 1, MOST_LOOPS, "action_repeat")
        require_between(self, 1, MOST_FRAMES, "frame_stack")
        require_between(self, 0, MOST_WORKERS, "env_workers")
        require(self, "sticky_actions", 0.0 <= self.sticky_actions < 1.0, "at least 0 and below 1")
        require_between(self, 0, 2**32 - 1, "seed")
        require(self, "hidden_sizes", 1 <= len(self.hidden_sizes) <= MOST_LAYERS, f"1 to {MOST_LAYERS} layers")
        in_range = all(1 <= size <= WIDEST_LAYER for size in self.hidden_sizes)
        require(self, "hidden_sizes", in_range, f"widths between 1 and {WIDEST_LAYER}")
        require_between(self, 1, WIDEST_LAYER, "memory_size")
        if self.encoder == "nature_cnn" and self.normalize_observations:
            raise UserError(
                "normalize_observations is true; with encoder = nature_cnn, which scales pixels, it must be false"
            )
        require(self, "adam_eps", self.adam_eps > 0.0, "greater than 0")
        require(self, "log_std_init", -20.0 <= self.log_std_init <= 10.0, "between -20 and 10")
        if self.steps_per_update > MOST_STEPS_PER_UPDATE:
            raise UserError(
                f"num_envs * num_steps is {self.num_envs} * {self.num_steps} = {self.steps_per_update}; "
                f"one update may hold at most {MOST_STEPS_PER_UPDATE} steps"
            )
        if self.num_updates > INT_COUNTERS:
            raise UserError(
                f"total_timesteps is {self.total_timesteps}, {self.num_updates} updates; at most {INT_COUNTERS}"
            )

    def notes(self) -> list[str]:
        """Returns what a user should know of values that are valid but surely surprising."""
        return []


def _are_different(values: tuple[Any, ...]) -> bool:
    return len(set(values)) == len(values)


def read_arguments(texts: tuple[str, ...]) -> dict[str, Any]:
    """Returns what `env_args` says: each `name=value` with its value as YAML reads it; lists become tuples.

    Raises:
      UserError: one is not of that form, or a name comes twice.
    """
    arguments: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()):
            raise UserError(f"env_args has {shown(text)}; it must be name=value, as backend=spring")
        if name in arguments:
            raise UserError(f"env_args has {shown(name)} twice; once is enough")
        try:
            read = safe_yaml.load(value)
        except UserError as error:
            raise UserError(f"env_args has {shown(text)}, whose value {error}") from None
        arguments[name] = tuple(read) if isinstance(read, list) else read
    return arguments


def with_values(config: Any, values: dict[str, Any], source: str) -> Any:
    """Replaces values of a config by those of a file.

    Raises:
      UserError: a key is unknown, or a value has the wrong type; `source` is named.
    """
    hints = field_types(type(config))
    coerced = {}
    for given, value in values.items():
        name = given if given in hints else RENAMED.get(given, given)
        if name not in hints:
            hint = closest(name, hints) if isinstance(name, str) else ""
            raise UserError(f"{source} has the unknown key {shown(name)}{hint}")
        try:
            coerced[name] = coerce(name, value, str if hints[name] is Any else hints[name])
        except UserError as error:
            raise UserError(f"{source}: {error}") from None
    return dataclasses.replace(config, **coerced)


def to_plain(config: Any) -> dict[str, Any]:
    """Returns a config as what YAML and JSON can hold: an `env` object by its name, every other part by `name_of`."""
    plain, handed_in = {}, parts_of(config)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "env" and not isinstance(value, str):
            value = str(getattr(value, "name", type(value).__name__))
        elif field.name in handed_in:
            value = parts.name_of(value)
        plain[field.name] = (
            list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
        )
    return plain


def parts_of(config: Any) -> dict[str, Any]:
    """Returns the parts but `env` that a config names or holds: its fields that may be any object."""
    hints = field_types(type(config))
    return {name: getattr(config, name) for name, hint in hints.items() if hint is Any and name != "env"}
