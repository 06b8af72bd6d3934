"""Options of runs and sweeps, checked before anything is made."""

import pytest

from purejaxrl_gae import PPOConfig
from purejaxrl_gae.runs import training_run
from purejaxrl_gae.runs.run_options import RunOptions
from purejaxrl_gae.settings.errors import UserError


def test_seeds_follow_one_another_up_to_the_largest():
    assert RunOptions(num_seeds=3).seeds_from(5).tolist() == [5, 6, 7]
    assert RunOptions(num_seeds=2).seeds_from(2**32 - 2).tolist() == [2**32 - 2, 2**32 - 1]


def test_seeds_that_would_begin_again_at_zero_are_refused_before_a_folder_is_made(tmp_path):
    path = tmp_path / "run"
    message = "seed is 4294967295 and num_seeds 4, so the last agent's seed would be 4294967298; it must be at most"
    with pytest.raises(UserError, match=message):
        training_run.run(PPOConfig(seed=2**32 - 1), RunOptions(run_dir=path, num_seeds=4))
    assert not path.exists()
