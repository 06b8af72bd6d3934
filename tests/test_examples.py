"""The examples in docs/examples: algorithms and a distribution that the package does not know."""

import dataclasses
import json
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from purejaxrl_gae import PPOConfig, TRPOConfig, UserError, cli, evaluate, kernels, make_train, plot, sweep
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.runs import run_folder, training_run
from purejaxrl_gae.runs.run_options import RunOptions

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
SMALL = dict(num_envs=4, num_steps=16, hidden_sizes=(8,), total_timesteps=128)
SPO = "my_spo:SPOConfig"


@pytest.fixture(autouse=True, scope="module")
def examples():
    """The examples' folder, as if it were the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield
        for name in ("my_spo", "my_npg", "my_beta"):
            sys.modules.pop(name, None)


@pytest.fixture
def spo():
    kind = algorithms.config_class(SPO)
    return kind(env="CartPole-v1", num_minibatches=4, update_epochs=2, anneal_lr=False, **SMALL)


def rows(path):
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if "second" not in k} for line in lines]


def test_an_algorithm_from_outside_trains_resumes_to_the_same_bits_is_evaluated_and_plotted(spo, tmp_path):
    options = RunOptions(
        progress=False, compilation_cache=False, tensorboard=False, updates_per_report=1, eval_episodes=2
    )
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    longer = dataclasses.replace(spo, total_timesteps=256)
    summary = training_run.run(longer, dataclasses.replace(options, run_dir=whole))
    training_run.run(spo, dataclasses.replace(options, run_dir=parted))
    values = yaml.safe_load((whole / "config.yaml").read_text())
    assert (values["algorithm"], values["objective"]) == (SPO, "my_spo:spo") and "signature" in values

    resume = ["--resume", str(parted), "--total-timesteps", "256", "--no-progress"]
    resumed, resumed_options = cli.parse(SPO, resume)
    training_run.run(resumed, dataclasses.replace(resumed_options, compilation_cache=False))
    assert resumed == longer and rows(parted) == rows(whole)
    assert len(rows(whole)) == 4 and all(row["ratio_deviation"] > 0.0 for row in rows(whole))
    expected, actual = np.load(whole / "policy.npz"), np.load(parted / "policy.npz")
    for name in expected.files:
        np.testing.assert_array_equal(actual[name], expected[name])

    scored = evaluate.evaluate(evaluate.EvaluateOptions(run_dir=whole, episodes=2))
    assert summary["algo"] == SPO and scored["env_steps"] == 256 and scored["episodes"] == 2
    assert plot.labels([plot.read_run(whole).values]) == [f"{SPO} on CartPole-v1"]


def test_sweeps_and_folders_take_an_algorithm_from_outside(spo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base, options = sweep.parse(["--algo", SPO, "--env", "CartPole-v1", "--grid", "clip_coef=0.1,0.3"])
    assert type(base) is type(spo)
    sweep.refuse_wrong_configurations(base, options)
    paths = sweep.new_sweep_path(base, options), run_folder.new_run_path(None, "CartPole-v1", SPO, 0)
    assert all("my_spo_SPOConfig" in path.name and ":" not in path.name for path in paths)
    assert algorithms.command_of(SPO) == f"python -m purejaxrl_gae.train {SPO}"
    assert algorithms.command_of("ppo") == "python -m purejaxrl_gae.ppo"


@pytest.mark.parametrize(
    "algorithm, message",
    [
        ("my_spo:spo", "algorithm is 'my_spo:spo', which is no config; it must be a subclass of TrainingConfig"),
        ("my_spo:PPOConfig", "whose field algorithm is 'ppo'; it must say where it is found"),
        ("my_spo:SPO", "algorithm is 'my_spo:SPO', but my_spo has no 'SPO'"),
        ("my_sop:SPOConfig", "but there is no module 'my_sop'"),
    ],
)
def test_what_is_no_algorithm_is_refused_in_one_line(algorithm, message):
    with pytest.raises(UserError, match=message):
        algorithms.config_class(algorithm)


def test_the_maximum_of_spo_is_at_the_ends_of_the_clipping_range(spo):
    module = sys.modules["my_spo"]
    advantages, old = jnp.array([2.0, -3.0]), jnp.array([-1.0, -2.0])
    at = old + jnp.log(1.0 + 0.2 * jnp.sign(advantages))
    gradient = jax.grad(lambda log_probs: module.spo(log_probs, old, advantages, 0.2))
    np.testing.assert_allclose(gradient(at), 0.0, atol=1e-6)
    np.testing.assert_allclose(gradient(old), -advantages / 2, rtol=1e-6)  # where PPO's begins too
    with pytest.raises(UserError, match=r"clip_coef is 0.0, by which SPO divides"):
        dataclasses.replace(spo, clip_coef=0.0).validate()


def test_an_algorithm_without_values_optimizer_or_discount_fits_the_contract():
    config = algorithms.config_class("my_npg:NPGConfig")(env="CartPole-v1", normalize_rewards=True, **SMALL)
    agents = jax.jit(jax.vmap(make_train(config)))(jax.random.split(jax.random.key(0), 2))
    learner, kl = agents.state.learner, agents.metrics["kl"]
    assert not np.any(agents.state.counters.skipped_updates) and learner.optimizer_state == ()
    assert np.all((kl > 0.0) & (kl < 1.5 * config.step_kl)), "equal to second order, with damping less"
    assert learner.extra["baseline"].shape == (2,) and np.all(learner.extra["baseline"] > 0.0)


def beta(shape=(5, 2)):
    from my_beta import StretchedBeta

    keys = jax.random.split(jax.random.key(0), 2)
    return StretchedBeta(*(1.0 + jnp.exp(jax.random.normal(key, shape)) for key in keys))


def test_a_beta_policys_density_entropy_divergence_and_mode_are_those_of_its_integrals():
    policy, other = beta((1,)), beta((2,))
    other = type(other)(other.alpha[1:], other.beta[1:])
    grid = jnp.linspace(-1.0, 1.0, 20_001)[1:-1, None]
    each = jax.vmap(lambda each, actions: each.log_prob(actions), (None, 0))
    density = jnp.exp(each(policy, grid))
    mean = lambda values: float(jnp.sum(density * values) * (grid[1, 0] - grid[0, 0]))  # noqa: E731
    assert mean(1.0) == pytest.approx(1.0, abs=1e-3)
    assert mean(-each(policy, grid)) == pytest.approx(float(policy.entropy()), abs=1e-3)
    divergence = float(policy.kl_divergence(other))
    assert mean(each(policy, grid) - each(other, grid)) == pytest.approx(divergence, abs=1e-3) and divergence > 0.0
    assert float(grid[jnp.argmax(density), 0]) == pytest.approx(float(policy.mode()[0]), abs=1e-3)


def test_a_beta_policys_noise_is_keys_and_its_samples_have_its_mean():
    policy = beta((3, 2))
    noise = policy.noise(jax.random.key(1), (4000,))
    assert jnp.issubdtype(noise.dtype, jax.dtypes.prng_key) and noise.shape == (4000, 3, 2)
    actions = jax.jit(jax.vmap(policy.from_noise))(noise)
    assert np.all(np.abs(actions) < 1.0)
    np.testing.assert_allclose(actions.mean(axis=0), 2 * policy.alpha / (policy.alpha + policy.beta) - 1, atol=0.05)


def test_a_beta_policys_fisher_product_is_the_hessian_of_its_divergence():
    observations = jax.random.normal(jax.random.key(2), (7, 3))
    params, vector = jax.random.normal(jax.random.key(3), (2, 3 * 4))

    def policy(flat, observations):
        outputs = 1.0 + jax.nn.softplus(observations @ flat.reshape(3, 4))
        return type(beta())(outputs[:, :2], outputs[:, 2:])

    old = policy(params, observations)
    hessian = jax.jit(jax.hessian(lambda flat: jnp.mean(old.kl_divergence(policy(flat, observations)))))(params)
    fisher_product = jax.jit(partial(kernels.fisher_vector_product, policy, damping=0.0))
    product = fisher_product(params, observations, vector)
    np.testing.assert_allclose(product, hessian @ vector, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(
    "config",
    [
        PPOConfig(env="Pendulum-v1", num_minibatches=4, update_epochs=2, **SMALL),
        TRPOConfig(env="Pendulum-v1", batch_size=0, n_critic_updates=2, cg_max_steps=5, **SMALL),
    ],
    ids=["ppo", "trpo"],
)
def test_a_beta_policy_is_trained(config):
    config = dataclasses.replace(config, network="my_beta:make", action_bounds="scale")
    result = jax.jit(make_train(config))(jax.random.key(0))
    assert int(result.state.counters.skipped_updates) == 0 and set(result.state.learner.params) == {"policy", "value"}
    assert all(np.all(np.isfinite(result.metrics[name])) for name in ("policy_loss", "entropy", "value_loss"))
    if "kl" in result.metrics:
        assert np.all((result.metrics["kl"] > 0.0) & (result.metrics["kl"] <= config.target_kl))
