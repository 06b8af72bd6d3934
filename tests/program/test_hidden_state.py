"""A run that cannot see its state is told so, where that is known."""

import pytest

from purejaxrl_gae import PPOConfig
from purejaxrl_gae.environments.probes import MEMORY_PROBES
from purejaxrl_gae.program import hidden_state
from purejaxrl_gae.program.preparing import prepare

HIDING = {"env": "CartPole-v1", "observe": (0, 2)}


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"env": "MemoryChain-bsuite"}, "at an episode's begin what is asked for"),
        ({"env": "purejaxrl_gae.environments.probes:repeat_previous"}, "two steps before"),
        (HIDING, "observe leaves out 1, 3 of CartPole-v1, which is velocity; --memory gru"),
        ({"env": "Pendulum-v1", "observe": (0, 1)}, "observe leaves out 2 of Pendulum-v1"),
    ],
)
def test_what_is_hidden_is_said_without_memory_only(fields, said):
    (note,) = prepare(PPOConfig(**fields)).notes
    assert said in note
    assert not any(said in note for note in prepare(PPOConfig(**fields, memory="gru")).notes)


@pytest.mark.parametrize(
    "fields",
    [
        {"env": "CartPole-v1"},
        {**HIDING, "observe": (1, 3)},
        {**HIDING, "frame_stack": 4},
        {"env": MEMORY_PROBES["t_maze"]()},
    ],
)
def test_what_shows_its_state_or_is_not_known_gets_no_hint(fields):
    assert prepare(PPOConfig(**fields)).notes == ()


def test_every_probe_of_memory_is_known():
    assert {name.partition(":")[2] for name in hidden_state.SHOWN_ONCE if ":" in name} == set(MEMORY_PROBES)
