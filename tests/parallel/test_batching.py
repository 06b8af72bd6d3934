"""What is done once for all agents, and what one agent after another, gives what each agent alone would get."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae.parallel.batching import compute_if_any, one_agent_at_a_time
from purejaxrl_gae.parallel.platform import traced_for


def squares_where(needed, x, scale):
    return compute_if_any(
        needed, lambda x, scale: jnp.where(needed_mask(x), x * x * scale, x), lambda x, scale: x, x, scale
    )


def needed_mask(x):
    return x > 1.0


@pytest.mark.parametrize("depth", [1, 2])
def test_a_branch_agrees_with_each_agent_alone(depth):
    x = jnp.linspace(-1.0, 3.0, 12).reshape((2, 2, 3)[-depth - 1 :] if depth == 2 else (4, 3))
    scale = jnp.float32(2.0)

    def one(x):
        return squares_where(needed_mask(x), x, scale)

    batched = one
    for _ in range(depth):
        batched = jax.vmap(batched)
    np.testing.assert_array_equal(jax.jit(batched)(x), jnp.where(x > 1.0, 2.0 * x * x, x))


def test_a_branch_stays_a_branch_under_vmap():
    """With nothing needed the costly side is not run: it would never end."""

    def never_ends(x):
        return jax.lax.while_loop(lambda x: x < 1e9, lambda x: x * 1.0, x)

    def one(needed, x):
        return compute_if_any(needed, never_ends, lambda x: x, x)

    x = jnp.arange(4.0)
    np.testing.assert_array_equal(jax.jit(jax.vmap(one))(jnp.zeros(4, bool), x), x)


def test_a_branch_takes_along_what_its_functions_close_over():
    def one(x, scale, shift):
        return compute_if_any(needed_mask(x), lambda x: jnp.where(needed_mask(x), x * scale, x), lambda x: x, x) + shift

    x, scale = jnp.linspace(-1.0, 3.0, 12).reshape(4, 3), jnp.arange(4)
    expected = jnp.where(x > 1.0, x * scale[:, None], x)
    together = jax.jit(jax.vmap(one, (0, 0, None)))(x, scale, 0.0)
    np.testing.assert_array_equal(together, expected)
    grid = jax.vmap(jax.vmap(one, (None, 0, None)), (0, None, None))(x, scale, 0.0)
    np.testing.assert_array_equal(grid[jnp.arange(4), jnp.arange(4)], expected)


def test_agents_in_turn_agree_with_each_alone():
    @one_agent_at_a_time
    def function(weights, x, key):
        return {"y": x @ weights + jax.random.normal(key, (3,)), "sum": jnp.sum(x)}

    weights, x = jnp.arange(6.0).reshape(2, 3), jnp.arange(8.0).reshape(4, 2)
    keys = jax.random.split(jax.random.key(0), 4)
    batched = jax.jit(jax.vmap(function, (None, 0, 0)))(weights, x, keys)
    for agent in range(4):
        alone = jax.jit(function)(weights, x[agent], keys[agent])
        np.testing.assert_allclose(batched["y"][agent], alone["y"], rtol=1e-6)
        assert batched["sum"][agent] == alone["sum"]
    grid = jax.jit(jax.vmap(jax.vmap(function, (None, 0, 0)), (0, None, None)))(jnp.stack([weights, -weights]), x, keys)
    np.testing.assert_allclose(grid["y"][0], batched["y"], rtol=1e-6)
    np.testing.assert_array_equal(grid["sum"][1], batched["sum"])


def test_where_branches_are_not_worth_it_agents_are_computed_together():
    def both(flag, x):
        return compute_if_any(flag, lambda x: x * x, lambda x: x, one_agent_at_a_time(lambda x: x + 1.0)(x))

    flags, x = jnp.array([True, False]), jnp.arange(6.0).reshape(2, 3)
    with traced_for("cuda"):
        text = str(jax.make_jaxpr(jax.vmap(jax.vmap(both, (None, 0))))(flags, x))
    assert "cond" not in text and "scan" not in text
    assert "cond" in str(jax.make_jaxpr(jax.vmap(both))(flags, x)) and "scan" in str(
        jax.make_jaxpr(jax.vmap(both))(flags, x)
    )


def test_branches_and_agents_in_turn_are_differentiated():
    """Both ways, alone and vmapped, as the plain function that they compute; keys and whole numbers stand beside."""

    def branching(x, scale, key, count):
        def scaled(key, x, scale, count):
            return jnp.where(needed_mask(x), x * x * scale, x), key, count

        return compute_if_any(
            needed_mask(x), scaled, lambda key, x, scale, count: (x, key, count), key, x, scale, count
        )

    in_turn = one_agent_at_a_time(lambda x, scale, key: jnp.sum(jnp.sin(x) * scale))

    def total(scale, x, key, count):
        return jnp.sum(branching(x, scale, key, count)[0]) + in_turn(x, scale, key)

    def expected(scale, x):
        return jnp.sum(x * x * (x > 1.0)) + jnp.sum(jnp.sin(x))

    x, keys = jnp.linspace(-1.0, 3.0, 12).reshape(4, 3), jax.random.split(jax.random.key(0), 4)
    scale, counts = jnp.float32(2.0), jnp.arange(4)
    for gradient in (jax.grad(total), jax.jacfwd(total)):
        together = jax.vmap(gradient, (None, 0, 0, 0))(scale, x, keys, counts)
        np.testing.assert_allclose(together, jax.vmap(expected, (None, 0))(scale, x), rtol=1e-5)
    summed = jax.grad(lambda scale: jnp.sum(jax.vmap(total, (None, 0, 0, 0))(scale, x, keys, counts)))(scale)
    np.testing.assert_allclose(summed, sum(jax.vmap(expected, (None, 0))(scale, x)), rtol=1e-5)
