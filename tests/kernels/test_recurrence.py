"""Recurrences that begin anew with an episode, against loops in float64."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import kernels

STEPS, COPIES, SIZE = 23, 3, 5


def drawn(seed, steps=STEPS, complex_numbers=False):
    rng = np.random.default_rng(seed)
    shape = (steps, COPIES, SIZE)
    inputs, initial = rng.normal(size=shape), rng.normal(size=shape[1:])
    decays = rng.uniform(0.5, 1.0, SIZE)
    if complex_numbers:
        decays = decays * np.exp(1j * rng.uniform(0.0, 3.0, SIZE))
        inputs, initial = inputs + 1j * rng.normal(size=shape), initial + 1j * rng.normal(size=shape[1:])
    return decays, inputs, rng.random(shape[:2]) < 0.2, initial


def looped(decays, inputs, starts, x):
    outputs = []
    for inputs_t, starts_t in zip(inputs, starts, strict=True):
        x = decays * np.where(starts_t[:, None], 0.0, x) + inputs_t
        outputs.append(x)
    return np.stack(outputs)


@pytest.mark.parametrize("steps", [1, 2, STEPS])
@pytest.mark.parametrize("complex_numbers", [False, True])
def test_the_associative_scan_is_the_loop_with_resets(steps, complex_numbers):
    arguments = drawn(0, steps, complex_numbers)
    with jax.enable_x64(True):
        found = kernels.linear_recurrence(*map(jnp.asarray, arguments))
        assert found.dtype == (np.complex128 if complex_numbers else np.float64)
    np.testing.assert_allclose(found, looped(*arguments), rtol=1e-12, atol=1e-12)


def test_nothing_leaks_from_one_episode_into_the_next():
    decays, inputs, starts, initial = map(jnp.asarray, drawn(1))
    starts = starts.at[7].set(True)

    def late(inputs, initial):
        return jnp.sum(kernels.linear_recurrence(decays, inputs, starts, initial)[7:] ** 2)

    of_inputs, of_initial = jax.grad(late, (0, 1))(inputs, initial)
    assert not np.any(of_inputs[:7]) and not np.any(of_initial) and np.all(np.any(of_inputs[7:], axis=(1, 2)))


@pytest.mark.parametrize("where", [0, 5, STEPS - 1])
def test_a_stretch_continues_where_the_last_one_stopped(where):
    decays, inputs, starts, initial = map(jnp.asarray, drawn(2))
    whole = kernels.linear_recurrence(decays, inputs, starts, initial)
    rest = kernels.linear_recurrence(decays, inputs[where:], starts[where:], whole[where - 1] if where else initial)
    np.testing.assert_allclose(rest, whole[where:], rtol=1e-5, atol=1e-5)


def flax_gru(params):
    ir, iz, in_ = np.split(params["kernel_inputs"], 3, axis=1)
    br, bz, bn = np.split(params["bias"], 3)
    hr, hz, hn = np.split(params["kernel_hidden"], 3, axis=1)
    gates = {
        "ir": (ir, br),
        "iz": (iz, bz),
        "in": (in_, bn),
        "hr": (hr,),
        "hz": (hz,),
        "hn": (hn, params["bias_hidden"]),
    }
    return {name: dict(zip(("kernel", "bias"), each, strict=False)) for name, each in gates.items()}


def flax_lstm(params):
    names = ("i", "f", "g", "o")
    into, hidden = np.split(params["kernel_inputs"], 4, axis=1), np.split(params["kernel_hidden"], 4, axis=1)
    gates = {f"i{name}": {"kernel": each} for name, each in zip(names, into, strict=True)}
    biases = np.split(params["bias"], 4)
    return gates | {
        f"h{name}": {"kernel": each, "bias": bias} for name, each, bias in zip(names, hidden, biases, strict=True)
    }


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_gates_are_flaxs(kind):
    rng = np.random.default_rng(3)
    gates = 3 if kind == "gru" else 4
    shapes = {"kernel_inputs": (4, gates * SIZE), "kernel_hidden": (SIZE, gates * SIZE), "bias": (gates * SIZE,)}
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    params["bias_hidden"] = rng.normal(size=SIZE).astype(np.float32)
    x, hidden, cell = (rng.normal(size=(COPIES, size)).astype(np.float32) for size in (4, SIZE, SIZE))
    projected = x @ params["kernel_inputs"] + params["bias"]
    if kind == "gru":
        found = kernels.gru_step(hidden, projected, params["kernel_hidden"], params["bias_hidden"])
        expected = nn.GRUCell(SIZE).apply({"params": flax_gru(params)}, hidden, x)[0]
    else:
        found = kernels.lstm_step((cell, hidden), projected, params["kernel_hidden"])
        expected = nn.LSTMCell(SIZE).apply({"params": flax_lstm(params)}, (cell, hidden), x)[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)


def test_a_memory_is_forgotten_before_the_step_at_which_an_episode_begins():
    starts = jnp.zeros((4, 2), bool).at[2, 1].set(True)
    memories, last = kernels.recur(lambda sums, inputs: sums + inputs, jnp.ones((4, 2, 1)), starts, jnp.ones((2, 1)))
    np.testing.assert_array_equal(memories[..., 0], [[2, 2], [3, 3], [4, 1], [5, 2]])
    np.testing.assert_array_equal(last, memories[-1])
