"""python -m purejaxrl_gae.evaluate --run-dir DIR: scores a run's policy on fresh episodes."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from purejaxrl_gae.errors import UserError


@dataclass(frozen=True)
class EvaluateOptions:
    """Scores the policy of a run folder with its newest readable checkpoint."""

    run_dir: Path
    """folder of the run"""
    episodes: int = 100
    """whole episodes to play, each in its own environment"""
    seed: int = 1
    """of starts and transitions"""


def evaluate_run(options: EvaluateOptions) -> dict[str, float | int | str]:
    """Plays whole episodes with the deterministic policy.

    Returns:
      What was played and its return: mean, standard deviation, smallest and largest.

    Raises:
      UserError: the folder holds no run or no checkpoint.
      RunError: no checkpoint fits.
    """
    import jax

    from purejaxrl_gae import algorithms, training
    from purejaxrl_gae.cli import saved_run
    from purejaxrl_gae.host.checkpoints import Checkpoints
    from purejaxrl_gae.host.display import Display
    from purejaxrl_gae.host.programs import make_evaluator, use_compilation_cache

    if options.episodes < 1:
        raise UserError(f"episodes is {options.episodes}; it must be at least 1")
    config, run_options = saved_run(options.run_dir)
    use_compilation_cache()
    algorithm = algorithms.make_algorithm(config)
    state_types = jax.eval_shape(
        lambda key: training.init_state(algorithm, key, algorithm.hyperparameters), jax.random.key(0)
    )
    checkpoints = Checkpoints(options.run_dir / "checkpoints", run_options.keep_checkpoints)
    restored = checkpoints.restore(state_types, Display(0, enabled=False).complain)
    if restored is None:
        raise UserError(f"run_dir is {str(options.run_dir)!r}, which has no checkpoint yet")
    evaluation = make_evaluator(algorithm, options.episodes)(restored.state.learner, options.seed)
    returns = np.asarray(evaluation.returns, np.float64)
    return {
        "run_dir": str(options.run_dir),
        "env_steps": restored.step,
        "episodes": len(returns),
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "return_min": float(np.min(returns)),
        "return_max": float(np.max(returns)),
        "episodic_length": float(np.mean(evaluation.lengths)),
    }


def main() -> None:
    """The command line."""
    from purejaxrl_gae.cli import parse_options, run_and_exit

    options = parse_options("evaluate", EvaluateOptions)
    run_and_exit(lambda: print(json.dumps(evaluate_run(options), indent=2)))


if __name__ == "__main__":
    main()
