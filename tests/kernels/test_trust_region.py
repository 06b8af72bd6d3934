"""Natural gradients: what well-known implementations get wrong."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import kernels
from purejaxrl_gae.kernels import Categorical, DiagonalGaussian

OBSERVATIONS = jnp.asarray(np.random.default_rng(0).normal(size=(40, 3)), jnp.float32)


def make_params(num_outputs, seed=0):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape) * 0.5, jnp.float32)  # noqa: E731
    return {"w1": draw(3, 4), "w2": draw(4, num_outputs), "log_std": draw(num_outputs)}


def gaussian(params, observations):
    mean = jnp.tanh(observations @ params["w1"]) @ params["w2"]
    return DiagonalGaussian(mean, jnp.broadcast_to(params["log_std"], mean.shape))


def fixed_std(params, observations):
    return DiagonalGaussian(gaussian(params, observations).mean, jnp.zeros((observations.shape[0], 2)))


def categorical(params, observations):
    return Categorical(gaussian(params, observations).mean)


POLICIES = [pytest.param(policy, id=policy.__name__) for policy in (gaussian, fixed_std, categorical)]


def dense(matvec, params):
    """The matrix of a product, column by column."""
    flat, unravel = ravel_pytree(params)
    columns = jax.vmap(lambda v: ravel_pytree(matvec(unravel(v)))[0])(jnp.eye(flat.size))
    return np.asarray(columns, np.float64).T


def fisher(policy, params, damping=0.0):
    return kernels.make_fisher_vector_product(policy, params, OBSERVATIONS, damping=damping)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_product_is_the_hessian_of_the_kl(policy):
    params = make_params(2)
    flat, unravel = ravel_pytree(params)
    old = policy(params, OBSERVATIONS)
    mean_kl = lambda v: jnp.mean(old.kl_divergence(policy(unravel(v), OBSERVATIONS)))  # noqa: E731
    np.testing.assert_allclose(dense(fisher(policy, params), params), jax.hessian(mean_kl)(flat), atol=1e-5)


@pytest.mark.parametrize("policy", [gaussian, categorical])
def test_the_product_is_the_expected_outer_product_of_scores(policy):
    params = make_params(2)
    flat, unravel = ravel_pytree(params)
    if policy is categorical:
        actions = jnp.arange(2)
        weights = jax.nn.softmax(policy(params, OBSERVATIONS).logits)  # exact expectation over both actions
    else:  # Gauss-Hermite quadrature, exact for polynomials
        nodes, node_weights = np.polynomial.hermite_e.hermegauss(6)
        grid = jnp.asarray(np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2), jnp.float32)
        weights = np.outer(node_weights, node_weights).reshape(-1) / node_weights.sum() ** 2
    total = np.zeros((flat.size, flat.size))
    for index in range(0, 40, 4):
        one = OBSERVATIONS[index : index + 1]
        distribution = policy(params, one)
        choices = actions if policy is categorical else distribution.mean + jnp.exp(distribution.log_std) * grid
        log_prob = lambda v, a, one=one: policy(unravel(v), one).log_prob(a[None])[0]  # noqa: E731
        scores = np.asarray(jax.vmap(lambda a, f=log_prob: jax.grad(f)(flat, a))(choices), np.float64)
        w = weights[index] if policy is categorical else weights
        total += np.einsum("k,ki,kj->ij", np.asarray(w), scores, scores) / 10
    product = kernels.make_fisher_vector_product(policy, params, OBSERVATIONS[::4], damping=0.0)
    np.testing.assert_allclose(dense(product, params), total, atol=2e-4)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_product_is_symmetric_positive_semidefinite_plus_damping(policy):
    params = make_params(2)
    bare, damped = dense(fisher(policy, params), params), dense(fisher(policy, params, 0.3), params)
    np.testing.assert_allclose(bare, bare.T, atol=1e-6)
    assert np.linalg.eigvalsh(bare).min() > -1e-6
    np.testing.assert_allclose(damped - bare, 0.3 * np.eye(len(bare)), atol=1e-6)


def test_one_product_equals_the_linearised_map():
    params = make_params(2)
    vector = make_params(2, seed=1)
    one = kernels.fisher_vector_product(gaussian, params, OBSERVATIONS, vector, damping=0.1)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), one, fisher(gaussian, params, 0.1)(vector))


def test_gauss_newton_is_the_mean_outer_product_of_gradients():
    params = make_params(1)
    flat, unravel = ravel_pytree(params)
    values = lambda v: gaussian(unravel(v), OBSERVATIONS).mean[:, 0]  # noqa: E731
    jacobian = np.asarray(jax.jacobian(values)(flat), np.float64)
    product = kernels.make_gauss_newton_product(values, flat, scale=2.0, damping=0.5)
    expected = 2.0 * jacobian.T @ jacobian / 40 + 0.5 * np.eye(flat.size)
    np.testing.assert_allclose(dense(product, flat), expected, atol=1e-5)


def random_spd(size, seed=0):
    factor = np.random.default_rng(seed).normal(size=(size, size))
    return factor @ factor.T / size + 0.1 * np.eye(size)


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_conjugate_gradients_equal_a_dense_solve_in_n_steps(size):
    matrix, b = random_spd(size), np.random.default_rng(1).normal(size=size)
    with jax.enable_x64(True):
        result = kernels.conjugate_gradient(lambda x: jnp.asarray(matrix) @ x, jnp.asarray(b), max_iters=size)
    np.testing.assert_allclose(result.x, np.linalg.solve(matrix, b), rtol=1e-8)
    assert int(result.iterations) <= size
    assert not result.failed


def test_a_zero_right_side_gives_zero_at_once():
    result = kernels.conjugate_gradient(lambda x: 2.0 * x, jnp.zeros(3), max_iters=5)
    np.testing.assert_array_equal(result.x, 0.0)
    assert (int(result.iterations), bool(result.failed)) == (0, False)


@pytest.mark.parametrize("matrix", [-np.eye(2), np.diag([1.0, -1.0]), np.full((2, 2), np.nan), np.zeros((2, 2))])
def test_curvature_that_is_not_positive_stops_with_a_flag_and_finite_numbers(matrix):
    result = kernels.conjugate_gradient(
        lambda x: jnp.asarray(matrix, jnp.float32) @ x, jnp.array([1.0, 2.0]), max_iters=5
    )
    assert result.failed
    assert np.all(np.isfinite(result.x)) and np.isfinite(result.residual_norm)


def test_the_residual_is_relative():
    matrix = jnp.asarray(random_spd(12), jnp.float32)
    b = jnp.asarray(np.random.default_rng(1).normal(size=12), jnp.float32)
    solve = partial(kernels.conjugate_gradient, lambda x: matrix @ x, max_iters=50, tol=1e-3)
    small, large = solve(b * 1e-4), solve(b * 1e4)
    assert int(small.iterations) == int(large.iterations) < 50
    assert float(large.residual_norm) <= 1e-3 * 1e4 * float(jnp.linalg.norm(b))
    np.testing.assert_allclose(large.residual_norm, jnp.linalg.norm(matrix @ large.x - b * 1e4), rtol=0.05)


def test_conjugate_gradients_take_pytrees():
    matrix, b = jnp.asarray(random_spd(4), jnp.float32), {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0, 4.0])}
    flat, unravel = ravel_pytree(b)
    result = kernels.conjugate_gradient(lambda x: unravel(matrix @ ravel_pytree(x)[0]), b, max_iters=10, tol=1e-6)
    np.testing.assert_allclose(ravel_pytree(result.x)[0], jnp.linalg.solve(matrix, flat), rtol=1e-3)


def trust_region_problem(policy=gaussian, seed=0, params=None):
    params = make_params(2, seed) if params is None else params
    flat, unravel = ravel_pytree(params)
    flat_policy = lambda v, observations: policy(unravel(v), observations)  # noqa: E731
    old = policy(params, OBSERVATIONS)
    actions = old.sample(jax.random.key(seed))
    advantages = jnp.asarray(np.random.default_rng(seed).normal(size=40), jnp.float32)
    old_log_probs = old.log_prob(actions)

    def evaluate(v):
        new = flat_policy(v, OBSERVATIONS)
        surrogate = -kernels.unclipped_loss(new.log_prob(actions), old_log_probs, advantages)
        return surrogate, jnp.mean(old.kl_divergence(new))

    return flat_policy, flat, evaluate, (old, actions, advantages)


def solve_step(problem, delta, *, damping=1e-4, evaluate=None, **options):
    flat_policy, flat, own_evaluate, _ = problem
    (objective, _), gradient = jax.value_and_grad(own_evaluate, has_aux=True)(flat)
    matvec = kernels.make_fisher_vector_product(flat_policy, flat, OBSERVATIONS, damping=damping)
    return kernels.natural_gradient_step(
        evaluate or own_evaluate,
        matvec,
        flat,
        gradient,
        objective=objective,
        max_divergence=delta,
        **{"cg_max_steps": 50, **options},
    )


def last_layer_problem(policy, scale=1.0):
    """A well-conditioned float64 problem in the last layer alone, whose weights count `scale` times."""
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), make_params(2))

    def of_last_layer(some, observations):
        return policy({**params, **some, "w2": scale * some["w2"]}, observations)

    start = {"w2": params["w2"] / scale, "log_std": params["log_std"]}
    return trust_region_problem(of_last_layer, params=start)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_kl_of_the_full_step_tends_to_delta(policy):
    """theta + sqrt(2 delta / x^T H x) x, before any search, in float64 and with next to no damping."""
    delta, damping = 1e-6, 1e-6
    with jax.enable_x64(True):
        problem = last_layer_problem(policy)
        flat_policy, flat, evaluate, _ = problem
        gradient = jax.grad(lambda v: evaluate(v)[0])(flat)
        accept_all = lambda v: (1e6 + v @ gradient, 0.0 * v[0])  # noqa: E731
        result = solve_step(problem, delta, damping=damping, evaluate=accept_all)
        _, kl = evaluate(result.search.params)
        matvec = kernels.make_fisher_vector_product(flat_policy, flat, OBSERVATIONS, damping=damping)
        x = kernels.conjugate_gradient(matvec, gradient, max_iters=50).x
        curvature = x @ matvec(x)
    np.testing.assert_allclose(kl, delta, rtol=0.05)
    np.testing.assert_allclose(result.curvature, curvature, rtol=1e-6)  # the same operator, damping included
    np.testing.assert_allclose(result.search.params - flat, x * np.sqrt(2 * delta / result.curvature), atol=1e-9)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("delta", [1e-4, 1e-3, 0.01])
def test_an_accepted_step_meets_both_conditions_on_recomputation(policy, delta):
    problem = trust_region_problem(policy)
    _, flat, evaluate, _ = problem
    result = solve_step(problem, delta)
    assert result.search.accepted
    objective, kl = evaluate(result.search.params)
    assert 0.0 < kl <= delta
    assert objective > evaluate(flat)[0]
    np.testing.assert_allclose(objective - evaluate(flat)[0], result.search.improvement, rtol=1e-3)
    np.testing.assert_allclose(kl, result.search.divergence, rtol=1e-4)


@pytest.mark.parametrize(
    "refuse", [lambda gain, kl: (gain, kl + 1.0), lambda gain, kl: (-jnp.abs(gain) - 1.0, kl)], ids=["far", "no gain"]
)
def test_a_failed_search_returns_the_same_bits_and_says_so(refuse):
    problem = trust_region_problem()
    result = solve_step(problem, 0.01, evaluate=lambda v: refuse(*problem[2](v)))
    assert result.failed and not result.search.accepted
    np.testing.assert_array_equal(np.asarray(result.search.params), np.asarray(problem[1]))
    assert int(result.search.backtracks) == 10
    assert float(result.search.step_fraction) == float(result.search.improvement) == 0.0


@pytest.mark.parametrize("poison", [lambda gain, kl: (jnp.nan, kl), lambda gain, kl: (gain, jnp.nan)])
def test_nan_refuses(poison):
    problem = trust_region_problem()
    result = solve_step(problem, 0.01, evaluate=lambda v: poison(*problem[2](v)))
    assert result.failed
    np.testing.assert_array_equal(np.asarray(result.search.params), np.asarray(problem[1]))


def test_before_the_step_ratio_and_gradient_are_those_of_the_policy_gradient():
    flat_policy, flat, evaluate, (_, actions, advantages) = trust_region_problem()
    objective, kl = evaluate(flat)
    np.testing.assert_allclose(objective, advantages.mean(), rtol=1e-5)
    np.testing.assert_allclose(kl, 0.0, atol=1e-7)
    policy_gradient = jax.grad(lambda v: jnp.mean(flat_policy(v, OBSERVATIONS).log_prob(actions) * advantages))(flat)
    np.testing.assert_allclose(jax.grad(lambda v: evaluate(v)[0])(flat), policy_gradient, rtol=1e-4, atol=1e-6)


def test_kl_and_log_probs_are_sums_over_action_dimensions():
    one = DiagonalGaussian(jnp.zeros((5, 1)), jnp.zeros((5, 1)))
    three = DiagonalGaussian(jnp.zeros((5, 3)), jnp.zeros((5, 3)))
    moved = lambda d: d.replace(mean=d.mean + 1.0)  # noqa: E731
    np.testing.assert_allclose(three.kl_divergence(moved(three)), 3.0 * one.kl_divergence(moved(one)), rtol=1e-6)
    np.testing.assert_allclose(three.log_prob(jnp.ones((5, 3))), 3.0 * one.log_prob(jnp.ones((5, 1))), rtol=1e-6)


def test_a_trailing_axis_is_refused():
    with pytest.raises(AssertionError):
        kernels.unclipped_loss(jnp.zeros(40), jnp.zeros(40), jnp.zeros((40, 1)))


def test_another_scale_of_the_last_layer_leaves_the_policy_update_alone():
    """The natural gradient does not depend on how the policy is parametrised."""
    moved = []
    with jax.enable_x64(True):
        for scale in (1.0, 7.0):
            problem = last_layer_problem(gaussian, scale)
            result = solve_step(problem, 1e-3, damping=1e-9)
            assert result.search.accepted
            before = problem[0](problem[1], OBSERVATIONS).mean
            moved.append(problem[0](result.search.params, OBSERVATIONS).mean - before)
    assert np.abs(moved[0]).max() > 1e-2
    np.testing.assert_allclose(moved[1], moved[0], atol=1e-5)


def test_a_zero_gradient_takes_no_step():
    flat_policy, flat, _, _ = trust_region_problem()
    result = kernels.natural_gradient_step(
        lambda v: (jnp.float32(0.0), jnp.float32(0.0)),
        kernels.make_fisher_vector_product(flat_policy, flat, OBSERVATIONS, damping=0.1),
        flat,
        jnp.zeros_like(flat),
        objective=jnp.float32(0.0),
        max_divergence=0.01,
    )
    assert result.failed
    np.testing.assert_array_equal(np.asarray(result.search.params), np.asarray(flat))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(result))


@pytest.mark.parametrize("matrix", ["negative", "nan"])
def test_a_bad_operator_takes_no_step_and_leaves_finite_numbers(matrix):
    _, flat, evaluate, _ = trust_region_problem()
    (objective, _), gradient = jax.value_and_grad(evaluate, has_aux=True)(flat)
    factor = -1.0 if matrix == "negative" else jnp.nan
    result = kernels.natural_gradient_step(
        evaluate, lambda v: factor * v, flat, gradient, objective=objective, max_divergence=0.01
    )
    assert result.failed
    np.testing.assert_array_equal(np.asarray(result.search.params), np.asarray(flat))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(result))


def search(gain_at, **options):
    """A line search along one number from 0; the objective at 0 is 0, the full step 1, its promise 1."""
    return kernels.backtracking_line_search(
        gain_at,
        jnp.float32(0.0),
        jnp.float32(1.0),
        objective=jnp.float32(0.0),
        expected_improvement=jnp.float32(1.0),
        max_divergence=1.0,
        shrinking_factor=0.5,
        **options,
    )


@pytest.mark.parametrize("needed, backtracks", [(1.0, 0), (0.5, 1), (0.25, 2), (0.125, 3)])
def test_steps_shrink_until_they_fit(needed, backtracks):
    result = search(lambda x: (x, jnp.where(x <= needed, 0.0, 2.0)))
    assert result.accepted
    assert (float(result.params), int(result.backtracks)) == (needed, backtracks)


def test_a_step_that_gains_nothing_is_refused_whatever_share_is_asked_for():
    flat = search(lambda x: (jnp.zeros_like(x), jnp.float32(0.0)))
    assert not flat.accepted
    assert (float(flat.params), float(flat.step_fraction)) == (0.0, 0.0)
    # flat at the full step, half of it gains: the search goes on to where something is gained
    later = search(lambda x: (jnp.where(x < 1.0, x, 0.0), jnp.float32(0.0)))
    assert (float(later.params), int(later.backtracks)) == (0.5, 1)


def test_the_acceptance_ratio_asks_for_its_share_of_the_promise():
    quarter = lambda x: (0.25 * x, jnp.float32(0.0))  # noqa: E731
    assert search(quarter, acceptance_ratio=0.2).accepted
    assert not search(quarter, acceptance_ratio=0.3).accepted


def test_the_compounding_fault_lets_a_step_through_that_gains_too_little():
    """gain 0.3 x against 0.5 x promise: never enough, unless the promise shrinks twice."""
    too_little = lambda x: (0.3 * x, jnp.float32(0.0))  # noqa: E731
    assert not search(too_little, acceptance_ratio=0.5).accepted
    faded = search(too_little, acceptance_ratio=0.5, compound_expectation=True)
    assert faded.accepted
    # promise after tries: 1, .5, .5 * .25, ...: x = .25 gains .075 >= .5 * .125
    assert float(faded.params) == 0.25


def test_everything_is_vmapped_over_deltas_and_problems():
    problem = trust_region_problem()
    deltas = jnp.array([1e-4, 1e-3, 1e-2])
    results = jax.jit(jax.vmap(lambda delta: solve_step(problem, delta)))(deltas)
    assert np.all(results.search.divergence <= deltas)
    assert np.all(np.diff(results.search.divergence) > 0)


def test_conjugate_gradients_stop_where_rounding_keeps_the_residual():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(40, 400)).astype(np.float32)
    matrix, b = jnp.asarray(factor @ factor.T / 400), jnp.asarray(rng.normal(size=40).astype(np.float32))
    result = kernels.conjugate_gradient(lambda x: matrix @ x, b, max_iters=100, tol=0.0)
    assert result.iterations < 30
    assert jnp.linalg.norm(b - matrix @ result.x) <= 2e-6 * jnp.linalg.norm(b)
