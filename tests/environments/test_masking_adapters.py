"""pgx and Jumanji: observations with their masks, true final observations, ends of both kinds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import UserError
from purejaxrl_gae.environments import DiscreteActions, make_environment
from purejaxrl_gae.environments.structures import mask_name


def played(environment, steps, num_envs=3):
    """Legal actions drawn at random: the observations before each step, and the steps."""

    def one(carry, key):
        states, observations = carry
        logits = jnp.where(observations["action_mask"], 0.0, -jnp.inf)
        actions = jax.random.categorical(key, logits.reshape(num_envs, -1)).astype(jnp.int32)
        step = environment.step(key, states, actions)
        return (step.states, step.observations), (observations, step._replace(states=None))

    carry = environment.reset(jax.random.key(0), num_envs)
    return jax.device_get(
        jax.jit(lambda carry, keys: jax.lax.scan(one, carry, keys)[1])(
            carry, jax.random.split(jax.random.key(1), steps)
        )
    )


def check(environment, steps):
    observations, taken = played(environment, steps)
    ended = taken.terminated | taken.truncated
    assert ended.any() and mask_name(environment) == "action_mask"
    goes_on = ~ended

    def compare(following, final, before):
        np.testing.assert_array_equal(following[goes_on], final[goes_on])
        np.testing.assert_array_equal(following[:-1], before[1:])

    jax.tree.map(compare, taken.observations, taken.final_observations, observations)
    return observations, taken


def test_pgx_games_of_one_player():
    pytest.importorskip("pgx")
    environment = make_environment("pgx:2048")
    assert environment.actions == DiscreteActions(4)
    _, taken = check(environment, 400)
    assert taken.terminated.any() and not taken.truncated.any()
    final = taken.final_observations["observation"][taken.terminated]
    assert not np.any(final[..., 0]), "a lost game has no empty square"
    with pytest.raises(UserError, match=r"^env is 'pgx:go_9x9', a game of 2 players; it must be one of 1"):
        make_environment("pgx:go_9x9")


def test_jumanji_tells_time_limits_from_ends():
    pytest.importorskip("jumanji")
    environment = make_environment("jumanji:Game2048-v1")
    observations, taken = check(environment, 400)
    assert set(observations) == {"action_mask", "board"} and taken.terminated.any()
    assert np.all(taken.final_observations["board"][taken.terminated] > 0)
    maze = make_environment("jumanji:Maze-v0", env_args=("time_limit=5",))
    _, taken = check(maze, 12)
    assert taken.truncated.any() and maze.max_episode_steps == 5
    assert np.all(taken.truncated == (taken.final_observations["step_count"] == 5)), "also where its discount is 0"


def test_jumanji_numbers_masked_together_are_one_choice():
    pytest.importorskip("jumanji")
    environment = make_environment("jumanji:BinPack-v2")
    assert isinstance(environment.actions, DiscreteActions)
    sizes = environment.observations["action_mask"].shape
    assert environment.actions.n == sizes[0] * sizes[1] and mask_name(environment) == "action_mask"
