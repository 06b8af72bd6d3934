"""Dictionaries of observations, masks and every kind of action through whole updates."""

import io
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import PPOConfig, TRPOConfig, UserError, make_agent
from purejaxrl_gae.environments import (
    BinaryActions,
    BoxActions,
    DiscreteActions,
    Environment,
    MultiDiscreteActions,
    Step,
    joint_actions,
)
from purejaxrl_gae.program import algorithms, training
from purejaxrl_gae.program.actor_critic import make_actor_critic
from purejaxrl_gae.program.observed import Seen
from purejaxrl_gae.runs.policies import load_policy
from purejaxrl_gae.runs.policy_file import make_policy_writer

THREE = DiscreteActions(3)
JOINT = joint_actions(
    {
        "aim": MultiDiscreteActions((3, 2)),
        "move": (BoxActions((2, 1), (-1.0, -1.0), (1.0, 2.0))),
        "switch": joint_actions((BinaryActions((2,)), DiscreteActions(2))),
    }
)
REAL, BOOL = (lambda n: jax.ShapeDtypeStruct((n,), jnp.float32)), (lambda n: jax.ShapeDtypeStruct((n,), bool))


def wandering(actions=THREE, taken_apart=False, mask=None):
    """Four numbers that wander, seen as one array or as two leaves; pays for the sign of the first.

    Args:
      actions: the space; what pays is the first number of an action.
      taken_apart: a dictionary of two halves.
      mask: a function of `[N, 4]` numbers to `[N, n]` allowed actions, which is a leaf then.
    """

    def observe(numbers):
        if not taken_apart:
            return numbers
        leaves = {"left": numbers[:, :2], "right": numbers[:, 2:]}
        return leaves if mask is None else {"action_mask": mask(numbers), **leaves}

    def reset(key, num_envs):
        numbers = jax.random.normal(key, (num_envs, 4))
        return numbers, observe(numbers)

    def step(key, numbers, actions):
        first = jax.tree.leaves(actions)[0].reshape(numbers.shape[0], -1)[:, 0]
        rewards = (first == (numbers[:, 0] > 0)).astype(jnp.float32)
        final = 0.9 * numbers + 0.3 * jax.random.normal(key, numbers.shape)
        truncated = final[:, 1] > 0.7
        following = jnp.where(truncated[:, None], 0.0, final)
        return Step(following, observe(following), rewards, jnp.zeros_like(truncated), truncated, observe(final))

    types = {"left": REAL(2), "right": REAL(2)} if taken_apart else (4,)
    if mask is not None:
        types["action_mask"] = BOOL(actions.num_outputs)
    return Environment("wandering", types, actions, None, reset, step)


def everything(numbers):
    return jnp.ones((numbers.shape[0], 3), bool)


def changing(numbers):
    """One or two of three actions, from state to state others."""
    return jnp.stack([numbers[:, 2] > 0, jnp.ones(numbers.shape[0], bool), numbers[:, 3] > 0.3], axis=-1)


SMALL = dict(num_envs=4, num_steps=8, hidden_sizes=(8,), total_timesteps=64, normalize_observations=True)
PPO = dict(**SMALL, num_minibatches=2, update_epochs=2)


def trained(config):
    return jax.jit(algorithms.make_train(config))(jax.random.key(0))


@pytest.fixture(scope="module")
def flat():
    return trained(PPOConfig(env=wandering(), **PPO))


def assert_same_bits(found, wanted):
    jax.tree.map(np.testing.assert_array_equal, found.state.learner.params, wanted.state.learner.params)
    jax.tree.map(np.testing.assert_array_equal, found.metrics, wanted.metrics)


def assert_same(found, wanted):
    """To the bit as XLA compiles by default; in tests it fuses less and computes the last bits in another order."""
    np.testing.assert_array_equal(found.metrics["episodes"], wanted.metrics["episodes"])
    pairs = (found.state.learner.params, wanted.state.learner.params), (found.metrics, wanted.metrics)
    for own, theirs in pairs:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), own, theirs)


def test_a_dictionary_of_a_flat_observation_trains_as_the_flat_one(flat):
    found = trained(PPOConfig(env=wandering(taken_apart=True), **PPO))
    assert_same(found, flat)
    moments = found.state.learner.normalizers.observations
    together = np.concatenate([moments["left"].mean, moments["right"].mean])
    np.testing.assert_allclose(together, flat.state.learner.normalizers.observations.mean, rtol=1e-5)


def test_a_mask_that_allows_everything_changes_nothing(flat):
    found = trained(PPOConfig(env=wandering(taken_apart=True, mask=everything), **PPO))
    assert found.state.learner.normalizers.observations["action_mask"] is None
    assert_same(found, flat)


def test_one_choice_of_multi_discrete_trains_to_the_bits_of_discrete(flat):
    assert_same_bits(trained(PPOConfig(env=wandering(MultiDiscreteActions((3,))), **PPO)), flat)


def test_trpo_steps_within_its_region_under_masks_that_change():
    config = TRPOConfig(env=wandering(taken_apart=True, mask=changing), **SMALL, batch_size=16, n_critic_updates=1)
    metrics = trained(config).metrics
    kept = {name: values for name, values in metrics.items() if not name.startswith(("episodic", "score"))}
    assert all(np.isfinite(values).all() for values in kept.values())
    assert np.all(metrics["kl"] <= 0.01) and np.any(metrics["kl"] > 0.0) and np.all(metrics["xhx"] > 0.0)


ALGORITHMS = ("ppo", "trpo", "a2c", "reinforce", "off_policy")
SPACES = {
    "masked": wandering(taken_apart=True, mask=changing),
    "multi_discrete_masked": wandering(
        MultiDiscreteActions((2, 3)), True, lambda numbers: jnp.ones((numbers.shape[0], 5), bool)
    ),
    "joint": wandering(JOINT, taken_apart=True),
}


def pictures():
    """Shows a picture of uint8 beside two numbers, which stay as they are."""

    def shown(numbers):
        pixels = jnp.zeros((numbers.shape[0], 10, 10, 2), jnp.uint8)
        return {"picture": pixels, "place": numbers}

    def reset(key, num_envs):
        numbers = jnp.zeros((num_envs, 2))
        return numbers, shown(numbers)

    def step(key, numbers, actions):
        never = jnp.zeros(numbers.shape[0], bool)
        return Step(numbers, shown(numbers), numbers[:, 0], never, ~never, shown(numbers))

    types = {"picture": jax.ShapeDtypeStruct((10, 10, 2), jnp.uint8), "place": REAL(2)}
    return Environment("pictures", types, THREE, None, reset, step)


# The rows of the table in docs/spaces.md: an environment, and fields of the config.
ROWS = {
    "one array of numbers; discrete actions": (wandering(), {}),
    "real actions within bounds, `clip`": (wandering(BoxActions((2,), (-1.0, -1.0), (1.0, 2.0))), {}),
    "real actions within bounds, `tanh`": (
        wandering(BoxActions((2,), (-1.0, -1.0), (1.0, 2.0))),
        {"action_bounds": "tanh"},
    ),
    "binary actions": (wandering(BinaryActions((3,))), {}),
    "a picture of uint8 beside numbers, behind convolutions": (pictures(), {"encoder": "minatar_cnn"}),
    "dictionary or tuple of observations, with an action mask": (SPACES["masked"], {}),
    "several discrete numbers at once, with a mask": (SPACES["multi_discrete_masked"], {}),
    "dictionary or tuple of actions: discrete, several discrete, binary, real": (SPACES["joint"], {}),
    "the same with memory": (SPACES["joint"], {"memory": "gru", "memory_size": 4}),
    "dictionary of observations, a mask, and memory": (SPACES["masked"], {"memory": "lstm", "memory_size": 4}),
}


def assert_an_update_keeps_its_form(algorithm, environment, changes):
    """Traced: an update's state has the form it had, so that it can be scanned."""
    config = algorithms.config_class(algorithm)(env=environment, num_envs=4, num_steps=8, hidden_sizes=(8,), **changes)
    changes = {"num_minibatches": 2, "batch_size": 16}
    values = {name: value for name, value in changes.items() if hasattr(config, name)}
    made = algorithms.make_algorithm(type(config)(**{**vars(config), **values}))
    state = jax.eval_shape(lambda key: training.init_state(made, key, made.hyperparameters), jax.random.key(0))
    after, _ = jax.eval_shape(lambda state: training.reported_update(made, made.hyperparameters, state), state)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_takes_every_space(algorithm, row):
    assert_an_update_keeps_its_form(algorithm, *ROWS[row])


@pytest.mark.parametrize("algorithm", ["ppo", "a2c", "off_policy"])
def test_one_trunk_with_memory_takes_masks_too(algorithm):
    changes = {"memory": "gru", "memory_size": 4, "network": "shared"}
    assert_an_update_keeps_its_form(algorithm, SPACES["masked"], changes)


def test_the_page_has_a_row_for_each_of_these_and_no_other():
    lines = (Path(__file__).parents[2] / "docs" / "spaces.md").read_text().splitlines()
    begin = lines.index("| space | PPO | TRPO | A2C | REINFORCE | off-policy |")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[begin + 2 :]]
    rows = rows[: next(index for index, cells in enumerate(rows) if len(cells) != 6)]
    assert rows == [[row, *["yes"] * len(ALGORITHMS)] for row in ROWS]


def network(types, actions=THREE, **changes):
    choices = dict(shared=False, hidden_sizes=(8,), activation="tanh", learn_std=True, log_std_init=0.0)
    return make_actor_critic(types, actions, **{**choices, **changes})


def test_a_privileged_critic_sees_what_the_policy_does_not():
    types = {"hidden": REAL(2), "seen": REAL(3)}
    both = network(types, seen=Seen(policy=("seen",)))
    params = both.init(jax.random.key(0))
    observations = {"hidden": jnp.ones((1, 2)), "seen": jnp.ones((1, 3))}
    of_policy = jax.grad(lambda each: jnp.sum(both.policy(params, each).logits[0, 0]))(observations)
    of_value = jax.grad(lambda each: jnp.sum(both.value(params, each)))(observations)
    assert not np.any(of_policy["hidden"]) and np.all(of_policy["seen"])
    assert np.all(of_value["hidden"]) and np.all(of_value["seen"])


def test_a_privileged_critic_explains_what_one_with_the_policys_eyes_cannot():
    halves = wandering(taken_apart=True)

    def pays_for_the_left(key, numbers, actions):
        return halves.step(key, numbers, actions)._replace(rewards=numbers[:, 0])

    environment = Environment(**{**vars(halves), "step": pays_for_the_left})
    half = dict(env=environment, gamma=0.9, policy_observations=("right",))
    longer = dict(num_envs=16, num_steps=32, total_timesteps=512 * 24, hidden_sizes=(16,), learning_rate=3e-3)

    def explained(**seen):
        found = trained(PPOConfig(**half, **longer, num_minibatches=4, **seen))
        return float(np.mean(found.metrics["explained_variance"][-8:]))

    privileged, blind = explained(), explained(value_observations=("right",))
    assert privileged > 0.4 and privileged > blind + 0.3


def test_an_image_among_the_leaves_goes_through_the_convolutions_and_the_others_beside_them():
    types = {"grid": jax.ShapeDtypeStruct((4, 4, 2), np.uint8), "speed": REAL(3), "age": REAL(1)}
    made = network(types, encoder="minatar_cnn", seen=Seen(value=("speed",)))
    params = made.init(jax.random.key(0))
    assert params["policy"]["mlp"]["Dense_0"]["kernel"].shape[0] == 2 * 2 * 16 + 3 + 1
    assert params["value"]["Dense_0"]["kernel"].shape[0] == 3
    observations = {"grid": jnp.ones((2, 4, 4, 2), jnp.uint8), "speed": jnp.ones((2, 3)), "age": jnp.ones((2, 1))}
    slopes = jax.grad(lambda age: jnp.sum(made.policy(params, {**observations, "age": age}).logits[:, 0]))(
        observations["age"]
    )
    assert np.all(slopes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(seen=Seen(policy=("speeed",))), "policy_observations has 'speeed', which is no leaf of the observations"),
        (dict(shared=True, seen=Seen(policy=("speed",))), "with network = shared they must be the same"),
        (dict(encoder="minatar_cnn"), r"needs one leaf \[H, W, C\] among those a network sees"),
    ],
)
def test_a_wrong_choice_of_leaves_is_refused_in_one_line(changes, message):
    with pytest.raises(UserError, match=message):
        network({"speed": REAL(3), "age": REAL(1)}, **changes)


def test_a_mask_that_does_not_fit_is_refused_and_one_of_another_name_is_found():
    environment = wandering(taken_apart=True, mask=everything)
    with pytest.raises(UserError, match=r"action_mask of wandering is 'left' of shape \[2\]; for its actions, 3 disc"):
        make_agent(PPOConfig(env=Environment(**{**vars(environment), "action_mask": "left"}), **PPO))
    with pytest.raises(UserError, match="action_mask of wandering is 'legal', which is no leaf of its observations"):
        make_agent(PPOConfig(env=Environment(**{**vars(environment), "action_mask": "legal"}), **PPO))


@pytest.mark.parametrize("space", SPACES)
def test_numpy_acts_from_a_policy_file_as_the_agent_does(space):
    environment = SPACES[space]
    agent = make_agent(PPOConfig(env=environment, action_bounds="scale" if space == "joint" else "clip", **PPO))
    state = agent.init(jax.random.key(0))
    observations = jax.device_get(environment.reset(jax.random.key(1), 7)[1])
    _, contents = make_policy_writer(agent.algorithm.setup, state.learner)
    policy = load_policy(io.BytesIO(contents(state.learner)))
    wanted = agent.policy(state).act(observations)
    jax.tree.map(
        lambda own, theirs: np.testing.assert_allclose(own, theirs, atol=1e-5), policy.act(observations), wanted
    )
    one = policy.act(jax.tree.map(lambda leaf: leaf[3], observations), np.random.default_rng(0))
    assert jax.tree.map(np.shape, one) == jax.tree.map(lambda leaf: np.shape(leaf)[1:], wanted)
    if space == "masked":
        drawn = policy.act(observations, np.random.default_rng(1))
        assert np.all(observations["action_mask"][np.arange(7), drawn])
