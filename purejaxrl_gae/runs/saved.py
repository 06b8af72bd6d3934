"""Saved runs and agents, read back: config, full state, or weights to start another run from.

A saved agent's folder is a run's with `config.yaml` and one checkpoint, so whatever reads a run reads it too.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import yaml

from purejaxrl_gae.program import algorithms, training
from purejaxrl_gae.program.types import Algorithm, Learner, TrainState
from purejaxrl_gae.runs.checkpoints import Checkpoints, Restored, bytes_of, from_arrays
from purejaxrl_gae.runs.display import Display
from purejaxrl_gae.runs.run_options import SAVED_OPTIONS, RunOptions
from purejaxrl_gae.settings import config, config_files, parts, trust
from purejaxrl_gae.settings.config import TrainingConfig
from purejaxrl_gae.settings.errors import RunError, UserError, shown

CONTENTS = {"config.yaml", "checkpoints"}  # of a saved agent's folder, and nothing else


def saved_run(path: Path, field: str = "run_dir", *, trusted: bool = False) -> tuple[TrainingConfig, RunOptions]:
    """Returns the config and options that a run folder's config.yaml holds; `trusted` as for `config_files.read_yaml`.

    Raises:
      UserError: it is no run folder; `field` is named.
    """
    if not config_files.is_file(path / "config.yaml"):
        raise UserError(f"{field} is {shown(str(path))}, which holds no run: it has no config.yaml")
    values = config_files.read_yaml(path / "config.yaml", trusted=trusted)
    config_class = algorithms.config_class(values.pop("algorithm", None))
    training_values, option_values = split(values, SAVED_OPTIONS)
    source = str(path / "config.yaml")
    training_config = config.with_values(config_class(), training_values, source)
    return training_config, config.with_values(RunOptions(), option_values, source)


def split(values: dict[str, Any], options: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits a file's values into those of the config and those of the options so named."""
    option_values = {name: value for name, value in values.items() if name in options}
    return {name: value for name, value in values.items() if name not in option_values}, option_values


def restore(
    path: Path, field: str = "run_dir", *, trusted: bool = False, own: TrainingConfig | None = None
) -> tuple[Algorithm, Restored, int]:
    """Reads a run's newest readable checkpoint.

    Args:
      path: of the folder of a run, or of a saved agent.
      field: names it in messages.
      trusted: import what the folder names, although it is not signed by the user.
      own: config in place of the folder's, where parts of that are objects without an import name.

    Returns:
      `(algorithm, restored, number of agents)`: the state of several has a leading axis.

    Raises:
      UserError: the folder holds no run or no checkpoint, or its config names what cannot be imported.
      RunError: no checkpoint fits.
    """
    training_config, options = saved_run(path, field, trusted=trusted)
    if own is None:
        _refuse_unnamed(training_config, path, field)
    algorithm = algorithms.make_algorithm(own or training_config)
    checkpoints = Checkpoints(path / "checkpoints", options.keep_checkpoints)
    types = state_types(algorithm, options.num_seeds)
    restored = checkpoints.restore(types, Display(0, enabled=False).complain)
    if restored is None:
        raise UserError(f"{field} is {str(path)!r}, which has no checkpoint yet")
    return algorithm, restored, options.num_seeds


def state_types(algorithm: Algorithm, num_agents: int) -> Any:
    """Returns shapes and types of the state of one agent, or of several with a leading axis."""

    def types(key):
        return training.init_state(algorithm, key, algorithm.hyperparameters)

    if num_agents == 1:
        return jax.eval_shape(types, jax.random.key(0))
    return jax.eval_shape(jax.vmap(types), jax.random.split(jax.random.key(0), num_agents))


def _refuse_unnamed(training_config: TrainingConfig, path: Path, field: str) -> None:
    for name, value in {"env": training_config.env, **config.parts_of(training_config)}.items():
        if isinstance(value, str) and (value.startswith("<") or (name != "env" and "." in value and ":" not in value)):
            raise UserError(
                f"{name} is {shown(value)} in {field} {str(path)!r}, an object without an import name; "
                "hand it in: load(path, config)"
            )


def save(path: Path, training_config: TrainingConfig, state: TrainState) -> None:
    """Writes the folder of a saved agent, or of several; one that was written so before is replaced as a whole.

    Args:
      path: of the folder.
      training_config: of the agent; what in it is an object without an import name is said in one line.
      state: of one agent, or with one leading axis of several; a stack of one is saved as one.

    Raises:
      UserError: the folder holds something else, or cannot be written; or the state has more axes.
    """
    _refuse_other(path)
    state = jax.tree.map(np.asarray, _without_keys(state))
    axes = np.ndim(state.counters.updates)
    if axes > 1:
        raise UserError(f"state has {axes} leading axes; at most one, of several agents, can be saved")
    num_agents = state.counters.updates.size
    if axes and num_agents == 1:
        state = jax.tree.map(lambda leaf: leaf[0], state)
    plain = _named_parts(training_config)
    unnamed = [f"{name} is {value}" for name, value in plain.items() if isinstance(value, str) and value[:1] == "<"]
    if unnamed:
        note = f"note: {', '.join(unnamed)}, without an import name; read it by load({str(path)!r}, config)"
        Display(0, enabled=False).complain(note)
    values = {"algorithm": training_config.algorithm, **plain, "num_seeds": num_agents}
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.mkdir(parents=True)
        text = yaml.safe_dump(trust.signed(values), sort_keys=False, default_flow_style=None)
        (beside / "config.yaml").write_text(text)
        step = int(state.counters.updates.max()) * training_config.steps_per_update
        about = {"config": plain, "run_seconds": 0.0, "evaluation_seconds": 0.0, "compile_seconds": 0.0}
        Checkpoints(beside / "checkpoints", 1).save(step, state, about)
        _put_in_place(beside, path)
    except OSError as error:
        raise UserError(f"path is {str(path)!r}, which cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _without_keys(state: TrainState) -> TrainState:
    """Replaces random keys by their data, as checkpoints store them."""
    return state.replace(world=state.world.replace(key=jax.random.key_data(state.world.key)))


def _named_parts(training_config: TrainingConfig) -> dict[str, Any]:
    """Returns a config as YAML holds it; what has no name, an environment too, in a form unlike anything else."""
    plain = config.to_plain(training_config)
    for name, part in {"env": training_config.env, **config.parts_of(training_config)}.items():
        if not isinstance(part, str):
            plain[name] = parts.import_name(part) or f"<{plain[name]}>"
    return plain


def _refuse_other(path: Path) -> None:
    if not path.exists():
        return
    found = {each.name for each in path.iterdir()} if path.is_dir() else {path.name}
    if found and found != CONTENTS:
        raise UserError(f"path is {str(path)!r}, which holds something else than a saved agent; name another folder")


def _put_in_place(beside: Path, path: Path) -> None:
    """Renames the new folder over the old one, which is gone only once the new one stands."""
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    if path.exists():
        os.replace(path, old)
    os.replace(beside, path)
    shutil.rmtree(old, ignore_errors=True)


def start_from(path: Path, state: TrainState) -> TrainState:
    """Makes a fresh state with another run's newest weights and normalisers; nothing that run names is imported.

    Args:
      path: of the folder of a run, or of a saved agent; of one agent, whose weights all get, or of as many agents.
      state: of one agent, or with a leading axis of several.

    Raises:
      UserError: there is no checkpoint, or it does not fit; the first that differs is named.
    """
    said = f"init_from is {shown(str(path))}"
    checkpoints = Checkpoints(path / "checkpoints", 1)
    if not config_files.is_file(path / "config.yaml"):
        raise UserError(f"{said}, which holds no run: it has no config.yaml")
    try:
        found = checkpoints.newest(bytes_of(state), Display(0, enabled=False).complain)
    except RunError as error:
        raise UserError(f"{said}: {error}") from None
    if found is None:
        raise UserError(f"{said}, which has no checkpoint yet")
    arrays, _, step = found
    theirs, ours = arrays["counters.updates"].shape, state.counters.updates.shape
    if theirs not in ((), ours):
        raise UserError(f"{said}, a run of {theirs[0]} agents; num_seeds must be as many")
    like = _weights_of(state.learner, arrays, one_of_many=ours != theirs)
    names = ("learner.params.", "learner.normalizers.observations")
    if like.learner.normalizers.returns is not None:
        names = (*names, "learner.normalizers.returns")  # type: ignore[assignment]
    wanted = {name: array for name, array in arrays.items() if name.startswith(names)}
    try:
        read = from_arrays(wanted, like, checkpoints.path(step)).learner
    except RunError as error:
        raise UserError(f"{said}: {error}") from None
    if ours != theirs:
        read = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (*ours, *leaf.shape)), read)
    returns = state.learner.normalizers.returns if read.normalizers.returns is None else read.normalizers.returns
    normalizers = read.normalizers.replace(returns=returns)
    return state.replace(learner=state.learner.replace(params=read.params, normalizers=normalizers))


def _weights_of(learner: Learner, arrays: dict[str, np.ndarray], *, one_of_many: bool) -> TrainState:
    """Keeps types of what is taken over: return moments only where both have them."""
    normalizers = learner.normalizers
    if not any(name.startswith("learner.normalizers.returns") for name in arrays):
        normalizers = normalizers.replace(returns=None)
    like = Learner(learner.params, (), (), normalizers)
    if one_of_many:
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), like)
    return TrainState(like, None, None)  # type: ignore[arg-type]
