"""Suites: which tasks are trained by which algorithms, with which settings and seeds, read from benchmarks/suites.

A suite is a YAML file of blocks. Each block is every combination of its `envs`, `algorithms` and `variants`; `settings`
are fields of the config, laid over the preset, then `settings_of` the algorithm, then those of the variant.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

from purejaxrl_gae.program import algorithms
from purejaxrl_gae.settings import safe_yaml
from purejaxrl_gae.settings.config import TrainingConfig, with_values
from purejaxrl_gae.settings.config_files import with_preset
from purejaxrl_gae.settings.errors import UserError, closest, shown

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "suites"
Table = Literal["scores", "normalised", "grid", "paired"]
Score = Literal["eval_mean", "eval_sampled_mean", "train_last100"]


class Key(NamedTuple):
    """One run among all of a suite; `variant` is empty where an algorithm is run in one way only."""

    env: str
    algo: str
    variant: str
    seed: int


@dataclass(frozen=True)
class Configuration:
    """A task, an algorithm and its settings, trained with several seeds.

    Attributes:
      env: as --env takes it.
      algo: the algorithm's module.
      variant: name of the settings among those of the suite; empty where there is one.
      settings: fields of the config that differ from the preset's.
      preset: begin with the preset.
      seeds: to train.
      together: seeds trained in one process, for environments that are pure functions.
    """

    env: str
    algo: str
    variant: str
    settings: dict[str, Any]
    preset: bool
    seeds: tuple[int, ...]
    together: int

    @property
    def keys(self) -> list[Key]:
        """The runs, in the order of their seeds."""
        return [Key(self.env, self.algo, self.variant, seed) for seed in self.seeds]

    @property
    def is_peer(self) -> bool:
        """Says whether another library trains it, with settings of that library's."""
        return self.algo.startswith("sb3_")

    def training_config(self) -> TrainingConfig:
        """Returns what will be trained, checked; not for a peer.

        Raises:
          UserError: a setting is wrong.
        """
        config = with_values(algorithms.config_class(self.algo)(env=self.env), self.settings, self.name)
        config = with_values(with_preset(config), self.settings, self.name) if self.preset else config
        config.validate()
        return config

    @property
    def name(self) -> str:
        """Names it for messages."""
        return f"{self.algo} on {self.env}" + (f", {self.variant}" if self.variant else "")


@dataclass(frozen=True)
class Job:
    """What one process trains: consecutive seeds of one configuration."""

    configuration: Configuration
    seeds: tuple[int, ...]

    @property
    def keys(self) -> list[Key]:
        """Its runs."""
        return [key for key in self.configuration.keys if key.seed in self.seeds]


@dataclass(frozen=True)
class Block:
    """One block of the file, as it stands there.

    Attributes:
      envs: tasks.
      algorithms: modules of the package.
      seeds: how many.
      first_seed: the first of them.
      together: seeds in one process.
      preset: begin with the presets.
      settings: fields of every config.
      settings_of: algorithm -> fields of its configs.
      variants: name -> fields.
      grid: field -> values; each combination is a variant.
    """

    envs: list[str]
    algorithms: list[str]
    seeds: int
    first_seed: int = 0
    together: int = 1
    preset: bool = True
    settings: dict[str, Any] = field(default_factory=dict)
    settings_of: dict[str, dict[str, Any]] = field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    grid: dict[str, list[Any]] = field(default_factory=dict)

    def configurations(self) -> Iterator[Configuration]:
        """Lists every combination, variants innermost."""
        variants = {grid_name(point): point for point in _points(self.grid)} if self.grid else {}
        variants = {**variants, **self.variants} or {"": {}}
        seeds = tuple(range(self.first_seed, self.first_seed + self.seeds))
        for env, algo, (name, changes) in itertools.product(self.envs, self.algorithms, variants.items()):
            settings = {**self.settings, **self.settings_of.get(algo, {}), **(changes or {})}
            yield Configuration(env, algo, name, settings, self.preset, seeds, self.together)


@dataclass(frozen=True)
class Suite:
    """A suite.

    Attributes:
      name: of its file.
      title: above its table and its figures.
      configurations: in the order in which they are trained.
      table: what its table shows.
      score: which of a record's numbers that is.
      random: variant that plays at random, the 0 of normalised scores.
      paper: variant -> the score that the paper has.
      pairs: comparison -> the two variants, second minus first.
      grid: the two fields of a grid, and their values.
      wall: show the median seconds of a run too.
      worst: show the worst seed too.
    """

    name: str
    title: str
    configurations: tuple[Configuration, ...]
    table: Table = "scores"
    score: Score = "eval_mean"
    random: str = ""
    paper: dict[str, float] = field(default_factory=dict)
    pairs: dict[str, list[str]] = field(default_factory=dict)
    grid: dict[str, list[Any]] = field(default_factory=dict)
    wall: bool = False
    worst: bool = False

    @property
    def keys(self) -> list[Key]:
        """All its runs."""
        return [key for configuration in self.configurations for key in configuration.keys]


def grid_name(point: dict[str, Any]) -> str:
    """Returns the variant's name of a point of a grid, as `gae_lambda 0.9, gamma 0.99`."""
    return ", ".join(f"{name} {value:g}" for name, value in point.items())


def _points(grid: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def names() -> list[str]:
    """Lists the suites there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Suite:
    """Reads a suite by its name, or by the path of a file.

    Raises:
      UserError: there is none, or something in it is wrong.
    """
    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise UserError(
            f"suite is {shown(name)}; it must be one of {', '.join(names())}, or a file.yaml{closest(name, names())}"
        )
    try:
        values = safe_yaml.read(path)
    except UserError as error:
        raise UserError(f"suite {path.name} {error}") from None
    return read(path.stem, values)


def read(name: str, values: Any) -> Suite:
    """Makes a suite of a file's values.

    Raises:
      UserError: something in them is wrong; names it.
    """
    blocks = [_made(Block, block, f"suite {name}") for block in _list(values, "blocks", name)]
    rest = {key: value for key, value in values.items() if key != "blocks"}
    configurations = tuple(itertools.chain.from_iterable(block.configurations() for block in blocks))
    grids = [block.grid for block in blocks if block.grid]
    suite = _made(
        Suite, {**rest, "name": name, "configurations": configurations, "grid": next(iter(grids), {})}, f"suite {name}"
    )
    if suite.table not in get_args(Table) or suite.score not in get_args(Score):
        raise UserError(
            f"suite {name} has table {shown(suite.table)} of score {shown(suite.score)}; they must be one of "
            f"{', '.join(get_args(Table))}, and of {', '.join(get_args(Score))}"
        )
    seen: set[Key] = set()
    for configuration in configurations:
        if seen & set(configuration.keys):
            raise UserError(f"suite {name} has {configuration.name} with the same seed twice; once is enough")
        seen |= set(configuration.keys)
    return suite


def _list(values: Any, key: str, name: str) -> list[Any]:
    found = values.get(key) if isinstance(values, dict) else None
    if not isinstance(found, list) or not found:
        raise UserError(f"suite {name} has no {key}; it must have a list of them")
    return found


def _made(kind: type, values: Any, source: str) -> Any:
    """Makes a dataclass of a mapping.

    Raises:
      UserError: it is none, has a key too many or too few, or a value of another kind.
    """
    if not isinstance(values, dict):
        raise UserError(f"{source} has {shown(values)} where name: value pairs must be")
    fields = {each.name: each.type for each in dataclasses.fields(kind)}
    if unknown := [key for key in values if key not in fields]:
        raise UserError(f"{source} has the unknown key {shown(unknown[0])}{closest(str(unknown[0]), fields)}")
    for name, value in values.items():
        wanted = get_origin(fields[name]) or fields[name]
        if isinstance(wanted, type) and not isinstance(value, wanted):
            raise UserError(f"{source} has {name} {shown(value)}; it must be a {wanted.__name__}")
    try:
        return kind(**values)
    except TypeError as error:
        raise UserError(f"{source}: {str(error).partition('() ')[2]}") from None


def jobs(configurations: Sequence[Configuration], finished: set[Key], *, alone: bool = False) -> list[Job]:
    """Divides the runs that have not ended among processes.

    Args:
      configurations: of a suite.
      finished: runs that are not to be made again.
      alone: one seed a process, so that a seed that fails fails alone.
    """
    found = []
    for configuration in configurations:
        most = 1 if alone else configuration.together
        row: list[int] = []
        for key in configuration.keys:
            if key in finished or len(row) == most:
                found += [Job(configuration, tuple(row))] if row else []
                row = []
            if key not in finished:
                row.append(key.seed)
        found += [Job(configuration, tuple(row))] if row else []
    return found
