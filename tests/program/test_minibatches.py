"""Packed minibatches hold what went in; chunked gradients are whole ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae.program import minibatches


class Batch(NamedTuple):
    observations: jax.Array
    actions: jax.Array
    flags: jax.Array
    scalars: jax.Array
    missing: None


def make_batch(size=12):
    rng = np.random.default_rng(0)
    return Batch(
        jnp.asarray(rng.normal(size=(size, 2, 3)), jnp.float32),
        jnp.asarray(rng.integers(-(2**24), 2**24, size), jnp.int32),
        jnp.asarray(rng.random(size) < 0.5),
        jnp.asarray(rng.normal(size=size), jnp.float32),
        None,
    )


def test_rows_come_apart_as_they_were_put_together():
    batch = make_batch()
    rows, unpack = minibatches.pack(batch)
    assert rows.shape == (12, 6 + 1 + 1 + 1)
    indices = jnp.array([3, 3, 0, 11])
    some = unpack(rows[indices])
    for field, original in zip(some[:4], batch[:4], strict=True):
        assert field.dtype == original.dtype
        np.testing.assert_array_equal(field, original[indices])
    assert some.missing is None


def test_time_and_environments_are_flattened_time_first():
    flat = minibatches.flatten_time(jnp.arange(6).reshape(3, 2))
    assert flat.tolist() == [0, 1, 2, 3, 4, 5]


def test_an_epoch_uses_every_sample_once():
    indices = minibatches.shuffled_indices(jax.random.key(0), 2048, 256)
    assert indices.shape == (8, 256)
    np.testing.assert_array_equal(np.sort(indices.reshape(-1)), np.arange(2048))


def test_what_does_not_fill_a_minibatch_is_left_out():
    indices = np.asarray(minibatches.shuffled_indices(jax.random.key(0), 2200, 64))
    assert indices.shape == (34, 64)
    assert len(np.unique(indices)) == 34 * 64


def test_trajectories_are_drawn_whole():
    (indices,) = np.asarray(minibatches.trajectory_indices(jax.random.key(0), 4, 10, 3))
    times, environments = np.divmod(indices, 10)
    assert len(set(environments)) == 3
    for environment in set(environments):
        assert sorted(times[environments == environment]) == [0, 1, 2, 3]


@pytest.mark.parametrize("chunk_size", [0, 2, 3, 4, 5, 12, 100])
def test_chunks_change_only_rounding(chunk_size):
    batch = make_batch()

    def loss(params, minibatch):
        error = minibatch.scalars - params["w"] * minibatch.observations.sum((1, 2))
        return jnp.mean(error**2), {"error": jnp.mean(jnp.abs(error))}

    params = {"w": jnp.float32(0.3)}
    expected_gradient, expected_metrics = jax.grad(loss, has_aux=True)(params, batch)
    gradient, metrics = minibatches.mean_gradient(loss, params, batch, chunk_size)
    np.testing.assert_allclose(gradient["w"], expected_gradient["w"], rtol=1e-5)
    np.testing.assert_allclose(metrics["error"], expected_metrics["error"], rtol=1e-5)
