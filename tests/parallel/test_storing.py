"""What a scan stores together is what it would have stored apart."""

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.parallel import storing
from purejaxrl_gae.parallel.platform import traced_for


def step(carry, inputs):
    carry = carry * inputs["scale"] + 0.1
    outputs = {
        "vectors": jnp.stack([carry, -carry], axis=-1),
        "flags": carry > 1.0,
        "number": jnp.sum(carry),
        "counts": jnp.int32(2**30) + jnp.arange(3),
        "bytes": jnp.arange(5, dtype=jnp.uint8),
        "large": jnp.zeros(2**18 + 1) + carry[0],
        "nothing": (),
    }
    return carry, outputs


def arguments():
    return jnp.linspace(0.5, 1.5, 3), {"scale": jnp.linspace(0.9, 1.3, 4)}


def together():
    """A function traced for an accelerator."""

    def scan(*given):
        with traced_for("cuda"):
            return storing.scan(step, *given)

    return scan


def test_outputs_are_those_of_lax_scan_to_the_bit():
    expected, found = jax.lax.scan(step, *arguments()), together()(*arguments())
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), found) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), expected
    )


def test_agents_may_be_vmapped_over_it():
    carry, inputs = arguments()
    carries = jnp.stack([carry, 2 * carry])
    found = jax.vmap(together(), (0, None))(carries, inputs)
    for agent in range(2):
        expected = jax.lax.scan(step, carries[agent], inputs)
        jax.tree.map(
            lambda all_of, own, agent=agent: np.testing.assert_array_equal(all_of[agent], own), found, expected
        )


def test_gradients_pass_through_it():
    def loss(scan, carry):
        return jnp.sum(scan(carry, arguments()[1])[1]["vectors"][:, :, 0] ** 2)

    carry, _ = arguments()
    expected = jax.grad(lambda carry: loss(lambda *given: jax.lax.scan(step, *given), carry))(carry)
    np.testing.assert_allclose(jax.grad(lambda carry: loss(together(), carry))(carry), expected, rtol=1e-6)


def test_small_outputs_of_a_step_are_stored_by_one_write():
    writes = [
        text.count("dynamic_update_slice")
        for text in (
            jax.jit(together()).lower(*arguments()).as_text(),
            jax.jit(lambda *given: jax.lax.scan(step, *given)).lower(*arguments()).as_text(),
        )
    ]
    assert writes == [4, 6]  # bytes, counts and what is large have their own
