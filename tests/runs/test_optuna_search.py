"""Optuna's proposals are of the dimensions asked for, and follow from the seed and what was told."""

import pytest

from purejaxrl_gae import PPOConfig
from purejaxrl_gae.runs.optuna_search import OptunaSearch
from purejaxrl_gae.settings.search_space import read_dimension

pytest.importorskip("optuna")

DIMENSIONS = [
    read_dimension(text, PPOConfig, "random")
    for text in (
        "learning_rate=log:1e-5:1e-2",
        "gamma=uniform:0.9:0.99",
        "update_epochs=int:1:8",
        "norm_adv=true,false",
    )
]


def rounds(score, seed=0, number=12):
    search = OptunaSearch(DIMENSIONS, seed)
    found = []
    for _ in range(3):
        found.append(search.ask(number))
        search.tell([score(point) for point in found[-1]])
    return found


def test_proposals_lie_in_their_dimensions():
    points = [point for some in rounds(lambda point: point["gamma"]) for point in some]
    assert all(1e-5 <= point["learning_rate"] <= 1e-2 and 0.9 <= point["gamma"] <= 0.99 for point in points)
    assert {type(point["update_epochs"]) for point in points} == {int}
    assert {point["norm_adv"] for point in points} == {True, False}


def test_the_same_answers_get_the_same_proposals_and_others_do_not():
    by_gamma = rounds(lambda point: point["gamma"])
    assert rounds(lambda point: point["gamma"]) == by_gamma
    others = rounds(lambda point: -point["gamma"])
    assert others[0] == by_gamma[0] and others[2] != by_gamma[2]


def test_configurations_that_diverged_are_told_too():
    assert len(rounds(lambda point: None if point["norm_adv"] else 1.0)) == 3
