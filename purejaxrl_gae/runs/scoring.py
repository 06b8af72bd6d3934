"""The scores of a policy: by its mode, and sampled as it was trained. The two can be very different policies.

Where they differ beyond their errors, or where episodes were cut before their end, the scores say so themselves.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from purejaxrl_gae.program.player import Evaluation
from purejaxrl_gae.runs import statistics

CLEARLY = 3.0  # standard errors between two means that are not the same by chance
IN_WORDS = {"mode": "by mode", "sampled": "sampled"}


class Scores(NamedTuple):
    """Episodes played both ways, `[S, E]` of S agents.

    Attributes:
      mode: with the most probable action.
      sampled: with actions drawn from the policy.
    """

    mode: Evaluation
    sampled: Evaluation


def play_both_ways(evaluator: Callable[..., Evaluation], learners: Any, seeds: np.ndarray) -> Scores:
    """Plays by mode, then sampled, from the same starts.

    Args:
      evaluator: `(learners [S], seeds [S], deterministic) -> Evaluation [S, E]`.
      learners: of S agents.
      seeds: theirs.
    """
    return Scores(*(of_agents(evaluator(learners, seeds, deterministic)) for deterministic in (True, False)))


def of_agents(evaluation: Evaluation) -> Evaluation:
    """Returns the evaluation as NumPy arrays `[S, E]`, returns in float64; that of one agent with S = 1."""
    returns, lengths, finished = (np.atleast_2d(np.asarray(values)) for values in evaluation)
    return Evaluation(returns.astype(np.float64), lengths, finished)  # type: ignore[arg-type]


def differ(scores: Scores) -> np.ndarray:
    """Says, `[S]` bool, whether two means differ by more than three standard errors of their difference."""
    means = [np.asarray(each.returns).mean(axis=1) for each in scores]
    return np.abs(means[0] - means[1]) > CLEARLY * np.hypot(*(standard_error(each) for each in scores))


def standard_error(evaluation: Evaluation) -> np.ndarray:
    """Computes the standard error `[S]` of the mean return; infinite where one episode says nothing of it."""
    returns = np.asarray(evaluation.returns)
    episodes = returns.shape[1]
    return returns.std(axis=1, ddof=1) / np.sqrt(episodes) if episodes > 1 else np.full(len(returns), np.inf)


def cut(evaluation: Evaluation) -> int:
    """Counts the episodes that the evaluation's own limit cut before their end."""
    return int(np.sum(~np.asarray(evaluation.finished)))


def notes(scores: Scores) -> list[str]:
    """Says, in a line each, what the means alone would hide."""
    return [*cut_notes(**scores._asdict()), *_difference(scores)]


def cut_notes(**evaluations: Evaluation) -> list[str]:
    """Returns one line where episodes were cut, `name=evaluation`; none otherwise."""
    found = {name: each for name, each in evaluations.items() if cut(each)}
    if not found:
        return []
    numbers = (f"{cut(each)} of {np.size(each.finished)} {IN_WORDS[name]}" for name, each in found.items())
    longest = max(int(np.max(each.lengths)) for each in found.values())
    return [
        f"evaluation cut episodes after {longest:,} steps, {' and '.join(numbers)}: their returns are of those steps "
        "only; train with --max-episode-steps to give every episode an end"
    ]


def _difference(scores: Scores) -> list[str]:
    different = differ(scores)
    if not different.any():
        return []
    mode, sampled = (np.asarray(each.returns).mean(axis=1) for each in scores)
    advice = "; they are two policies, and evaluate --stochastic plays the second"
    if len(different) == 1:
        errors = [float(standard_error(each)[0]) for each in scores]
        return [
            f"the policy scores {mode[0]:.1f} by its mode and {sampled[0]:.1f} sampled, as it was trained (standard "
            f"errors {errors[0]:.1f} and {errors[1]:.1f}){advice}"
        ]
    iqms = [float(statistics.interquartile_mean(means[:, None])) for means in (mode, sampled)]
    return [
        f"{int(different.sum())} of {len(different)} policies score differently by their mode and sampled, as they "
        f"were trained, beyond the errors (IQM of all: {iqms[0]:.1f} and {iqms[1]:.1f}){advice}"
    ]
