"""Checkpoints come back bit for bit, or say what is wrong with them."""

import gc
import json
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae.runs.checkpoints import Checkpoints, to_arrays
from purejaxrl_gae.settings.errors import RunError


class State(NamedTuple):
    weights: jax.Array
    nested: dict
    key: jax.Array
    flag: jax.Array


def make_state(seed=0):
    key = jax.random.key(seed)
    return State(
        jax.random.normal(key, (3, 2)), {"count": jnp.int32(seed), "moments": jnp.ones(4)}, key, jnp.array(True)
    )


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints", keep=3)


def never(message):
    raise AssertionError(message)


def assert_same(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, to_arrays(actual), to_arrays(expected))


def test_a_state_comes_back_bit_for_bit(checkpoints):
    checkpoints.save(128, make_state(7), {"run_seconds": 1.5})
    restored = checkpoints.restore(jax.eval_shape(make_state), never)
    assert_same(restored.state, make_state(7))
    assert (restored.step, restored.about["run_seconds"]) == (128, 1.5)
    assert jax.random.uniform(restored.state.key) == jax.random.uniform(make_state(7).key)


def test_only_the_newest_are_kept(checkpoints):
    for step in range(1, 6):
        checkpoints.save(step, make_state(step), {})
    assert checkpoints.steps() == [3, 4, 5]


def test_nothing_saved_is_nothing_restored(checkpoints):
    assert checkpoints.restore(jax.eval_shape(make_state), never) is None


def test_saving_a_step_again_keeps_it(checkpoints):
    checkpoints.save(1, make_state(1), {})
    checkpoints.save(1, make_state(1), {})
    assert_same(checkpoints.restore(jax.eval_shape(make_state), never).state, make_state(1))


def data_files(checkpoints, step):
    files = [
        path for path in (checkpoints.path(step) / "state").rglob("*") if path.is_file() and path.stat().st_size > 50
    ]
    assert files
    return files


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, lambda path: path.unlink()])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(checkpoints, damage):
    checkpoints.save(1, make_state(1), {})
    checkpoints.save(2, make_state(2), {})
    for path in data_files(checkpoints, 2):
        damage(path)
    warnings = []
    restored = Checkpoints(checkpoints.directory, 3).restore(jax.eval_shape(make_state), warnings.append)
    assert restored.step == 1
    assert_same(restored.state, make_state(1))
    assert len(warnings) == 1
    assert str(checkpoints.path(2)) in warnings[0]
    assert "\n" not in warnings[0]


def test_altered_numbers_are_noticed_even_where_the_file_reads_well(checkpoints, monkeypatch):
    checkpoints.save(1, make_state(1), {})
    import purejaxrl_gae.runs.checkpoints as module

    original = module.digest

    def of_others(arrays, about):
        return original({**arrays, "weights": arrays["weights"] + 1}, about)

    monkeypatch.setattr(module, "digest", of_others)
    with pytest.raises(RunError, match="can be used, of \\[1\\]"):
        checkpoints.restore(jax.eval_shape(make_state), lambda message: None)


def about_file(checkpoints, step):
    return checkpoints.path(step) / "state" / "about.json"


def altered(**changes):
    def alter(checkpoints):
        path = about_file(checkpoints, 2)
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return alter


def without_digest(checkpoints):
    about = json.loads(about_file(checkpoints, 2).read_text())
    about_file(checkpoints, 2).write_text(json.dumps({name: about[name] for name in about if name != "digest"}))


@pytest.mark.parametrize(
    "damage, reason",
    [
        (altered(run_seconds=None), "do not match its digest"),
        (altered(run_secondz=1.5), "do not match its digest"),
        (altered(config={"gamma": 0.5}), "do not match its digest"),
        (altered(format=99), "it is of format 99"),
        (altered(step=1), "do not match its digest"),
        (without_digest, "digest"),
        (lambda checkpoints: about_file(checkpoints, 2).write_text("null"), "NoneType"),
        (lambda checkpoints: about_file(checkpoints, 2).write_text("{"), ""),
        (lambda checkpoints: checkpoints.path(2).rename(checkpoints.path(99999)), "taken at step 2"),
    ],
)
def test_all_that_is_stored_beside_the_state_is_inside_the_digest(checkpoints, damage, reason):
    for step in (1, 2):
        checkpoints.save(step, make_state(step), {"run_seconds": 1.5, "config": {"gamma": 0.9}})
    damage(checkpoints)
    warnings = []
    restored = Checkpoints(checkpoints.directory, 3).restore(jax.eval_shape(make_state), warnings.append)
    assert (restored.step, restored.about["run_seconds"]) == (1, 1.5)
    (warning,) = warnings
    assert reason in warning and "\n" not in warning


def test_a_checkpoint_that_could_not_be_used_is_written_anew(checkpoints):
    for step in (1, 2):
        checkpoints.save(step, make_state(step), {})
    without_digest(checkpoints)
    again = Checkpoints(checkpoints.directory, 3)
    assert again.restore(jax.eval_shape(make_state), lambda message: None).step == 1
    again.save(2, make_state(5), {})
    assert_same(Checkpoints(checkpoints.directory, 3).restore(jax.eval_shape(make_state), never).state, make_state(5))


def test_a_save_that_fails_says_why_leaves_nothing_and_does_not_prevent_the_next(checkpoints, capfd, files_of_at_most):
    checkpoints.save(1, make_state(1), {})
    with files_of_at_most(100), pytest.raises(OSError) as error:
        checkpoints.save(2, make_state(2), {})
    assert error.value.strerror == "File too large"
    assert {path.name for path in checkpoints.directory.iterdir()} == {"1"}
    checkpoints.save(3, make_state(3), {})
    assert checkpoints.steps() == [1, 3]
    gc.collect()
    assert capfd.readouterr().err == ""


def test_an_unfinished_save_is_not_seen(checkpoints):
    checkpoints.save(1, make_state(1), {})
    (checkpoints.directory / "2.orbax-checkpoint-tmp").mkdir()
    assert Checkpoints(checkpoints.directory, 3).steps() == [1]


@pytest.mark.parametrize(
    "like, message",
    [
        (
            make_state()._replace(weights=jnp.ones((3, 5))),
            r"weights is stored as float32\[3, 2\].*needs float32\[3, 5\]",
        ),
        (make_state()._replace(flag=jnp.int32(1)), r"flag is stored as bool\[\].*needs int32\[\]"),
        (make_state()._replace(nested={"count": jnp.int32(0)}), "it stores nested.moments"),
        (
            make_state()._replace(nested={**make_state().nested, "more": jnp.ones(1)}),
            "nested.more is stored as nothing",
        ),
    ],
)
def test_a_state_of_another_shape_is_refused_naming_the_first_leaf(checkpoints, like, message):
    checkpoints.save(1, make_state(1), {})
    with pytest.raises(RunError, match=message):
        checkpoints.restore(jax.eval_shape(lambda: like), never)


def test_states_of_the_first_format_are_refused_in_one_line(checkpoints):
    checkpoints.save(10, make_state(), {})
    (checkpoints.path(10) / "state" / "manifest.ocdbt").touch()
    with pytest.raises(RunError, match="are of an earlier version, whose states this one does not read"):
        checkpoints.restore(make_state(), never)


def test_a_disk_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(OSError):
        Checkpoints(tmp_path / "checkpoints", keep=1).save(1, make_state(), {})


def test_restored_states_run_in_compiled_programs_without_retracing(checkpoints):
    step = jax.jit(partial(jax.tree.map, lambda leaf: leaf))
    step(make_state())
    checkpoints.save(1, make_state(), {})
    step(checkpoints.restore(jax.eval_shape(make_state), never).state)
    assert step._cache_size() == 1
