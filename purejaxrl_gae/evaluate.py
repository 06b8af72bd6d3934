"""python -m purejaxrl_gae.evaluate: scores a policy on fresh episodes, or plays one and draws it.

The policy is a run's (`--run-dir`) or that of a file alone (`--policy`).
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from purejaxrl_gae import trust
from purejaxrl_gae.config import TrainingConfig, with_values
from purejaxrl_gae.errors import UserError, first_line, shown
from purejaxrl_gae.fields import check_types, require_between, require_name

MOST_EPISODES = 1_000_000


@dataclass(frozen=True)
class EvaluateOptions:
    """Scores the policy of a run's newest readable checkpoint, or of a policy.npz; or writes an animation of it."""

    run_dir: Path | None = None
    """folder of the run"""
    policy: Path | None = None
    """a policy.npz instead of a run"""
    env: str | None = None
    """with --policy: where to play it; where it was trained, if not given"""
    episodes: int = 100
    """whole episodes to play, each in its own environment; for each seed of a run of several"""
    trust: bool = False
    """in this call, import what the run's folder or the policy names to import, although it is not signed by you"""
    seed: int = 1
    """of starts and transitions"""
    render: Path | None = None
    """play one episode instead and write it: .gif, .mp4, or a film strip as .png; of a run of several seeds, the
    first one's policy"""
    fps: int = 30
    """frames per second of --render"""
    max_frames: int = 1000
    """--render cuts an episode after as many steps"""


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Does what the options ask for; see `evaluate_run`, `evaluate_policy` and `render_episode`.

    Raises:
      UserError: the options do not go together.
    """
    if (options.run_dir is None) == (options.policy is None):
        raise UserError("name a run with --run-dir, or a policy.npz with --policy, and not both")
    if options.env is not None and options.policy is None:
        raise UserError("env goes with --policy; a run of --run-dir knows its own")
    check_types(options)
    require_name(options, "env")
    require_between(options, 1, MOST_EPISODES, "episodes", "max_frames")
    require_between(options, 0, 2**32 - 1, "seed")
    require_between(options, 1, 100, "fps")
    if options.render is not None:
        return render_episode(options)
    return evaluate_policy(options) if options.run_dir is None else evaluate_run(options)


def evaluate_run(options: EvaluateOptions) -> dict[str, Any]:
    """Plays whole episodes with the deterministic policy, or with each of a run's several.

    Returns:
      What was played and its return: mean, standard deviation, smallest and largest; of several seeds over all of
      them, with each seed's mean and their IQM.

    Raises:
      UserError: the folder holds no run or no checkpoint.
      RunError: no checkpoint fits.
    """
    from purejaxrl_gae.host.programs import make_agents_evaluator, make_evaluator
    from purejaxrl_gae.host.reports import statistics_of

    assert options.run_dir is not None
    algorithm, restored, num_seeds = _restored(options.run_dir, options.trust)
    if num_seeds == 1:
        evaluation = make_evaluator(algorithm, options.episodes)(restored.state.learner, options.seed)
    else:
        evaluate_agents = make_agents_evaluator(algorithm, num_seeds, options.episodes)
        evaluation = evaluate_agents(restored.state.learner, np.full(num_seeds, options.seed))
    returns = np.asarray(evaluation.returns, np.float64)
    found = {"run_dir": str(options.run_dir), "env_steps": restored.step, **_scores(evaluation)}
    if num_seeds > 1:
        seed_means = returns.mean(axis=1)
        found["seeds"] = {algorithm.setup.config.seed + index: float(mean) for index, mean in enumerate(seed_means)}
        found["iqm"], *found["iqm_interval"] = statistics_of(seed_means)["iqm"]
    return found


def evaluate_policy(options: EvaluateOptions) -> dict[str, Any]:
    """Plays whole episodes with a policy.npz, which acts from NumPy.

    Returns:
      What was played and its return: mean, standard deviation, smallest and largest.

    Raises:
      UserError: the file holds no policy, or one that does not fit the environment.
    """
    from purejaxrl_gae.host.playing import play_episodes

    policy, environment = _policy_and_environment(options)
    evaluation = play_episodes(environment, policy.act, options.episodes, options.seed)
    return {"policy": str(options.policy), "env": environment.name, **_scores(evaluation)}


def render_episode(options: EvaluateOptions) -> dict[str, Any]:
    """Plays one episode with the deterministic policy and writes its pictures.

    Returns:
      What was written, and the episode's steps and return.

    Raises:
      UserError: there is no such policy, or the picture cannot be written.
    """
    from purejaxrl_gae.environments.quiet import draw_without_screen
    from purejaxrl_gae.host.animation import check_output, write_animation
    from purejaxrl_gae.host.playing import record_episode

    assert options.render is not None
    check_output(options.render, options.fps)
    draw_without_screen()
    policy, environment = _policy_and_environment(options)
    episode = record_episode(environment, policy.act, options.seed, options.max_frames)
    before = np.cumsum(episode.rewards) - episode.rewards
    captions = [f"step {step}   return {value:.1f}" for step, value in enumerate(before)]
    write_animation(options.render, episode.frames, captions, options.fps)
    return {
        "render": str(options.render),
        "env": environment.name,
        "seed": options.seed,
        "steps": len(episode.frames),
        "return": float(episode.rewards.sum()),
        "finished": episode.finished,
    }


def _scores(evaluation: Any) -> dict[str, Any]:
    returns = np.asarray(evaluation.returns, np.float64)
    return {
        "episodes": returns.size,
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "return_min": float(np.min(returns)),
        "return_max": float(np.max(returns)),
        "episodic_length": float(np.mean(evaluation.lengths)),
    }


def _restored(run_dir: Path, trusted: bool) -> tuple[Any, Any, int]:
    """A run's algorithm, its newest readable checkpoint, and its number of seeds."""
    import jax

    from purejaxrl_gae import algorithms, training
    from purejaxrl_gae.cli import saved_run
    from purejaxrl_gae.host.checkpoints import Checkpoints
    from purejaxrl_gae.host.display import Display
    from purejaxrl_gae.host.programs import use_compilation_cache

    config, run_options = saved_run(run_dir, trusted=trusted)
    num_seeds = run_options.num_seeds
    use_compilation_cache()
    algorithm = algorithms.make_algorithm(config)

    def types(key):
        return training.init_state(algorithm, key, algorithm.hyperparameters)

    if num_seeds == 1:
        state_types = jax.eval_shape(types, jax.random.key(0))
    else:
        state_types = jax.eval_shape(jax.vmap(types), jax.random.split(jax.random.key(0), num_seeds))
    checkpoints = Checkpoints(run_dir / "checkpoints", run_options.keep_checkpoints)
    restored = checkpoints.restore(state_types, Display(0, enabled=False).complain)
    if restored is None:
        raise UserError(f"run_dir is {str(run_dir)!r}, which has no checkpoint yet")
    return algorithm, restored, num_seeds


def _policy_and_environment(options: EvaluateOptions) -> tuple[Any, Any]:
    """The policy that acts from NumPy, and where it is to act."""
    from purejaxrl_gae.environments import make_environment
    from purejaxrl_gae.host.playing import check_policy_fits
    from purejaxrl_gae.numpy_policy import load_policy

    if options.run_dir is not None:
        return _policy_of_run(options.run_dir, options.trust)
    assert options.policy is not None
    try:
        policy = load_policy(options.policy)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"policy is {shown(str(options.policy))}, which cannot be read: {reason}") from None
    where = _where(options, policy.environment)
    if not where:
        raise UserError(f"policy is {str(options.policy)!r}, which does not say where it was trained; add --env")
    environment = make_environment(**where)
    check_policy_fits(policy, environment)
    return policy, environment


def _where(options: EvaluateOptions, trained_in: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `make_environment`: what the flags say, or else the policy."""
    if options.env is not None:
        return {"env": options.env}
    values = trust.vouched(trained_in) if options.trust else trained_in
    source = f"policy {shown(str(options.policy))}"
    checked = with_values(TrainingConfig(), values, source)
    if not isinstance(checked.env, str):
        raise UserError(f"{source}: env is {shown(checked.env)}; it must be the name of an environment")
    return {name: getattr(checked, name) for name in values}


def _policy_of_run(run_dir: Path, trusted: bool) -> tuple[Any, Any]:
    import jax

    from purejaxrl_gae import training
    from purejaxrl_gae.host.policy_file import policy_bytes
    from purejaxrl_gae.numpy_policy import load_policy

    algorithm, restored, num_seeds = _restored(run_dir, trusted)
    learner = restored.state.learner
    if num_seeds > 1:
        learner = jax.tree.map(lambda leaf: leaf[0], learner)
    policy = load_policy(io.BytesIO(policy_bytes(algorithm.setup, learner)))
    return policy, training.unstaggered_environment(algorithm.setup)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    from purejaxrl_gae.cli import parse_options, run_and_exit

    def play():
        print(json.dumps(evaluate(parse_options("evaluate", EvaluateOptions, arguments)), indent=2))

    run_and_exit(play)


if __name__ == "__main__":
    main()
