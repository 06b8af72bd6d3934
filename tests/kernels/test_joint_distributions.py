"""Several actions at once, and masks: against enumeration in float64, SciPy and Hessians."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from purejaxrl_gae.kernels import Bernoulli, Categorical, DiagonalGaussian, Joint, MultiCategorical

SIZES = (2, 4, 3)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def choices(seed=0, states=5):
    return MultiCategorical(normal(seed, states, sum(SIZES)), SIZES)


def bits(seed=0, states=5):
    return Bernoulli(normal(seed, states, 3))


def joint(seed=0, states=5):
    gaussian = DiagonalGaussian(normal(seed, states, 2), 0.3 * normal(seed + 50, states, 2))
    inner = Joint((Categorical(normal(seed + 60, states, 3)), bits(seed + 70, states)))
    return Joint({"move": gaussian, "aim": choices(seed + 80, states), "both": inner})


def masked(seed=0, states=5):
    mask = jnp.asarray(np.random.default_rng(9).random((states, 4)) < 0.6).at[:, 1].set(True)
    return Categorical(normal(seed, states, 4)).masked(mask)


def masked_choices(seed=0, states=5):
    mask = jnp.asarray(np.random.default_rng(8).random((states, sum(SIZES))) < 0.5)
    return choices(seed, states).masked(mask.at[:, jnp.array([0, 3, 8])].set(True))


FINITE = [choices, bits, masked, masked_choices]


def table(distribution, state):
    """`(actions, probabilities)` of everything that a state may do, in float64, from the definition."""
    logits = np.asarray(distribution.logits[state], np.float64)
    if isinstance(distribution, Bernoulli):
        pairs = [np.array([0.0, each]) for each in logits]
    else:
        sizes = getattr(distribution, "sizes", (len(logits),))
        pairs = np.split(logits, np.cumsum(sizes)[:-1])
    parts = [scipy.special.softmax(each) for each in pairs]
    actions = list(itertools.product(*(range(len(part)) for part in parts)))
    return np.array(actions), np.array([np.prod([part[i] for part, i in zip(parts, a, strict=True)]) for a in actions])


def as_actions(distribution, actions):
    return jnp.asarray(actions[:, 0] if isinstance(distribution, Categorical) else actions, jnp.int32)


def repeated(distribution, state, times):
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[state], (times, *leaf.shape[1:])), distribution)


@pytest.mark.parametrize("make", FINITE)
def test_probabilities_entropy_and_kl_are_those_of_enumeration(make):
    p, q = make(0), make(1)
    for state in range(3):
        (actions, ps), (_, qs) = table(p, state), table(q, state)
        found = repeated(p, state, len(actions)).log_prob(as_actions(p, actions))
        np.testing.assert_allclose(np.exp(found), ps, rtol=1e-5, atol=1e-12)
        possible = ps > 0.0
        np.testing.assert_allclose(p.entropy()[state], -np.sum(ps[possible] * np.log(ps[possible])), rtol=1e-5)
        expected = np.sum(ps[possible] * np.log(ps[possible] / qs[possible]))
        np.testing.assert_allclose(p.kl_divergence(q)[state], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", FINITE)
def test_the_mode_is_the_most_probable_action_and_samples_have_their_probabilities(make):
    p = make(3, 1)
    actions, ps = table(p, 0)
    index = {tuple(action): i for i, action in enumerate(actions)}
    drawn = np.asarray(repeated(p, 0, 50_000).sample(jax.random.key(1))).reshape(50_000, -1)
    found = np.bincount([index[tuple(action)] for action in drawn], minlength=len(actions)) / len(drawn)
    np.testing.assert_allclose(found, ps, atol=0.01)
    np.testing.assert_array_equal(np.asarray(p.mode()).reshape(-1), actions[np.argmax(ps)])


@pytest.mark.parametrize("make", [*FINITE, joint])
def test_the_fisher_product_is_the_hessian_of_the_kl_times_the_change(make):
    old, change = make(0), jax.tree.map(lambda leaf: leaf / jnp.maximum(1.0, jnp.abs(leaf)), make(7))
    expected = jax.jvp(jax.grad(lambda new: jnp.sum(old.kl_divergence(new))), (old,), (change,))[1]
    jax.tree.map(
        lambda found, wanted: np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-6),
        old.fisher_product(change),
        expected,
    )


def test_a_joint_is_the_sum_over_its_parts_and_keeps_their_structure():
    p, q = joint(0), joint(1)
    actions = p.sample(jax.random.key(0))
    assert {name: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), part) for name, part in actions.items()} == {
        "move": ((5, 2), "float32"),
        "aim": ((5, 3), "int32"),
        "both": (((5,), "int32"), ((5, 3), "int32")),
    }
    flat = [(p.parts["move"], q.parts["move"], actions["move"]), (p.parts["aim"], q.parts["aim"], actions["aim"])]
    inner = zip(p.parts["both"].parts, q.parts["both"].parts, actions["both"], strict=True)
    flat += list(inner)
    np.testing.assert_allclose(p.log_prob(actions), sum(one.log_prob(own) for one, _, own in flat), rtol=1e-6)
    np.testing.assert_allclose(p.entropy(), sum(one.entropy() for one, _, _ in flat), rtol=1e-6)
    np.testing.assert_allclose(p.kl_divergence(q), sum(one.kl_divergence(other) for one, other, _ in flat), rtol=1e-6)


def test_parts_that_are_alike_draw_different_noise():
    noise = Joint((bits(), bits())).noise(jax.random.key(0), (4,))
    assert noise[0].shape == (4, 5, 3)
    assert not np.any(noise[0] == noise[1])


def test_one_choice_is_a_categorical_bit_for_bit():
    logits, key = normal(0, 6, 5), jax.random.key(2)
    one, plain = MultiCategorical(logits, (5,)), Categorical(logits)
    np.testing.assert_array_equal(one.noise(key), plain.noise(key))
    actions = plain.sample(key)
    np.testing.assert_array_equal(one.sample(key)[:, 0], actions)
    for found, wanted in (
        (one.log_prob(actions[:, None]), plain.log_prob(actions)),
        (one.entropy(), plain.entropy()),
        (one.fisher_product(one).logits, plain.fisher_product(plain).logits),
    ):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("plain", [Categorical(normal(0, 6, 9)), MultiCategorical(normal(0, 6, 9), SIZES)])
def test_a_mask_that_allows_everything_changes_no_bit(plain):
    np.testing.assert_array_equal(plain.masked(jnp.ones((6, 9), bool)).logits, plain.logits)


def test_no_masked_action_is_drawn_in_a_million():
    logits = jnp.array([8.0, -8.0, 0.0, 3.0, 8.0, 0.0])
    drawn = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (1_000_000, 6)), Categorical(logits)).masked(
        jnp.array([False, True, True, False, False, True])
    )
    assert set(np.unique(drawn.sample(jax.random.key(0)))) <= {1, 2, 5}
    several = MultiCategorical(drawn.logits, (3, 3)).sample(jax.random.key(1))
    assert set(np.unique(several[:, 0])) <= {1, 2} and set(np.unique(several[:, 1])) == {2}


@pytest.mark.parametrize("make", [masked, masked_choices])
def test_everything_and_its_gradient_is_finite_behind_a_mask_with_extreme_logits(make):
    def numbers(scale):
        p = jax.tree.map(lambda leaf: jnp.where(leaf > -1e8, leaf * scale, leaf), make(0))
        q, actions = make(1), make(2).mode()
        return jnp.sum(p.entropy() + p.kl_divergence(q) + q.kl_divergence(p) + p.log_prob(actions))

    value, slope = jax.value_and_grad(numbers)(30.0)
    assert np.isfinite(value) and np.isfinite(slope)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(make(0).fisher_product(make(1))))


def test_masks_that_changed_in_between_leave_the_kl_finite():
    p = Categorical(normal(0, 1, 3)).masked(jnp.array([[True, True, False]]))
    q = Categorical(normal(1, 1, 3)).masked(jnp.array([[False, True, True]]))
    assert np.isfinite(p.kl_divergence(q)).all() and p.kl_divergence(q)[0] > 1e6


def test_a_state_without_any_allowed_action_is_not_finite_and_others_are():
    mask = jnp.array([[False, False, False], [True, False, False]])
    np.testing.assert_array_equal(np.isfinite(Categorical(normal(0, 2, 3)).masked(mask).entropy()), [False, True])
    one_choice_without = MultiCategorical(normal(0, 1, 5), (2, 3)).masked(jnp.array([[False, False, True, True, True]]))
    assert not np.isfinite(one_choice_without.log_prob(jnp.array([[0, 0]])))[0]


def test_a_joint_masks_the_parts_that_have_a_mask():
    p = Joint({"a": Categorical(normal(0, 1, 2)), "b": Categorical(normal(1, 1, 2))})
    one_masked = p.masked({"b": jnp.array([[False, True]])})
    np.testing.assert_array_equal(one_masked.parts["a"].logits, p.parts["a"].logits)
    assert one_masked.mode()["b"][0] == 1 and one_masked.parts["b"].entropy()[0] == 0.0
