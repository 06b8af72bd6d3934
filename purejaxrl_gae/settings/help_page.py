"""The fields of several dataclasses laid out by subject, so that --help can be read."""

import ast
import dataclasses
import inspect
import textwrap
from typing import Annotated, Any, NamedTuple

from purejaxrl_gae.settings import config


class Subject(NamedTuple):
    """One box of --help.

    Attributes:
      about: the line under its title.
      fields: names of the fields in it; empty where a dataclass's own fields are meant.
    """

    about: str
    fields: tuple[str, ...] = ()


ENVIRONMENT = Subject(
    "Where to act, and what the agent sees of it.",
    (
        *config.ENVIRONMENT_FIELDS,
        *("action_bounds", "time_limit", "stagger_episodes", "normalize_observations", "normalize_rewards"),
    ),
)
TRAINING = Subject(
    "How long, and on how much at once.", ("total_timesteps", "seed", "num_envs", "num_steps", "on_nonfinite")
)
NETWORK = Subject(
    "Policy and value function.",
    ("network", "encoder", "hidden_sizes", "activation", "initialization", "learn_std", "log_std_init"),
)
REPORTS = Subject(
    "What is written and shown; none of it changes what is learned.",
    ("eval_freq", "eval_episodes", "updates_per_report", "checkpoint_freq", "keep_checkpoints", "tensorboard")
    + ("progress",),
)
DEVICES = Subject("Where to compute.", ("devices", "coordinator", "num_processes", "process_id", "compilation_cache"))
SHARED_SUBJECTS = {
    "environment": ENVIRONMENT,
    "training": TRAINING,
    "network": NETWORK,
    "reports": REPORTS,
    "devices": DEVICES,
}


class Source(NamedTuple):
    """A dataclass whose fields become flags.

    Attributes:
      values: an instance; its values are the flags' defaults.
      shared: subject of the fields that no subject names.
      own: subject of those of them that its class adds to `base`.
      base: its class, or one from which that derives.
    """

    values: Any
    shared: str
    own: str
    base: type


def laid_out(sources: list[Source], order: tuple[str, ...]) -> Any:
    """Returns one dataclass of dataclasses, a field for each subject, with the sources' values.

    Args:
      sources: what has fields.
      order: of the subjects; others follow.
    """
    groups: dict[str, list[tuple[str, Any, Any]]] = {subject: [] for subject in order}
    for source in sources:
        kind = type(source.values)
        texts = field_texts(kind)
        for name, hint in config.field_types(kind).items():
            flag = _flag(name, hint, texts.get(name, ""), getattr(source.values, name))
            groups.setdefault(_subject(source, name), []).append(flag)
    kinds = {subject: _box(subject, flags, sources) for subject, flags in groups.items() if flags}
    page = dataclasses.make_dataclass("Page", list(kinds.items()), frozen=True)
    return page(*(kind() for kind in kinds.values()))


def algorithm_subject(training_config: config.TrainingConfig) -> str:
    """Returns the title of the box of an algorithm's own fields."""
    name = training_config.algorithm
    return name if name.isidentifier() else "algorithm"


def _subject(source: Source, name: str) -> str:
    """Returns where a field stands in --help."""
    kind = type(source.values)
    for subject, about in SHARED_SUBJECTS.items():
        if name in about.fields:
            return subject
    adds = kind.__mro__[: kind.__mro__.index(source.base)]
    return source.own if any(name in vars(each).get("__annotations__", {}) for each in adds) else source.shared


def _flag(name: str, hint: Any, text: str, value: Any) -> tuple[str, Any, Any]:
    """Describes one field of a box."""
    import tyro

    shown = type(value) if hint is Any else hint
    return name, Annotated[shown, tyro.conf.arg(help=text)], dataclasses.field(default=value)


def _box(subject: str, flags: list[tuple[str, Any, Any]], sources: list[Source]) -> type:
    """Makes a dataclass of one subject's fields; its docstring is the line under the title."""
    owners = [type(source.values).__doc__ or "" for source in sources if source.own == subject]
    about = (
        owners[0].split("\n\n")[0] if owners else SHARED_SUBJECTS[subject].about if subject in SHARED_SUBJECTS else ""
    )
    return dataclasses.make_dataclass(subject, flags, frozen=True, namespace={"__doc__": about})


def field_texts(kind: type) -> dict[str, str]:
    """Returns the text under each field where it is declared, of a dataclass and those it derives from."""
    texts: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        except (OSError, TypeError, SyntaxError):
            continue  # a class without source has no texts
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                texts[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return texts
