"""Ranking what came of a sweep's configurations, and the areas that decide between equals."""

import json

import numpy as np
import pytest

from purejaxrl_gae import PPOConfig
from purejaxrl_gae.runs import sweep_results
from purejaxrl_gae.runs.sweep_results import LearningCurves


def result(index, returns, area):
    of_seeds = np.full(len(returns), area)
    seeds = np.arange(len(returns))
    return sweep_results.result(index, {"gamma": 0.9}, seeds, np.array(returns), of_seeds, of_seeds, 512)


RESULTS = {
    0: result(0, [479.7, 500.0, 500.0, 500.0], 400.0),  # the IQM leaves its worst seed out
    1: result(1, [500.0, 500.0, 500.0, 500.0], 300.0),
    2: result(2, [500.0, 500.0, 500.0, 500.0], 350.0),
    3: result(3, [np.nan, 500.0, 500.0, 500.0], 499.0),
    4: result(4, [490.0, 490.0, 490.0, 490.0], 490.0),
}


def test_equal_iqms_are_ranked_by_the_lower_end_of_the_interval_and_then_by_the_area():
    assert RESULTS[0]["iqm"] == RESULTS[1]["iqm"] == 500.0
    assert [each["configuration"] for each in sweep_results.ranked(RESULTS)] == [2, 1, 0, 4, 3]


def test_results_of_an_older_sweep_are_ranked_without_an_area():
    older = {index: {name: value for name, value in each.items() if name != "area"} for index, each in RESULTS.items()}
    assert [each["configuration"] for each in sweep_results.ranked(older)] == [1, 2, 0, 4, 3]


def test_the_table_shows_what_it_is_ranked_by():
    titles, rows = sweep_results.table(PPOConfig(), sweep_results.ranked(RESULTS))
    assert titles == ("rank", "gamma", "IQM", "95% interval", "worst seed", "area", "diverged")
    assert rows[0] == (1, "0.9", "500.0", "[500.0, 500.0]", "500.0", "350.0", 0)


def test_the_area_is_the_mean_score_over_the_updates_since_the_first_episode_ended():
    curves = LearningCurves(2)
    curves.add(np.array([np.nan, np.nan]), 10)
    curves.add(np.array([100.0, np.nan]), 10)
    going_on = LearningCurves(2, json.loads(json.dumps(curves.state())))
    going_on.add(np.array([400.0, np.nan]), 20)
    np.testing.assert_array_equal(going_on.areas(), [300.0, np.nan])


@pytest.mark.parametrize(
    "damage",
    [
        {"env_steps": None},
        {"diverged": "none"},
        {"iqm": "500"},
        {"iqm": 10**400},
        {"interval": [1.0]},
        {"interval": [None, 2.0]},
        {"eval_returns": []},
        {"eval_returns": [True]},
        {"values": ["gamma"]},
        {"area": "large"},
        {"configuration": 0.5},
    ],
)
def test_a_result_that_cannot_be_ranked_or_shown_is_damaged(tmp_path, damage):
    path, said = tmp_path / "results.jsonl", []
    path.write_text("".join(json.dumps(each) + "\n" for each in (RESULTS[3], {**RESULTS[1], **damage}, RESULTS[2])))
    assert list(sweep_results.read(path, said.append)) == [3, 2]
    assert said == [f"line 2 of {path} cannot be read; their configurations are trained again"]


def test_results_of_other_values_or_seeds_do_not_count_for_a_sweep():
    stored = {index: RESULTS[index] for index in (0, 1, 2)} | {3: {**RESULTS[3], "seeds": [7, 8]}, -1: RESULTS[4]}
    configurations, said = [{"gamma": 0.9}, {"gamma": 0.99}, {"gamma": 0.9}, {"gamma": 0.9}, {"gamma": 0.9}], []
    taken = sweep_results.of_configurations(stored, configurations, 0, np.arange(4), said.append)
    assert sorted(taken) == [0, 2]
    assert said == ["2 results are of other values or seeds than sweep.yaml has; trained again"]
