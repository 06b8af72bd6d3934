"""Policy losses that are handed in do what built-in ones do, and are refused before anything is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import PPOConfig, UserError, kernels, make_train, ppo
from purejaxrl_gae.program import objectives, training

SMALL = dict(
    env="CartPole-v1", num_envs=4, num_steps=16, num_minibatches=4, update_epochs=2, hidden_sizes=(8,),
    total_timesteps=128,
)  # fmt: skip


def clipped(log_probs, old_log_probs, advantages, hyperparameters):
    """PPO's own loss once more, under another name."""
    return kernels.ppo_clip_loss(log_probs, old_log_probs, advantages, clip_coef=hyperparameters.clip_coef)


def penalised(log_probs, old_log_probs, advantages, policy, old_policy, hyperparameters):
    kl = old_policy.kl_divergence(policy)
    return kernels.kl_penalty_loss(log_probs, old_log_probs, advantages, kl, kl_coef=hyperparameters.kl_coef)


def minibatch():
    numbers = jnp.linspace(-1.0, 1.0, 6)
    policy = kernels.Categorical(jnp.outer(numbers, jnp.array([1.0, -0.5, 0.2])))
    old = kernels.Categorical(0.5 * policy.logits)
    actions = jnp.array([0, 1, 2, 0, 1, 2])
    samples = ppo.Samples(numbers[:, None], actions, old.log_prob(actions), numbers, numbers**2, numbers, old)
    return policy, policy.log_prob(actions), samples


@pytest.mark.parametrize("own, built_in", [(clipped, "clip"), (penalised, "kl_fixed")])
def test_ones_own_is_the_built_in_one_bit_for_bit(own, built_in):
    values = training.traced_hyperparameters(PPOConfig())
    found = [
        objectives.policy_loss(objectives.objective_of(PPOConfig(objective=each)), values, *minibatch())
        for each in (own, f"{__name__}:{own.__name__}", built_in)
    ]
    assert found[0] == found[1] == found[2]


def test_a_loss_gets_whatever_it_names():
    def names(policy, log_probs, actions, observations, old_policy, kl, clip_coef, hyperparameters):
        return (policy, log_probs, actions, observations, old_policy, kl, clip_coef, hyperparameters.clip_coef)

    policy, log_probs, samples = minibatch()
    values = training.traced_hyperparameters(PPOConfig(clip_coef=0.3))
    found = objectives.policy_loss(names, values, policy, log_probs, samples)
    assert found[0] is policy and found[1] is log_probs and found[4] is samples.distribution
    np.testing.assert_array_equal(found[2], samples.actions)
    np.testing.assert_allclose(found[5], samples.distribution.kl_divergence(policy))
    assert float(found[6]) == float(found[7]) == pytest.approx(0.3)


def test_old_distributions_are_kept_for_losses_that_name_them_only():
    assert objectives.needs_old_policy(penalised) and objectives.needs_old_policy(kernels.kl_penalty_loss)
    assert not objectives.needs_old_policy(clipped)


def test_training_with_ones_own_loss_gives_the_same_bits():
    results = [jax.jit(make_train(PPOConfig(**SMALL, objective=each)))(jax.random.key(0)) for each in (clipped, "clip")]
    jax.tree.map(np.testing.assert_array_equal, *(result.state.learner.params for result in results))


@pytest.mark.parametrize(
    "objective, message",
    [
        ("klip", "objective is 'klip'; it must be one of .*did you mean 'clip'"),
        ("json:losses", "objective is 'json:losses', but json has no 'losses'"),
        (lambda advantages, rewards: 0.0, "which asks for 'rewards'; it may name"),
        (lambda advantages: advantages, "it must return one real number, the mean loss"),
        (lambda advantages: advantages @ jnp.ones(7), "which raised TypeError"),
        (3, "objective is 3, a int; it must be a function"),
    ],
)
def test_a_wrong_loss_is_refused_before_compiling(objective, message):
    with pytest.raises(UserError, match=message):
        ppo.make_algorithm(PPOConfig(**SMALL, objective=objective))
