"""Optimizers take the step their formula says, whoever made them; what is no optimizer is refused before compiling."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import A2CConfig, OffPolicyConfig, PPOConfig, ReinforceConfig, TRPOConfig, cli, make_train
from purejaxrl_gae.environments import probes
from purejaxrl_gae.program import optimizers
from purejaxrl_gae.program.optimizers import annealed, check_optimizer, make_optimizer, say_schedule
from purejaxrl_gae.program.training import traced_hyperparameters
from purejaxrl_gae.settings.errors import UserError

CONFIG = PPOConfig(total_timesteps=4 * 128, num_envs=4, num_steps=32, learning_rate=1e-3, anneal_lr=True)
PARAMS = {"kernel": jnp.arange(12.0).reshape(4, 3) / 7.0, "bias": jnp.array([1.0, -2.0, 0.5])}
GRADIENT = {"kernel": jnp.sin(9.0 * PARAMS["kernel"] ** 2), "bias": jnp.array([1e-3, -4.0, 2.0])}


def first_step(optimizer, params=PARAMS, gradient=GRADIENT, **changes):
    """Changes of the parameters by one step of the optimizer that a config names, in their own shapes."""
    config = PPOConfig(optimizer=optimizer, learning_rate=0.1, **changes)
    made = make_optimizer(config, traced_hyperparameters(config), params)
    flat, unravel = ravel_pytree(params)
    return unravel(made.update(ravel_pytree(gradient)[0], made.init(flat), flat)[0])


def own_sgd(learning_rate):
    return optax.sgd(learning_rate)


def asks_for_more(lr):
    return optax.sgd(lr)


def fails(learning_rate):
    raise ValueError("no such thing")


def of_another_shape(learning_rate):
    return optax.GradientTransformation(lambda params: (), lambda gradient, state, params: (gradient["bias"], state))


def of_another_state(learning_rate):
    return optax.GradientTransformation(lambda params: (), lambda gradient, state, params: (gradient, (learning_rate,)))


@pytest.mark.parametrize("adam_eps", [1e-8, 1e-5, 1.0])
def test_adams_first_step_is_the_gradient_over_its_size_and_epsilon(adam_eps):
    gradient = jnp.array([3e-6, -0.2])
    changes = first_step("adam", jnp.zeros(2), gradient, adam_eps=adam_eps)
    np.testing.assert_allclose(changes, -0.1 * gradient / (np.abs(gradient) + adam_eps), rtol=1e-5)


def test_adamw_decays_parameters_that_have_no_gradient():
    changes = first_step("adamw", gradient=jax.tree.map(jnp.zeros_like, PARAMS))
    jax.tree.map(lambda change, value: np.testing.assert_allclose(change, -1e-5 * value, rtol=1e-5), changes, PARAMS)


def test_muon_makes_the_step_of_a_matrix_orthogonal_and_takes_that_of_adam_with_nesterov_for_a_vector():
    changes = first_step("muon")
    sizes = np.linalg.svd(changes["kernel"], compute_uv=False) / 0.1
    assert sizes.min() > 0.5 and sizes.max() < 1.5  # five steps of Newton and Schulz go no nearer to 1
    nadam = first_step(lambda learning_rate, adam_eps: optax.nadam(learning_rate, eps=adam_eps))
    np.testing.assert_allclose(changes["bias"], nadam["bias"], rtol=1e-5)


def test_an_optimizer_that_is_handed_in_gets_the_parameters_in_their_own_shapes():
    shapes = []

    def records(learning_rate, adam_eps):
        descent = optax.sgd(learning_rate)

        def init(params):
            shapes.append(jax.tree.map(jnp.shape, params))
            return descent.init(params)

        return optax.GradientTransformation(init, descent.update)

    changes = first_step(records)
    assert shapes == [{"kernel": (4, 3), "bias": (3,)}]
    jax.tree.map(lambda change, slope: np.testing.assert_allclose(change, -0.1 * slope, rtol=1e-6), changes, GRADIENT)


@pytest.mark.parametrize("name", optimizers.ELEMENTWISE)
def test_a_built_in_handed_in_as_an_object_takes_the_same_step_bit_for_bit(name):
    by_name, by_object = first_step(name), first_step(optimizers.BUILT_IN[name])
    jax.tree.map(np.testing.assert_array_equal, by_name, by_object)


@pytest.mark.parametrize(
    "optimizer, message",
    [
        ("sgd", "optimizer is 'sgd'; it must be one of 'adam', 'adamw', 'rmsprop', 'muon', or MODULE:NAME of your own"),
        (asks_for_more, "asks_for_more, which asks for 'lr'; it may name learning_rate, adam_eps"),
        (fails, "fails, which raised ValueError: no such thing"),
        (lambda learning_rate: 3, "which returned a int; it must return an optax transformation"),
        (of_another_shape, "of_another_shape, whose update gave changes of another form than it was given"),
        (of_another_state, "of_another_state, whose update gave state of another form than it was given"),
        (3, "optimizer is 3, a int; it must be a function"),
    ],
)
def test_what_is_no_optimizer_is_refused_in_one_line_before_compiling(optimizer, message):
    config = PPOConfig(optimizer=optimizer)
    with pytest.raises(UserError) as error:
        check_optimizer(config, traced_hyperparameters(config), jax.eval_shape(lambda: PARAMS))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [PPOConfig, A2CConfig, OffPolicyConfig, ReinforceConfig, TRPOConfig])
def test_every_algorithm_takes_an_optimizer_and_a_schedule_that_are_handed_in(kind):
    extra = {"constraint": "penalty", "batch_size": 8} if kind is TRPOConfig else {}
    extra |= {"num_minibatches": 2} if kind is PPOConfig else {}
    calls = []

    def half(progress):
        calls.append(progress)
        return 0.5

    config = kind(
        env=probes.both(), num_envs=2, num_steps=8, total_timesteps=32, hidden_sizes=(4,), optimizer=own_sgd,
        schedule=half, **extra,
    )  # fmt: skip
    traced = jax.eval_shape(make_train(config), jax.random.key(0))
    assert len(calls) > 1  # checked, then used
    assert jax.tree.leaves(traced.state.learner.optimizer_state) == []  # SGD's, not Adam's


def test_muon_trains_agents_side_by_side_with_rates_of_their_own():
    config = PPOConfig(env=probes.both(), num_envs=2, num_steps=8, total_timesteps=32, num_minibatches=2,
                       hidden_sizes=(4, 4), optimizer="muon")  # fmt: skip
    rates = {"learning_rate": jnp.array([1e-3, 1e-2])}
    result = jax.eval_shape(jax.vmap(make_train(config), (None, 0)), jax.random.key(0), rates)
    assert (2, 4, 4) in {leaf.shape for leaf in jax.tree.leaves(result.state.learner.optimizer_state)}  # momentum


def test_an_annealed_value_falls_to_zero_and_never_below():
    progress = jnp.array([0, 1, 3, 4, 5, 196]) / 4.0
    values = annealed(jnp.float32(1e-3), progress)
    np.testing.assert_allclose(values, [1e-3, 7.5e-4, 2.5e-4, 0.0, 0.0, 0.0], rtol=1e-6)


END = "at step 512, the end that total_timesteps sets"


@pytest.mark.parametrize(
    "changes, updates, said",
    [
        ({}, 1, f"learning_rate from 0.00075 to 0 {END}"),
        ({"anneal_clip": True}, 2, f"learning_rate from 0.0005 to 0 and clip_coef from 0.1 to 0 {END}"),
        ({"schedule": "cosine"}, 2, f"learning_rate from 0.0005 to 0 by cosine {END}"),
        ({"schedule": "cosine", "anneal_lr": False}, 2, f"learning_rate from 0.0005 to 0 by cosine {END}"),
        ({"schedule": "constant"}, 2, ""),
        ({"anneal_lr": False}, 1, ""),
        ({}, 4, ""),
        ({"schedule": "kl_adaptive"}, 4, "learning_rate follows the KL, to keep it near desired_kl"),
    ],
)
def test_a_schedule_says_where_it_goes_on_and_where_it_ends(changes, updates, said):
    assert say_schedule(dataclasses.replace(CONFIG, **changes), updates) == said


def test_trpo_says_only_the_rates_that_it_descends_by():
    config = TRPOConfig(total_timesteps=4 * 2048, constraint="penalty", critic="trust_region", schedule="linear")
    assert say_schedule(config, 0).startswith("policy_learning_rate from 0.0003 to 0 at step")


@pytest.mark.parametrize(
    "config, message",
    [
        (TRPOConfig(schedule="kl_adaptive"), "schedule is kl_adaptive, which trpo has no desired_kl for; it must"),
        (TRPOConfig(schedule="cosine", critic="trust_region"), "nothing here has a learning rate"),
    ],
)  # fmt: skip
def test_a_schedule_that_could_change_nothing_is_refused(config, message):
    with pytest.raises(UserError, match=message):
        config.validate()


def test_flags_that_say_two_things_of_the_learning_rate_are_refused_and_a_preset_gives_way():
    with pytest.raises(UserError, match="--schedule kl_adaptive and --anneal-lr are two schedules of one rate"):
        cli.parse("ppo", ["--schedule", "kl_adaptive", "--anneal-lr"])
    config, _ = cli.parse("ppo", ["--env", "Pendulum-v1", "--schedule", "kl_adaptive"])  # its preset anneals
    config.validate()
    assert config.anneal_lr and config.schedule == "kl_adaptive"
