"""python -m benchmarks.gradient_variance: the six weights Psi of the policy gradient, side by side on CartPole.

First their gradients at one and the same policy, half way to balancing the pole: REINFORCE trains it, V and Q are
fitted to it, and then each Psi estimates the gradient many times from four whole episodes. Variance is the trace of the
estimates' covariance; bias is the distance of their mean from that of the reward to go, which has none. Then their
learning curves with nothing else changed, Psi as it is, neither shifted nor scaled.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.flatten_util import ravel_pytree

from benchmarks.curves import SeedRuns, train_seeds
from purejaxrl_gae import ReinforceConfig, kernels, reinforce, training
from purejaxrl_gae.training import Algorithm, Learner

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
    pretraining: int = 30
    """updates of 32 episodes before the policy is held fixed"""
    fitting: int = 60
    """updates of 32 episodes to fit V and Q to it"""
    num_seeds: int = 10
    """agents of each learning curve"""
    steps: int = 300_000
    """environment steps of each agent"""
    picture: Path | None = Path("gradient_variance.png")
    """picture to write"""
    output: Path | None = None
    """JSON file to write"""


@dataclass(frozen=True)
class Estimate:
    """Estimates of one Psi.

    Attributes:
      mean: `[P]` over the estimates.
      variance: trace of their covariance.
    """

    mean: np.ndarray
    variance: float


def fixed_learner(advantage: str, options: Options) -> tuple[Algorithm, Learner]:
    """The half-trained policy, the same for all six, with V or Q fitted to it."""
    many = replace(WHOLE, num_envs=32, batch_size=500, value_learning_rate=3e-3)
    trainer = reinforce.make_algorithm(replace(many, advantage="baseline", norm_adv=True, learning_rate=3e-3))
    key = jax.random.key(0)
    advance = jax.jit(training.advance, static_argnums=0)
    state = training.init_state(trainer, key, trainer.hyperparameters)
    state, _ = advance(trainer, trainer.hyperparameters, state, options.pretraining)
    fitter = reinforce.make_algorithm(replace(many, advantage=advantage, learning_rate=0.0))
    fitted = training.init_state(fitter, key, fitter.hyperparameters)
    params = {**fitted.learner.params, "policy": state.learner.params["policy"]}
    fitted = fitted.replace(learner=fitted.learner.replace(params=params))
    fitted, progress = advance(fitter, fitter.hyperparameters, fitted, options.fitting)
    print(
        f"{LABELS[advantage]:<18} mean return {progress.totals.returns / progress.totals.episodes:.0f}, "
        f"explained variance {progress.metrics['explained_variance']:.2f}",
        flush=True,
    )
    return reinforce.make_algorithm(replace(WHOLE, advantage=advantage)), fitted.learner


def estimate(advantage: str, options: Options) -> Estimate:
    """Many independent estimates of the gradient at the fixed policy."""
    algorithm, learner = fixed_learner(advantage, options)
    setup, hyperparameters = algorithm.setup, algorithm.hyperparameters

    @jax.jit
    def one(key):
        state = training.init_state(algorithm, key, hyperparameters).replace(learner=learner)
        _, _, trajectory, _, _ = training.rollout(setup, state, hyperparameters.gamma, 0)
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
    return Estimate(gradients.mean(0), float(gradients.var(0, ddof=1).sum()))


def print_table(estimates: dict[str, Estimate], curves: dict[str, SeedRuns], options: Options) -> None:
    """One line for each Psi."""
    reference = estimates["reward_to_go"]
    print(f"{'Psi':<18}{'variance':>12}{'of reward to go':>17}{'bias':>9}{'noise of it':>13}{'final score':>13}")
    for advantage, found in estimates.items():
        scale = np.linalg.norm(reference.mean)
        bias = np.linalg.norm(found.mean - reference.mean) / scale
        noise = np.sqrt((found.variance + reference.variance) / options.gradients) / scale
        print(
            f"{LABELS[advantage]:<18}{found.variance:>12.1f}{found.variance / reference.variance:>17.3f}{bias:>9.2f}"
            f"{noise:>13.2f}{np.nanmean(curves[advantage].scores[:, -1]):>13.1f}"
        )


def draw(estimates: dict[str, Estimate], curves: dict[str, SeedRuns], path: Path) -> None:
    """Variances on the left, learning curves on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (bars, lines) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=(2, 3))
    for row, (advantage, found) in enumerate(estimates.items()):
        color = f"C{row}"
        bars.barh(LABELS[advantage], found.variance, color=color)
        run = curves[advantage]
        lines.plot(run.env_steps, np.nanmean(run.scores, axis=0), color=color, label=LABELS[advantage])
        quartiles = np.nanquantile(run.scores, (0.25, 0.75), axis=0)
        lines.fill_between(run.env_steps, *quartiles, color=color, alpha=0.15, linewidth=0)
    bars.set_xscale("log")
    bars.invert_yaxis()
    bars.set_xlabel("variance of the gradient estimate, one policy")
    lines.set_xlabel("environment steps")
    lines.set_ylabel("return, last 100 training episodes: mean and quartiles over seeds")
    lines.yaxis.label.set_size(8)
    lines.grid(alpha=0.3)
    lines.legend(frameon=False, loc="upper left")
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


def main() -> None:
    options = tyro.cli(Options)
    estimates = {advantage: estimate(advantage, options) for advantage in LABELS}
    learning = ReinforceConfig(
        env="CartPole-v1",
        total_timesteps=options.steps,
        num_envs=8,
        num_steps=128,
        learning_rate=1e-3,
        norm_adv=False,
    )
    curves = {advantage: train_seeds(replace(learning, advantage=advantage), options.num_seeds) for advantage in LABELS}
    print_table(estimates, curves, options)
    if options.picture is not None:
        draw(estimates, curves, options.picture)
    if options.output is not None:
        document = {
            advantage: {
                "variance": found.variance,
                "env_steps": curves[advantage].env_steps.tolist(),
                "mean_score": np.nanmean(curves[advantage].scores, axis=0).round(2).tolist(),
            }
            for advantage, found in estimates.items()
        }
        options.output.write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
