"""Pieces of an update as functions of arrays, for `benchmarks.budget`: the rollout's, and TRPO's."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.flatten_util import ravel_pytree

from benchmarks import floor
from purejaxrl_gae import kernels, trpo
from purejaxrl_gae.program import minibatches, policy_step, training
from purejaxrl_gae.program.policy_curvature import make_policy_fisher_product
from purejaxrl_gae.program.rollout import clip_to_bounds, draw_noise
from purejaxrl_gae.program.types import Algorithm, Experience, Learner, TrainState
from purejaxrl_gae.program.value_function import ValueSamples

Pieces = dict[str, tuple[Callable[..., Any], tuple]]


def first_state(algorithm: Algorithm) -> TrainState:
    """Before the first update."""
    return jax.jit(partial(training.init_state, algorithm))(jax.random.key(0), algorithm.hyperparameters)


def sample_rollout(algorithm: Algorithm) -> tuple[Learner, Experience]:
    """The first learner, and what its policy did."""
    state = first_state(algorithm)
    return state.learner, jax.jit(partial(_rollout, algorithm))(state)[0]


def _rollout(algorithm: Algorithm, state: TrainState) -> tuple[Any, ...]:
    state, experience, totals, _ = training.collect(algorithm, algorithm.hyperparameters, state)
    return experience, totals, state.learner.normalizers, state.world.states, state.counters


def rollout_pieces(algorithm: Algorithm) -> Pieces:
    """The rollout, and inside it: stepping the environments, acting, and the values of all states."""
    setup = algorithm.setup
    environment, network, state = setup.environment, setup.network, first_state(algorithm)
    params, trajectory = state.learner.params, sample_rollout(algorithm)[1]
    keys = jax.random.split(jax.random.key(2), setup.config.num_steps)

    def step_environments(states, actions, keys):
        def one_step(states, inputs):
            actions, key = inputs
            step = environment.step(key, states, clip_to_bounds(environment, actions, "clip"))
            return step.states, (step.observations, step.rewards, step.terminated, step.truncated)

        return jax.lax.scan(one_step, states, (actions, keys))

    def act(params, observations, key):
        noise = draw_noise(setup, params, key)

        def one_step(observations_and_noise):
            observations, noise = observations_and_noise
            return network.policy(params, observations).from_noise(noise)

        return jax.lax.map(one_step, (observations, noise))

    return {
        "rollout": (partial(_rollout, algorithm), (state,)),
        "environment": (step_environments, (state.world.states, trajectory.actions, keys)),
        "policy": (act, (params, trajectory.observations, keys[0])),
        "values": (network.value, (params, trajectory.observations)),
    }


def trpo_pieces(algorithm: Algorithm) -> Pieces:
    """Advantages, the policy's step and in it the gradient and the conjugate gradients, the value function's refit."""
    setup, hyperparameters = algorithm.setup, algorithm.hyperparameters
    config, (learner, trajectory) = setup.config, sample_rollout(algorithm)
    advantages_of = partial(trpo.estimate_advantages, config, hyperparameters)
    advantages, targets = jax.jit(advantages_of)(trajectory)
    fields = (trajectory.observations, trajectory.actions, trajectory.log_probs, trajectory.distribution, advantages)
    samples = minibatches.flatten_time(policy_step.Samples(*fields))
    value_samples = ValueSamples(samples.observations, None, targets.reshape(-1))
    keys = jax.random.split(jax.random.key(3), config.n_critic_updates)
    flat, unravel = ravel_pytree(learner.params["policy"])

    def gradient(flat, samples):
        def surrogate(flat):
            policy = setup.network.policy({**learner.params, "policy": unravel(flat)}, samples.observations)
            return kernels.unclipped_loss(policy.log_prob(samples.actions), samples.log_probs, samples.advantages)

        return jax.grad(surrogate)(flat)

    def solve(params, observations, right_side):
        product = make_policy_fisher_product(setup.network, params, observations, damping=hyperparameters.cg_damping)
        return kernels.conjugate_gradient(
            product, right_side, max_iters=config.cg_max_steps, tol=hyperparameters.cg_tolerance
        ).x

    def step(learner, samples, keys):
        learner, metrics = policy_step.step_in_trust_region(setup, hyperparameters, learner, samples, keys)
        return learner.params, metrics

    def fit(learner, samples, keys):
        learner, metrics = trpo.fit_values(setup, hyperparameters, learner, samples, keys)
        return learner.params, learner.optimizer_state, metrics

    return {
        "advantages": (advantages_of, (trajectory,)),
        "gradient": (gradient, (flat, samples)),
        "conjugate gradients": (solve, (learner.params, samples.observations, jax.jit(gradient)(flat, samples))),
        "policy step": (step, (learner, samples, keys)),
        "value function": (fit, (learner, value_samples, keys)),
    }


def additive(seconds: dict[str, float]) -> dict[str, float]:
    """Parts of TRPO's update that do not contain one another, from pieces that do."""
    parts = {name: seconds[name] for name in ("environment", "policy", "values")}
    parts["rollout, rest"] = seconds["rollout"] - sum(parts.values())
    parts |= {name: seconds[name] for name in ("advantages", "gradient", "conjugate gradients")}
    parts["line search, rest"] = seconds["policy step"] - seconds["gradient"] - seconds["conjugate gradients"]
    return parts | {"value function": seconds["value function"]}


def compare_counts(algorithm: Algorithm) -> dict[str, dict[str, float | None]]:
    """Operations for each sample of programs without loops, from the layers' sizes and as XLA counts them."""
    setup = algorithm.setup
    learner, trajectory = sample_rollout(algorithm)
    observations = trajectory.observations.reshape(-1, *setup.environment.observation_shape)
    policy, value = floor.network_sizes(setup)
    flat, unravel = ravel_pytree(learner.params["policy"])

    def mean_square(params):
        return (setup.network.value(params, observations) ** 2).mean()

    product = make_policy_fisher_product(setup.network, learner.params, observations, damping=0.1)
    dense = floor.uses_dense_product(setup.network)
    programs = {
        "policy forward": (floor.forward(policy), lambda flat: setup.network.policy(
            {**learner.params, "policy": unravel(flat)}, observations), flat),
        "value forward and backward": (
            floor.forward(value) + floor.backward(value), jax.grad(mean_square), learner.params),
        "Fisher product": ((floor.dense_product if dense else floor.linearized_product)(policy), product, flat),
    }  # fmt: skip
    counts = {}
    for name, (counted, function, argument) in programs.items():
        found = floor.compiled_operations(function, argument)
        counts[name] = {"from the layers": counted, "XLA": None if found is None else found / observations.shape[0]}
    return counts
