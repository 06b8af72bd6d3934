"""What scores say of a policy that plays otherwise sampled than by its mode, and of episodes that were cut."""

import numpy as np
import pytest

from purejaxrl_gae import PPOConfig
from purejaxrl_gae.program.player import Evaluation
from purejaxrl_gae.program.types import Counters
from purejaxrl_gae.runs import announcements, reports, scoring
from purejaxrl_gae.runs.display import Display
from purejaxrl_gae.runs.reports import Clock
from purejaxrl_gae.runs.scoring import Scores


def played(means, *, cut=0, episodes=100, deviation=2.0, length=10_000):
    """`[S, E]` episodes with these means, the first `cut` of each agent without an end."""
    spread = deviation * np.resize([-1.0, 1.0], episodes)
    finished = np.arange(episodes) >= cut
    shape = (len(means), episodes)
    return Evaluation(np.array(means)[:, None] + spread, np.full(shape, length), np.broadcast_to(finished, shape))


def test_means_differ_where_their_distance_is_more_than_three_standard_errors():
    assert scoring.differ(Scores(played([254.0, 100.0]), played([1405.0, 100.5]))).tolist() == [True, False]
    assert scoring.differ(Scores(played([1.0], deviation=0.0), played([1.0], deviation=0.0))).tolist() == [False]
    assert scoring.differ(Scores(played([1.0], episodes=1), played([9.0], episodes=1))).tolist() == [False]


def test_a_policy_that_is_another_one_sampled_is_told_in_one_line():
    assert scoring.notes(Scores(played([254.0]), played([1405.0]))) == [
        "the policy scores 254.0 by its mode and 1405.0 sampled, as it was trained (standard errors 0.2 and 0.2); "
        "they are two policies, and evaluate --stochastic plays the second"
    ]
    assert scoring.notes(Scores(played([254.0]), played([254.1]))) == []


def test_of_several_seeds_it_is_told_of_how_many():
    (note,) = scoring.notes(Scores(played([254.0, 300.0, 310.0]), played([1405.0, 300.0, 310.0])))
    assert note.startswith("1 of 3 policies score differently")


def test_episodes_that_were_cut_are_counted_with_what_would_end_them():
    (note,) = scoring.notes(Scores(played([-10_000.0], cut=100), played([-10_000.0], cut=7)))
    assert note.startswith("evaluation cut episodes after 10,000 steps, 100 of 100 by mode and 7 of 100 sampled: ")
    assert "--max-episode-steps" in note
    (note,) = scoring.cut_notes(sampled=played([0.0, 0.0], cut=3))
    assert note.startswith("evaluation cut episodes after 10,000 steps, 6 of 200 sampled: ")


def test_one_agents_evaluation_is_that_of_several_with_one():
    assert scoring.of_agents(Evaluation(np.ones(5), np.ones(5, int), np.ones(5, bool))).returns.shape == (1, 5)


@pytest.mark.parametrize("means", [[254.0], [254.0, 260.0]])
def test_the_summary_and_the_last_lines_hold_both_scores(means, capsys):
    one = np.ones(len(means), int)
    counters = Counters(one, one, one, one, np.ones((len(means), 100)))
    scores = Scores(played(means, cut=2), played([each + 1000.0 for each in means]))
    summary = reports.summary(PPOConfig(), Clock(), counters, 8, scores, np.arange(len(means)), 1)
    assert (summary["eval_return_mean"], summary["eval_sampled_return_mean"]) == (np.mean(means), np.mean(means) + 1e3)
    assert summary["eval_mode_and_sampled_differ"] is True
    assert (summary["eval_cut_episodes"], summary["eval_sampled_cut_episodes"]) == (2 * len(means), 0)
    if len(means) > 1:
        assert [row["eval_sampled_return_mean"] for row in summary["seeds"]] == [1254.0, 1260.0]
        assert summary["eval_sampled_return_over_seeds"]["mean"][0] == 1257.0
    announcements.say_how_it_ended(Display(1, enabled=False), summary, scores)
    shown = capsys.readouterr()
    assert "by mode" in shown.out and "sampled" in shown.out and "1254.0" in shown.out
    assert shown.err.count("note: ") == 2
