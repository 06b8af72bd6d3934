"""What a run says of itself at its beginning, and of the cause where it stopped."""

from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from purejaxrl_gae import A2CConfig, PPOConfig, kernels
from purejaxrl_gae.environments import DiscreteActions
from purejaxrl_gae.program.types import Counters, Setup, TrainState, World
from purejaxrl_gae.runs.announcements import became_nonfinite, how_to_evaluate, say_what_runs

NO_CHECKPOINTS = SimpleNamespace(steps=lambda: [])
UNMASKED = SimpleNamespace(name="maze", observations=np.zeros(3), actions=DiscreteActions(2), action_mask=None)
MASKED = SimpleNamespace(**{**vars(UNMASKED), "observations": {"action_mask": np.ones(2, bool)}})


def state(observation=0.0, running=0.0, finished=0.0, beyond=0.0, nonfinite_steps=0):
    """Two environments and one episode that has finished; `beyond` is no return of any."""
    observations, returns = np.full((2, 3), observation), np.array([0.0, running])
    world = World((), observations, returns, np.zeros(2, int), np.zeros(2), np.zeros(2, int))
    counters = Counters(np.int32(3), np.int32(1), np.int32(nonfinite_steps), np.int32(1), np.array([finished, beyond]))
    return TrainState(learner=(), world=world, counters=counters)


def line(*saved, healthy=(False,), environment=UNMASKED):
    agents, seeds = jax.tree.map(lambda *each: np.stack(each), *saved), 5 + np.arange(len(saved))
    setup = Setup(A2CConfig(seed=5), environment, None)
    error = str(became_nonfinite(setup, 3, seeds, np.array(healthy), agents, NO_CHECKPOINTS))
    assert "\n" not in error
    return error


@pytest.mark.parametrize(
    ("saved", "cause"),
    [
        (state(), "NaN or infinite; the run stops"),
        (state(beyond=np.nan), "NaN or infinite; the run stops"),
        (state(observation=np.nan), ", as observation of the environment is; "),
        (state(running=np.inf), ", as reward of the environment is; "),
        (state(finished=np.nan, nonfinite_steps=1), ", as reward of the environment is; "),
        (state(nonfinite_steps=4), ", as a reward or an observation of the environment was in 4 steps; "),
        (state(running=-1e30), ", as returns of the environment are as large as 1e+30 (--normalize-rewards scales"),
        (state(observation=1e30), ", as observations of the environment are as large as 1e+30 (--normalize-observ"),
    ],
)
def test_the_line_names_what_the_update_could_not_bear(saved, cause):
    assert cause in line(saved)


def test_observations_of_several_arrays_are_looked_at_too():
    one_array = state()
    leaves = {"image": np.zeros((2, 4), np.uint8), "speed": np.array([[0.0], [np.nan]], np.float32)}
    several = one_array.replace(world=one_array.world.replace(observations=leaves))
    assert ", as observation of the environment is; " in line(several)


def test_a_mask_that_may_have_allowed_no_action_is_named():
    cause = (
        ", as a reward or an observation of the environment was, or action_mask of maze allowed no action, in 4 steps"
    )
    assert cause in line(state(nonfinite_steps=4), environment=MASKED)


def test_of_several_agents_the_cause_is_that_of_the_first_that_stopped():
    said = line(state(), state(running=np.inf), healthy=(True, False))
    assert "seed 6 became NaN or infinite by update 3" in said
    assert ", as reward of the environment is; the run stops" in said


def notes_of(training_config, notes=()):
    said = []
    display = SimpleNamespace(say=lambda line: None, complain=said.append)
    say_what_runs(display, Setup(training_config, None, None, notes), np.array([0]), jax.devices()[:1], Path("run"))
    return said


def test_a_part_that_no_command_finds_again_is_named_at_the_beginning():
    assert notes_of(PPOConfig(objective=kernels.unclipped_loss, advantage="my_estimators:mine")) == []
    (note,) = notes_of(PPOConfig(objective=lambda advantages: -advantages.mean()))
    assert note.startswith("note: objective is test_announcements.") and "no command can resume" in note
    assert notes_of(PPOConfig(), ("of the setup",)) == ["note: of the setup"]
    assert notes_of(A2CConfig(advantage="td")) == ["note: advantage is 'td', which is called 'td_residual' now"]


def test_a_run_is_evaluated_by_command_only_where_the_command_finds_its_parts():
    path, policy = Path("a run"), Path("a run/policy.stablehlo")
    command = "python -m purejaxrl_gae.evaluate"
    assert how_to_evaluate(PPOConfig(), path, policy) == f"{command} --run-dir 'a run'"
    nameless = PPOConfig(network=lambda: None)
    assert how_to_evaluate(nameless, path, policy) == f"{command} --policy 'a run/policy.stablehlo'"
    in_python = "purejaxrl_gae.load('a run', config) in Python"
    assert how_to_evaluate(nameless, path, None) == in_python
    assert how_to_evaluate(PPOConfig(env=object()), path, policy) == in_python
