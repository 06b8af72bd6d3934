"""Estimators that are handed in do what built-in ones do, and are refused before anything is compiled."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import struct

from purejaxrl_gae import (
    A2CConfig,
    OffPolicyConfig,
    PPOConfig,
    ReinforceConfig,
    TRPOConfig,
    UserError,
    a2c,
    kernels,
    off_policy,
    ppo,
    reinforce,
    trpo,
)
from purejaxrl_gae.program import estimators
from purejaxrl_gae.program.types import Experience
from purejaxrl_gae.settings import config, config_files

T, N = 5, 3


def mine(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """GAE once more, under another name."""
    return kernels.gae(rewards, values, next_values, terminated, truncated, gamma=gamma, gae_lambda=gae_lambda)


def without_targets(rewards, values):
    return rewards - values


def takes_an_array_for_a_pair(rewards, values):
    first, _ = rewards
    return values + first


class Hyperparameters(struct.PyTreeNode):
    gamma: float = 0.9
    gae_lambda: float = 0.8


def rollout():
    keys = jax.random.split(jax.random.key(0), 4)
    names = ("rewards", "values", "next_values", "observations")
    fields = {name: jax.random.normal(key, (T, N)) for name, key in zip(names, keys, strict=True)}
    terminated = jax.random.bernoulli(keys[0], 0.2, (T, N))
    truncated = jax.random.bernoulli(keys[1], 0.2, (T, N)) & ~terminated
    return Experience(
        **fields, actions=None, distribution=None, log_probs=None, terminated=terminated, truncated=truncated,
        last_observations=None,
    )  # fmt: skip


def same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_estimator_without_targets_has_those_of_its_advantages():
    experience = rollout()
    advantages, targets = estimators.estimate(without_targets, experience)
    np.testing.assert_array_equal(advantages, experience.rewards - experience.values)
    np.testing.assert_array_equal(targets, advantages + experience.values)


@pytest.mark.parametrize("module, kind", [(ppo, PPOConfig), (trpo, TRPOConfig)])
def test_ones_own_is_the_built_in_one_bit_for_bit(module, kind):
    own, built_in = (module.estimate_advantages(kind(advantage=a), Hyperparameters(), rollout()) for a in (mine, "gae"))
    same(own, built_in)


@pytest.mark.parametrize("table", [a2c.ESTIMATORS, off_policy.ESTIMATORS, reinforce.ESTIMATORS])
def test_the_other_algorithms_call_ones_own_as_they_call_theirs(table):
    found = [estimators.estimator_of(A2CConfig(advantage=a), table) for a in (mine, f"{__name__}:mine", "gae")]
    given = dict(gamma=0.9, gae_lambda=0.8, k=4, fitted=0.0, log_ratios=0.0, rho_clip=1.0, c_clip=1.0)
    own, named, built_in = (estimators.estimate(each, rollout(), **given) for each in found)
    same(own, built_in)
    same(named, built_in)


SMALL = dict(env="CartPole-v1", num_envs=4, num_steps=16, hidden_sizes=(8,))


@pytest.mark.parametrize(
    "module, settings",
    [
        (ppo, PPOConfig(**SMALL, num_minibatches=4)),
        (trpo, TRPOConfig(**SMALL, batch_size=0)),
        (a2c, A2CConfig(**SMALL)),
        (reinforce, ReinforceConfig(**SMALL)),
        (off_policy, OffPolicyConfig(**SMALL)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize(
    "advantage, message",
    [
        ("gea", "advantage is 'gea'; it must be one of .*did you mean 'gae'"),
        (lambda rewards, q_values: rewards, "which asks for 'q_values'; it may name rewards"),
        (
            lambda rewards: rewards[0],
            r"which returned \[\[3\], \[5, 3\]\] for a rollout \[5, 3\]; it must return advantages, or",
        ),
        (lambda rewards: (rewards, rewards, rewards), r"which returned \[\[5, 3\], \[5, 3\], \[5, 3\]\] for a rollout"),
        (lambda rewards: rewards @ rewards, "which raised TypeError"),
        (takes_an_array_for_a_pair, "which raised ValueError: too many values to unpack"),
    ],
)
def test_a_wrong_estimator_is_refused_before_compiling(module, settings, advantage, message):
    with pytest.raises(UserError, match=message):
        module.make_algorithm(dataclasses.replace(settings, advantage=advantage))


@pytest.mark.parametrize(
    "kind, old, new",
    [
        (A2CConfig, "td", "td_residual"),
        (ReinforceConfig, "baseline", "monte_carlo"),
        (ReinforceConfig, "advantage", "gae"),
    ],
)
def test_old_names_in_files_are_read_with_a_note_of_the_new(kind, old, new, tmp_path):
    (tmp_path / "config.yaml").write_text(f"advantage: {old}\n")
    read = config.with_values(kind(), config_files.read_yaml(tmp_path / "config.yaml"), "a file")
    table = a2c.ESTIMATORS if kind is A2CConfig else reinforce.ESTIMATORS
    assert table[read.advantage] is table[new]
    assert read.notes() == [f"advantage is {old!r}, which is called {new!r} now"]
    assert kind(advantage=new).notes() == kind(advantage=mine).notes() == []
