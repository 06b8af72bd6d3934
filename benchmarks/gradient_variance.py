"""python -m benchmarks.gradient_variance: the six weights Psi of the policy gradient, side by side on CartPole.

First their gradients at one and the same policy, half way to balancing the pole: REINFORCE trains it, V and Q are
fitted to it, and then each Psi estimates the gradient many times, each time from four whole episodes. Variance is the
trace of the estimates' covariance. Then learning curves with nothing else changed, Psi as it is, neither shifted nor
scaled.
"""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.flatten_util import ravel_pytree

from benchmarks.curves import SeedRuns, train_seeds
from purejaxrl_gae import ReinforceConfig, kernels, reinforce
from purejaxrl_gae.program import training
from purejaxrl_gae.program.types import Algorithm, Learner

LABELS = {
    "total_reward": "total reward",
    "reward_to_go": "reward to go",
    "baseline": "reward to go - V",
    "q": "Q",
    "advantage": "GAE",
    "td_residual": "TD residual",
}
WHOLE = ReinforceConfig(
    env="CartPole-v1", num_envs=4, num_steps=500, episodes="whole", norm_adv=False, normalize_rewards=False, gamma=0.99
)


@dataclass(frozen=True)
class Options:
    """Compares the six on CartPole-v1."""

    gradients: int = 512
    """estimates of the gradient for each"""
    pretraining: int = 12
    """updates of 1,024 steps before the policy is held fixed"""
    fitting: int = 40
    """updates of 16 episodes to fit V and Q to it"""
    num_seeds: int = 10
    """agents of each learning curve"""
    steps: int = 300_000
    """environment steps of each agent"""
    picture: Path | None = Path("gradient_variance.png")
    """picture to write"""
    output: Path | None = None
    """JSON file to write"""


def half_trained_policy(updates: int) -> Any:
    """Parameters of a policy that REINFORCE has improved for so many updates of 1,024 steps."""
    config = ReinforceConfig(env="CartPole-v1", num_envs=8, num_steps=128, learning_rate=3e-3)
    algorithm = reinforce.make_algorithm(config)
    state = training.init_state(algorithm, jax.random.key(0), algorithm.hyperparameters)
    state, _ = jax.jit(partial(training.advance, algorithm))(algorithm.hyperparameters, state, updates)
    return state.learner.params["policy"]


def fitted_learner(advantage: str, policy: Any, updates: int) -> tuple[Algorithm, Learner]:
    """The policy, with V or Q fitted to what it does in so many batches of 16 episodes."""
    config = replace(
        WHOLE, advantage=advantage, num_envs=16, learning_rate=0.0, batch_size=500, value_learning_rate=3e-3
    )
    algorithm = reinforce.make_algorithm(config)
    state = training.init_state(algorithm, jax.random.key(0), algorithm.hyperparameters)
    learner = state.learner.replace(params={**state.learner.params, "policy": policy})
    advance = jax.jit(partial(training.advance, algorithm))
    state, progress = advance(algorithm.hyperparameters, state.replace(learner=learner), updates)
    print(
        f"{LABELS[advantage]:<18} mean return of the policy {progress.totals.returns / progress.totals.episodes:.0f}, "
        f"explained variance {progress.metrics['explained_variance']:.2f}",
        flush=True,
    )
    return reinforce.make_algorithm(replace(WHOLE, advantage=advantage)), state.learner


def estimate(advantage: str, policy: Any, options: Options) -> float:
    """Trace of the covariance of many independent estimates of the gradient at the fixed policy."""
    algorithm, learner = fitted_learner(advantage, policy, options.fitting)
    setup, hyperparameters = algorithm.setup, algorithm.hyperparameters

    @jax.jit
    def one(key):
        state = training.init_state(algorithm, key, hyperparameters).replace(learner=learner)
        _, trajectory, _, _ = training.collect(algorithm, hyperparameters, state)
        psi, *_ = reinforce.estimate_weights(setup, hyperparameters, learner.params, trajectory)
        in_episode = kernels.in_first_episode(trajectory.terminated, trajectory.truncated)
        # eq. 1 sums over an episode's steps: four episodes are averaged, their steps are not
        psi = psi * jnp.mean(in_episode.astype(jnp.float32)) * psi.shape[0]

        def loss(policy_params):
            policy = setup.network.policy({**learner.params, "policy": policy_params}, trajectory.observations)
            return kernels.policy_gradient_loss(policy.log_prob(trajectory.actions), psi)

        return ravel_pytree(jax.grad(loss)(learner.params["policy"]))[0]

    keys = jax.random.split(jax.random.key(1), options.gradients)
    gradients = np.asarray(jax.lax.map(one, keys, batch_size=32), np.float64)
    return float(gradients.var(0, ddof=1).sum())


def print_table(estimates: dict[str, float], curves: dict[str, SeedRuns]) -> None:
    """One line for each Psi."""
    reference = estimates["reward_to_go"]
    print(f"{'Psi':<18}{'variance':>12}{'of reward to go':>17}{'mean score':>12}{'final score':>13}")
    for advantage, found in estimates.items():
        scores = curves[advantage].scores
        print(
            f"{LABELS[advantage]:<18}{found:>12,.0f}{found / reference:>17.4f}"
            f"{np.nanmean(scores):>12.1f}{np.nanmean(scores[:, -1]):>13.1f}"
        )


def draw(estimates: dict[str, float], curves: dict[str, SeedRuns], path: Path) -> None:
    """Variances on the left, learning curves on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (bars, lines) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=(2, 3))
    for row, (advantage, found) in enumerate(estimates.items()):
        color = f"C{row}"
        bars.barh(LABELS[advantage], found, color=color)
        run = curves[advantage]
        lines.plot(run.env_steps, np.nanmean(run.scores, axis=0), color=color, label=LABELS[advantage])
        quartiles = np.nanquantile(run.scores, (0.25, 0.75), axis=0)
        lines.fill_between(run.env_steps, *quartiles, color=color, alpha=0.15, linewidth=0)
    bars.set_xscale("log")
    bars.set_xlim(left=1e3)
    bars.invert_yaxis()
    bars.set_xlabel("variance of the gradient estimate, one policy")
    lines.set_xlabel("environment steps")
    lines.set_ylabel("return of the last 100 training episodes")
    lines.set_title("mean and quartiles over seeds", fontsize=10)
    lines.grid(alpha=0.3)
    lines.legend(frameon=False, loc="upper left")
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


def main() -> None:
    options = tyro.cli(Options)
    policy = half_trained_policy(options.pretraining)
    estimates = {advantage: estimate(advantage, policy, options) for advantage in LABELS}
    learning = ReinforceConfig(
        env="CartPole-v1",
        total_timesteps=options.steps,
        num_envs=8,
        num_steps=128,
        learning_rate=1e-3,
        norm_adv=False,
    )
    curves = {advantage: train_seeds(replace(learning, advantage=advantage), options.num_seeds) for advantage in LABELS}
    print_table(estimates, curves)
    if options.picture is not None:
        draw(estimates, curves, options.picture)
    if options.output is not None:
        document = {
            advantage: {
                "variance": found,
                "env_steps": curves[advantage].env_steps.tolist(),
                "mean_score": np.nanmean(curves[advantage].scores, axis=0).round(2).tolist(),
            }
            for advantage, found in estimates.items()
        }
        options.output.write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
