"""python -m purejaxrl_gae.evaluate --run-dir DIR: scores a run's policy on fresh episodes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from purejaxrl_gae.errors import UserError


@dataclass(frozen=True)
class EvaluateOptions:
    """Scores the policy of a run folder with its newest readable checkpoint."""

    run_dir: Path
    """folder of the run"""
    episodes: int = 100
    """whole episodes to play, each in its own environment; for each seed of a run of several"""
    seed: int = 1
    """of starts and transitions"""


def evaluate_run(options: EvaluateOptions) -> dict[str, Any]:
    """Plays whole episodes with the deterministic policy, or with each of a run's several.

    Returns:
      What was played and its return: mean, standard deviation, smallest and largest; of several seeds over all of
      them, with each seed's mean and their IQM.

    Raises:
      UserError: the folder holds no run or no checkpoint.
      RunError: no checkpoint fits.
    """
    import jax

    from purejaxrl_gae import algorithms, training
    from purejaxrl_gae.cli import saved_run
    from purejaxrl_gae.host.checkpoints import Checkpoints
    from purejaxrl_gae.host.display import Display
    from purejaxrl_gae.host.programs import make_agents_evaluator, make_evaluator, use_compilation_cache
    from purejaxrl_gae.host.reports import statistics_of

    if options.episodes < 1:
        raise UserError(f"episodes is {options.episodes}; it must be at least 1")
    config, run_options = saved_run(options.run_dir)
    num_seeds = run_options.num_seeds
    use_compilation_cache()
    algorithm = algorithms.make_algorithm(config)

    def types(key):
        return training.init_state(algorithm, key, algorithm.hyperparameters)

    if num_seeds == 1:
        state_types = jax.eval_shape(types, jax.random.key(0))
    else:
        state_types = jax.eval_shape(jax.vmap(types), jax.random.split(jax.random.key(0), num_seeds))
    checkpoints = Checkpoints(options.run_dir / "checkpoints", run_options.keep_checkpoints)
    restored = checkpoints.restore(state_types, Display(0, enabled=False).complain)
    if restored is None:
        raise UserError(f"run_dir is {str(options.run_dir)!r}, which has no checkpoint yet")
    if num_seeds == 1:
        evaluation = make_evaluator(algorithm, options.episodes)(restored.state.learner, options.seed)
    else:
        evaluate_agents = make_agents_evaluator(algorithm, num_seeds, options.episodes)
        evaluation = evaluate_agents(restored.state.learner, np.full(num_seeds, options.seed))
    returns = np.asarray(evaluation.returns, np.float64)
    found = {
        "run_dir": str(options.run_dir),
        "env_steps": restored.step,
        "episodes": returns.size,
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "return_min": float(np.min(returns)),
        "return_max": float(np.max(returns)),
        "episodic_length": float(np.mean(evaluation.lengths)),
    }
    if num_seeds > 1:
        seed_means = returns.mean(axis=1)
        found["seeds"] = {config.seed + index: float(mean) for index, mean in enumerate(seed_means)}
        found["iqm"], *found["iqm_interval"] = statistics_of(seed_means)["iqm"]
    return found


def main() -> None:
    """The command line."""
    from purejaxrl_gae.cli import parse_options, run_and_exit

    options = parse_options("evaluate", EvaluateOptions)
    run_and_exit(lambda: print(json.dumps(evaluate_run(options), indent=2)))


if __name__ == "__main__":
    main()
