"""python -m purejaxrl_gae.evaluate: scores a policy on fresh episodes, or plays one and draws it.

The policy is a run's (`--run-dir`) or that of a file alone (`--policy`).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from purejaxrl_gae.settings import trust
from purejaxrl_gae.settings.config import ENVIRONMENT_FIELDS, TrainingConfig, with_values
from purejaxrl_gae.settings.errors import UserError, first_line, shown
from purejaxrl_gae.settings.fields import check_types, require_between, require_name

MOST_EPISODES = 1_000_000
Acting = Callable[[bool], Any]  # deterministic -> player.Actor


@dataclass(frozen=True)
class EvaluateOptions:
    """Scores the policy of a run's newest readable checkpoint, or of a file; or writes an animation of it."""

    run_dir: Path | None = None
    """folder of the run"""
    policy: Path | None = None
    """a policy.npz or policy.stablehlo instead of a run"""
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
        raise UserError("name a run with --run-dir, or the file of a policy with --policy, and not both")
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
    from purejaxrl_gae.runs.playing import make_evaluator
    from purejaxrl_gae.runs.programs import stack_of_one

    assert options.run_dir is not None
    algorithm, restored, num_seeds = _restored(options.run_dir, options.trust)
    evaluator, learners = make_evaluator(algorithm.setup, num_seeds, options.episodes), restored.state.learner
    if num_seeds == 1:
        learners = stack_of_one(learners)

    def play(deterministic: bool) -> Any:
        return evaluator(learners, np.full(num_seeds, options.seed), deterministic)

    names = algorithm.setup.config.seed + np.arange(num_seeds)
    return {"run_dir": str(options.run_dir), "env_steps": restored.step, **_scores(play, options.stochastic, names)}


def evaluate_policy(options: EvaluateOptions) -> dict[str, Any]:
    """Plays whole episodes with the policy of a file.

    Returns:
      What was played and its scores, see `_scores`.

    Raises:
      UserError: the file holds no policy, or one that does not fit the environment.
    """
    from purejaxrl_gae.runs.playing import key_of_seed, play_from_host

    acting, environment = _of_file(options)

    def play(deterministic: bool) -> Any:
        return play_from_host(environment, acting(deterministic), key_of_seed(options.seed), options.episodes)

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
    from purejaxrl_gae.runs.playing import key_of_seed, record_episode

    assert options.render is not None
    check_output(options.render, options.fps)
    draw_without_screen()
    acting, environment = _of_file(options) if options.run_dir is None else _of_run(options)
    actor = acting(not options.stochastic)
    episode = record_episode(environment, actor, key_of_seed(options.seed), options.max_frames)
    captions = [f"step {step}   return {value:.1f}" for step, value in enumerate(episode.returns)]
    write_animation(options.render, episode.frames, captions, options.fps)
    return {
        "render": str(options.render),
        "env": environment.name,
        "seed": options.seed,
        "steps": len(episode.frames),
        "return": episode.total,
        "finished": episode.finished,
    }


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
    """Returns a run's algorithm, its newest readable checkpoint, and its number of seeds."""
    from purejaxrl_gae.runs import saved
    from purejaxrl_gae.runs.compilation_cache import use_compilation_cache

    use_compilation_cache()
    return saved.restore(run_dir, trusted=trusted)


def _of_file(options: EvaluateOptions) -> tuple[Acting, Any]:
    """Returns the policy of a file, and where it is to act."""
    import jax

    from purejaxrl_gae.environments import make_environment
    from purejaxrl_gae.program.player import Actor, without_memory
    from purejaxrl_gae.runs.numpy_policy import NumpyPolicy
    from purejaxrl_gae.runs.playing import check_policy_fits
    from purejaxrl_gae.runs.policies import load_policy

    assert options.policy is not None
    try:
        policy: Any = load_policy(options.policy)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"policy is {shown(str(options.policy))}, which cannot be read: {reason}") from None
    where = _where(options, policy.environment)
    if not where:
        raise UserError(f"policy is {str(options.policy)!r}, which does not say where it was trained; add --env")
    environment = make_environment(**where)
    check_policy_fits(policy, environment)

    def chance(deterministic, key):
        if deterministic:
            return None
        return np.random.default_rng(np.asarray(jax.random.key_data(key))) if isinstance(policy, NumpyPolicy) else key

    def act(deterministic, observations, key):
        return policy.act(jax.device_get(observations), chance(deterministic, key))

    def act_and_remember(deterministic, observations, memory, starts, key):
        begun = jax.tree.map(partial(_where_begun, starts), policy.initial_memory(len(starts)), memory)
        return policy.act(jax.device_get(observations), begun, chance(deterministic, key))

    if hasattr(policy, "initial_memory"):
        return lambda deterministic: Actor(partial(act_and_remember, deterministic), policy.initial_memory), environment
    return lambda deterministic: without_memory(partial(act, deterministic)), environment


def _where_begun(starts: Any, fresh: np.ndarray, held: Any) -> np.ndarray:
    """Returns an array of memory `[N, ...]`, that of a new episode where one begins."""
    return np.where(np.reshape(starts, (-1, *(1,) * (fresh.ndim - 1))), fresh, held)


def _where(options: EvaluateOptions, trained_in: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `make_environment`: what the flags say, or else the policy."""
    if options.env is not None:
        return {"env": options.env}
    values = trust.vouched(trained_in) if options.trust else trained_in
    source = f"policy {shown(str(options.policy))}"
    checked = with_values(TrainingConfig(), values, source)
    if not isinstance(checked.env, str):
        raise UserError(f"{source}: env is {shown(checked.env)}; it must be the name of an environment")
    others = values.keys() - set(ENVIRONMENT_FIELDS)
    if others:
        raise UserError(
            f"{source} says {shown(min(others))} of its environment; it may say {', '.join(ENVIRONMENT_FIELDS)}"
        )
    try:
        checked.validate()
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    return {name: getattr(checked, name) for name in values}


def _of_run(options: EvaluateOptions) -> tuple[Acting, Any]:
    """Returns the policy of a run, of several seeds the first one's, and where it is to act."""
    import jax

    from purejaxrl_gae.program import player, preparing
    from purejaxrl_gae.runs.playing import actor_of
    from purejaxrl_gae.runs.programs import agent_of

    assert options.run_dir is not None
    algorithm, restored, num_seeds = _restored(options.run_dir, options.trust)
    learner = restored.state.learner if num_seeds == 1 else agent_of(restored.state.learner)
    learner, act = jax.device_put(learner), jax.jit(partial(player.act, algorithm.setup), static_argnums=4)
    environment = preparing.unstaggered_environment(algorithm.setup)
    return lambda deterministic: actor_of(algorithm.setup, learner, deterministic, act), environment


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    from purejaxrl_gae.cli import parse_options, run_and_exit, show

    def play():
        show(json.dumps(evaluate(parse_options("evaluate", EvaluateOptions, arguments)), indent=2))

    run_and_exit(play)


if __name__ == "__main__":
    main()
