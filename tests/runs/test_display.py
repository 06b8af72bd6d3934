"""Tables fit the terminal they are shown on."""

import pytest

from purejaxrl_gae import PPOConfig
from purejaxrl_gae.runs import sweep_results
from purejaxrl_gae.runs.display import Display, fitting


def test_columns_go_on_below_beside_the_first():
    assert fitting([4, 10, 10], 28) == [[0, 1, 2]]
    assert fitting([4, 10, 10, 10, 3], 28) == [[0, 1, 2], [0, 3, 4]]
    assert fitting([4, 90, 10], 28) == [[0, 1], [0, 2]]  # what fits nowhere is not cut


@pytest.mark.parametrize("fields", [["learning_rate"], ["learning_rate", "clip_coef", "value_trust_region", "gamma"]])
def test_a_sweeps_table_fits_eighty_columns_and_says_everything(fields, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    values = dict.fromkeys(fields, 0.00123)
    results = [
        {"values": values, "iqm": -1234.5, "interval": [-1300.25, -1200.75], "eval_returns": [-1400.0], "diverged": 0}
    ]
    Display(0, enabled=False).table(*sweep_results.table(PPOConfig(), results))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "…" not in text and text.count("0.00123") == len(fields)
    assert all(part in text for part in ("-1234.5", "[-1300.2, -1200.8]", "-1400.0", "diverged"))


def test_the_time_left_is_that_of_all_agents(capsys):
    Display(1000, enabled=True, agents=4).update(500, 100.0, 1.0, last=True)
    assert "time left 20 s" in capsys.readouterr().out
