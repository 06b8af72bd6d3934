"""Optuna as the source of configurations: it is asked for many, and told what became of all of them."""

from typing import Any

from purejaxrl_gae.settings.errors import UserError
from purejaxrl_gae.settings.search_space import Dimension


class OptunaSearch:
    """A study that maximises; the same answers to the same results, so a sweep can be resumed by telling it again.

    Args:
      dimensions: what to draw.
      seed: of the sampler.

    Raises:
      UserError: Optuna is not installed.
    """

    def __init__(self, dimensions: list[Dimension], seed: int):
        try:
            import optuna
        except ImportError:
            raise UserError("optuna_rounds needs Optuna: pip install 'purejaxrl-gae[sweep]'") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._failed = optuna.trial.TrialState.FAIL
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        self._dimensions = dimensions
        self._trials: list[Any] = []

    def ask(self, number: int) -> list[dict[str, Any]]:
        """Proposes that many configurations."""
        self._trials = [self._study.ask() for _ in range(number)]
        return [{each.name: _suggest(trial, each) for each in self._dimensions} for trial in self._trials]

    def tell(self, scores: list[float | None]) -> None:
        """Takes in what the configurations last asked for reached; None for those that diverged."""
        for trial, score in zip(self._trials, scores, strict=True):
            self._study.tell(trial, score, state=self._failed if score is None else None)


def _suggest(trial: Any, dimension: Dimension) -> Any:
    if dimension.choices:
        index = trial.suggest_categorical(dimension.name, list(range(len(dimension.choices))))
        return dimension.choices[index]
    if dimension.kind == "int":
        return trial.suggest_int(dimension.name, int(dimension.low), int(dimension.high))
    return trial.suggest_float(dimension.name, dimension.low, dimension.high, log=dimension.kind == "log")
