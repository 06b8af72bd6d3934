"""python -m purejaxrl_gae.evaluate: scores a policy on fresh episodes, or plays one and draws it.

The policy is a run's (`--run-dir`) or that of a file alone (`--policy`).
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from purejaxrl_gae.settings import trust
from purejaxrl_gae.settings.config import TrainingConfig, with_values
from purejaxrl_gae.settings.errors import UserError, first_line, shown
from purejaxrl_gae.settings.fields import check_types, require_between, require_name

MOST_EPISODES = 1_000_000
ACTION_STREAM = 0xAC7  # separates sampled actions from starts and transitions of the same seed


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
    stochastic: bool = False
    """play sampled actions only, as in training, instead of the most probable ones first and sampled ones beside them;
    with --render, draw them"""
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
    """Plays whole episodes with the policy of a run, or with each of its several.

    Returns:
      What was played and its scores, see `_scores`.

    Raises:
      UserError: the folder holds no run or no checkpoint.
      RunError: no checkpoint fits.
    """
    from purejaxrl_gae.runs.programs import make_agents_evaluator, make_evaluator

    assert options.run_dir is not None
    algorithm, restored, num_seeds = _restored(options.run_dir, options.trust)
    seeds: Any = options.seed
    if num_seeds == 1:
        evaluator = make_evaluator(algorithm, options.episodes)
    else:
        evaluator = make_agents_evaluator(algorithm, num_seeds, options.episodes)
        seeds = np.full(num_seeds, options.seed)

    def play(deterministic: bool) -> Any:
        return evaluator(restored.state.learner, seeds, deterministic)

    names = algorithm.setup.config.seed + np.arange(num_seeds)
    return {"run_dir": str(options.run_dir), "env_steps": restored.step, **_scores(play, options.stochastic, names)}


def evaluate_policy(options: EvaluateOptions) -> dict[str, Any]:
    """Plays whole episodes with a policy.npz, which acts from NumPy.

    Returns:
      What was played and its scores, see `_scores`.

    Raises:
      UserError: the file holds no policy, or one that does not fit the environment.
    """
    from purejaxrl_gae.runs.playing import play_episodes

    policy, environment = _policy_and_environment(options)

    def play(deterministic: bool) -> Any:
        return play_episodes(environment, _acting(policy, options.seed, deterministic), options.episodes, options.seed)

    return {"policy": str(options.policy), "env": environment.name, **_scores(play, options.stochastic, np.zeros(1))}


def render_episode(options: EvaluateOptions) -> dict[str, Any]:
    """Plays one episode, by mode or sampled, and writes its pictures.

    Returns:
      What was written, and the episode's steps and return.

    Raises:
      UserError: there is no such policy, or the picture cannot be written.
    """
    from purejaxrl_gae.environments.quiet import draw_without_screen
    from purejaxrl_gae.runs.animation import check_output, write_animation
    from purejaxrl_gae.runs.playing import record_episode

    assert options.render is not None
    check_output(options.render, options.fps)
    draw_without_screen()
    policy, environment = _policy_and_environment(options)
    act = _acting(policy, options.seed, not options.stochastic)
    episode = record_episode(environment, act, options.seed, options.max_frames)
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


def _acting(policy: Any, seed: int, deterministic: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Observations to actions, the most probable or sampled."""
    rng = None if deterministic else np.random.default_rng([seed, ACTION_STREAM])
    return lambda observations: policy.act(observations, rng)


def _scores(play: Callable[[bool], Any], stochastic: bool, seeds: np.ndarray) -> dict[str, Any]:
    """Plays, and says what came of it.

    Args:
      play: `deterministic -> Evaluation`, `[E]` or of several seeds `[S, E]`.
      stochastic: play sampled only.
      seeds: `[S]`.

    Returns:
      Mean, standard deviation, smallest and largest return, and how many episodes were cut; of several seeds over all
      of them, with each seed's mean and their IQM. Unless all is sampled, the same of sampled actions under `sampled`.
      `notes`, where the numbers need words.
    """
    from purejaxrl_gae.runs import scoring

    sampled = scoring.of_agents(play(False))
    if stochastic:
        return {"actions": "sampled", **_score(sampled, seeds), "notes": scoring.cut_notes(sampled=sampled)}
    both = scoring.Scores(scoring.of_agents(play(True)), sampled)
    return {
        "actions": "mode",
        **_score(both.mode, seeds),
        "sampled": _score(both.sampled, seeds),
        "notes": scoring.notes(both),
    }


def _score(evaluation: Any, seeds: np.ndarray) -> dict[str, Any]:
    from purejaxrl_gae.runs import scoring
    from purejaxrl_gae.runs.reports import statistics_of

    returns = evaluation.returns
    found = {
        "episodes": returns.size,
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "return_min": float(np.min(returns)),
        "return_max": float(np.max(returns)),
        "episodic_length": float(np.mean(evaluation.lengths)),
        "cut_episodes": scoring.cut(evaluation),
    }
    if len(seeds) > 1:
        seed_means = returns.mean(axis=1)
        found["seeds"] = {int(seed): float(mean) for seed, mean in zip(seeds, seed_means, strict=True)}
        found["iqm"], *found["iqm_interval"] = statistics_of(seed_means)["iqm"]
    return found


def _restored(run_dir: Path, trusted: bool) -> tuple[Any, Any, int]:
    """A run's algorithm, its newest readable checkpoint, and its number of seeds."""
    from purejaxrl_gae.runs import saved
    from purejaxrl_gae.runs.programs import use_compilation_cache

    use_compilation_cache()
    return saved.restore(run_dir, trusted=trusted)


def _policy_and_environment(options: EvaluateOptions) -> tuple[Any, Any]:
    """The policy that acts from NumPy, and where it is to act."""
    from purejaxrl_gae.environments import make_environment
    from purejaxrl_gae.runs.numpy_policy import load_policy
    from purejaxrl_gae.runs.playing import check_policy_fits

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

    from purejaxrl_gae.program import training
    from purejaxrl_gae.runs.numpy_policy import load_policy
    from purejaxrl_gae.runs.policy_file import policy_bytes

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
