"""The policy player steps as gymnax does and acts as NumPy does, so whole episodes pay the same."""

import dataclasses
import json
import re

import gymnax
import jax
import numpy as np
import pytest

from purejaxrl_gae.runs.policy_json import policy_json
from tests.docs import browser
from tests.runs.json_policies import from_json, random_policy

FOLDER = browser.DOCS / "policy_player"
DYNAMICS, POLICY = FOLDER / "dynamics.js", FOLDER / "policy.js"
NAMES = ("CartPole-v1", "Pendulum-v1", "Acrobot-v1")
FIELDS = {  # of gymnax's states, in the order of ours
    "CartPole-v1": {"x": "x", "xDot": "x_dot", "theta": "theta", "thetaDot": "theta_dot"},
    "Pendulum-v1": {"theta": "theta", "thetaDot": "theta_dot"},
    "Acrobot-v1": {
        "theta1": "joint_angle1",
        "theta2": "joint_angle2",
        "velocity1": "velocity_1",
        "velocity2": "velocity_2",
    },
}
WIDTHS = {  # of states, some beyond what ends an episode and what is clipped
    "CartPole-v1": [2.5, 2.0, 0.23, 2.0],
    "Pendulum-v1": [9.0, 8.0],
    "Acrobot-v1": [3.1, 3.1, 12.0, 28.0],
}
STARTS = {"CartPole-v1": [0.03, -0.02, 0.01, 0.04], "Pendulum-v1": [2.5, 0.3], "Acrobot-v1": [0.05, -0.08, 0.02, 0.06]}
NUM_STATES = 100


def gymnax_step(name):
    """`(numbers [4 or 2], action) -> (numbers, observation before, reward, terminated)`, traced in float64."""
    env, params = gymnax.make(name)
    _, example = env.reset_env(jax.random.key(0), params)
    fields = FIELDS[name].values()

    def step(numbers, action):
        state = dataclasses.replace(example, **dict(zip(fields, numbers, strict=True)))
        _, after, reward, _, _ = env.step_env(jax.random.key(0), state, action, params)
        moved = jax.numpy.stack([getattr(after, field) for field in fields])
        return moved, env.get_obs(state), reward, env.is_terminated(after, params)

    return step


def random_steps(name):
    """States `[B, 4 or 2]` and actions, Pendulum's `[B, 1]`; some torques beyond the bounds."""
    rng = np.random.default_rng(0)
    states = rng.uniform(-1.0, 1.0, (NUM_STATES, len(WIDTHS[name]))) * WIDTHS[name]
    if name == "Pendulum-v1":
        return states, rng.uniform(-3.0, 3.0, (NUM_STATES, 1))
    return states, rng.integers(0, 2 if name == "CartPole-v1" else 3, NUM_STATES)


def shipped(name):
    """The shipped policy's JSON object."""
    return json.loads(re.fullmatch(r"addPolicy\((.*)\);\n", (FOLDER / "policies" / f"{name}.js").read_text())[1])


def in_bounds_and_out():
    """Policies of each activation, and of each way to the bounds."""
    rng = np.random.default_rng(1)
    policies = [random_policy(rng, activation=name) for name in ("tanh", "relu", "elu", "silu")]
    policies += [random_policy(rng, real_actions=True, action_bounds=name) for name in ("clip", "scale", "tanh")]
    return [*policies, random_policy(rng, normalized=False)]


POLICIES = in_bounds_and_out()
OBSERVATIONS = np.random.default_rng(2).normal(0.0, 2.0, (10, 3))

COMPUTE = """{
  const found = { steps: {}, episodes: {}, acts: [] };
  for (const [name, states, actions] of STEPS) {
    const { step, observe } = ENVIRONMENTS[name];
    found.steps[name] = states.map((state, i) => {
      const { state: after, reward, terminated } = step(state, actions[i]);
      return [Object.values(after), observe(state), reward, terminated];
    });
  }
  for (const [name, start] of STARTS) {
    const { rewards, terminated } = playEpisode(ENVIRONMENTS[name], start, (seen) => act(POLICIES[name], seen));
    found.episodes[name] = { rewards, terminated };
  }
  for (const policy of RANDOM_POLICIES.map(readPolicy)) {
    found.acts.push(OBSERVATIONS.map((seen) => [outputsOf(policy, seen), act(policy, seen)]));
  }
  return found;
}"""


def named(name, numbers):
    return dict(zip(FIELDS[name], np.asarray(numbers).tolist(), strict=True))


@pytest.fixture(scope="module")
def computed():
    steps = [
        [name, [named(name, state) for state in states], actions.tolist()]
        for name in NAMES
        for states, actions in [random_steps(name)]
    ]
    given = {
        "STEPS": steps,
        "STARTS": [[name, named(name, start)] for name, start in STARTS.items()],
        "RANDOM_POLICIES": [json.loads(policy_json(policy)) for policy in POLICIES],
        "OBSERVATIONS": OBSERVATIONS.tolist(),
    }
    inputs = "".join(f"const {name} = {json.dumps(values)};" for name, values in given.items())
    scripts = [DYNAMICS, POLICY, *(FOLDER / "policies" / f"{name}.js" for name in NAMES)]
    return browser.evaluate(scripts, COMPUTE.replace("{", f"{{{inputs}", 1))


@browser.needs_an_engine
@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_gymnaxs(computed, name):
    with jax.enable_x64(True):
        expected = jax.jit(jax.vmap(gymnax_step(name)))(*random_steps(name))
    for ours, theirs in zip(zip(*computed["steps"][name], strict=True), expected, strict=True):
        np.testing.assert_allclose(np.array(ours, float), np.asarray(theirs, float), atol=1e-10)
    ends = np.mean(expected[3])
    assert ends == 0.0 if name == "Pendulum-v1" else 0.05 < ends < 0.95


@browser.needs_an_engine
@pytest.mark.parametrize("name", NAMES)
def test_a_whole_episode_pays_what_it_pays_in_numpy(computed, name):
    policy, rewards, ended = from_json(shipped(name)), [], False
    found = computed["episodes"][name]
    with jax.enable_x64(True):
        step = jax.jit(gymnax_step(name))
        numbers, any_action = np.array(STARTS[name]), random_steps(name)[1][0]
        while len(rewards) < len(found["rewards"]) and not ended:
            action = policy.act(np.asarray(step(numbers, any_action)[1]))
            numbers, _, reward, ended = step(numbers, action)
            rewards.append(float(reward))
    assert len(rewards) == len(found["rewards"]) and bool(ended) == found["terminated"]
    np.testing.assert_allclose(rewards, found["rewards"], atol=1e-6)
    assert sum(rewards) == pytest.approx(sum(found["rewards"]), rel=1e-9)
    assert sum(rewards) > {"CartPole-v1": 499.0, "Pendulum-v1": -400.0, "Acrobot-v1": -110.0}[name]


@browser.needs_an_engine
@pytest.mark.parametrize("index", range(len(POLICIES)))
def test_a_policy_acts_as_in_numpy(computed, index):
    policy = POLICIES[index]
    outputs, actions = zip(*computed["acts"][index], strict=True)
    np.testing.assert_allclose(outputs, policy.outputs(OBSERVATIONS), atol=1e-10)
    np.testing.assert_allclose(actions, policy.act(OBSERVATIONS), atol=1e-10)


TRY_THE_PAGE = """{
  const found = {};
  const ink = () => {
    const { width, height } = byId("scene");
    return byId("scene").getContext("2d").getImageData(0, 0, width, height).data.some((each) => each > 0);
  };
  const state = () => Object.values(game.episode.state);
  game.isPaused = false;
  for (const button of byId("environments").children) {
    button.click();
    game.episode.state = ENVIRONMENTS[game.name].start(() => 0.4);
    for (let i = 0; i < 4; i++) advance(0.1);
    const before = state();
    byId("push-right").click();
    const right = state();
    byId("scene").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true }));
    found[button.textContent] = {
      before, right, back: state(), steps: game.episode.steps, pushes: game.episode.pushes, ink: ink(),
      rows: [byId("says").rows.length, byId("sees").rows.length],
    };
  }
  byId("environments").children[0].click();
  byId("actor").value = "random";
  byId("actor").dispatchEvent(new Event("change"));
  for (let i = 0; i < 60 && !game.finished.length; i++) advance(0.1);
  found.finished = byId("episodes").textContent;
  found.refused = [null, { ...OWN, format: 2 }, { ...OWN, environment: "Hopper" }, OTHER].map((values) => {
    try { addOwn(values); } catch (error) { return error.message; }
  });
  addOwn(OWN);
  found.own = [game.name, act(POLICIES[game.name], [0, 0, 0, 0])];
  found.nameless = [...document.querySelectorAll("button, select, input, canvas")].filter(
    (each) => !(each.textContent || each.getAttribute("aria-label") || each.labels?.length)).length;
  return found;
}"""


@pytest.fixture(scope="module")
def page():
    own = shipped("CartPole-v1")
    own["layers"][-1]["bias"] = [0.0, 100.0]  # always to the right
    other = {**shipped("Acrobot-v1"), "environment": "CartPole-v1"}
    inputs = f"const OWN = {json.dumps(own)}, OTHER = {json.dumps(other)};"
    return browser.evaluate_in_page(FOLDER / "index.html", TRY_THE_PAGE.replace("{", f"{{{inputs}", 1))


@browser.needs_chromium
@pytest.mark.parametrize("name", NAMES)
def test_the_page_plays_and_can_be_pushed(page, name):
    found = page[name]
    assert found["ink"] and found["pushes"] == 2 and found["steps"] >= 4
    assert found["before"] != found["right"] != found["back"]
    np.testing.assert_allclose(found["back"], found["before"], atol=1e-9)
    sees = len(shipped(name)["layers"][0]["kernel"])
    assert found["rows"] == [len(shipped(name)["layers"][-1]["bias"]), sees]


@browser.needs_chromium
def test_random_actions_let_the_pole_fall(page):
    assert re.match(r"Returns: \d+ \(terminated after \d+ steps\)", page["finished"])


@browser.needs_chromium
def test_a_policy_of_ones_own_plays_or_is_refused_in_words(page):
    assert page["own"] == ["CartPole-v1", 1]
    assert page["nameless"] == 0
    assert page["refused"] == [
        "it is no policy",
        "it is of format 2; this page reads format 1",
        "it is for Hopper; here are CartPole-v1, Pendulum-v1, Acrobot-v1",
        "its observations or actions are not those of CartPole-v1",
    ]
