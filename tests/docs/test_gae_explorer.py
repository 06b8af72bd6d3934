"""The GAE explorer's numbers are the kernels', in its arithmetic and on its page."""

import json
import re

import jax
import numpy as np
import pytest

from purejaxrl_gae import kernels
from tests.docs import browser

FOLDER = browser.DOCS / "gae_explorer"
STEPS, CASES, DRAWN_CASES = 10, 256, 30
NAMES = ("rewards", "values", "next_values", "terminated", "truncated")


def kernel_numbers(recordings, gamma, gae_lambda):
    """Each treatment's advantages and targets, `[T, N]`, in float64."""

    @jax.jit
    def all_treatments(rewards, values, next_values, terminated, truncated):
        def gae(terminated, truncated):
            known = (rewards, values, next_values, terminated, truncated)
            return kernels.gae(*known, gamma=gamma, gae_lambda=gae_lambda)

        return {
            "deltas": kernels.td_residuals(rewards, values, next_values, terminated, gamma=gamma),
            "correct": gae(terminated, truncated),
            "terminal": gae(terminated | truncated, truncated),
            "uncut": gae(terminated, np.zeros_like(recordings["truncated"])),
        }

    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, all_treatments(*(recordings[name] for name in NAMES)))


def stacked(cases):
    """Recordings of different lengths as `[T, N]`; zeros behind the end of one change nothing before it."""

    def column(case, name):
        return np.pad(case[name], (0, STEPS - len(case[name])))

    return {name: np.stack([column(case, name) for case in cases], axis=1) for name in NAMES}


def random_recordings(rng):
    """Every length, and all four pairs of flags."""
    lengths = rng.integers(1, STEPS + 1, CASES)
    reals = {name: [rng.normal(0.0, 3.0, length) for length in lengths] for name in NAMES[:3]}
    flags = {name: [rng.random(length) < 0.3 for length in lengths] for name in NAMES[3:]}
    return [{name: column[case] for name, column in {**reals, **flags}.items()} for case in range(CASES)]


def random_factors(rng):
    """Numbers in [0, 1], both ends among them."""
    return np.concatenate([[0.0, 1.0, 0.0, 1.0], rng.random(CASES - 4)])


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    gammas, lambdas = random_factors(rng), rng.permutation(random_factors(rng))
    return random_recordings(rng), gammas, lambdas


@pytest.fixture(scope="module")
def computed(drawn):
    recordings, gammas, lambdas = drawn
    given = [
        [{re.sub("_v", "V", name): part.tolist() for name, part in case.items()}, gamma, gae_lambda]
        for case, gamma, gae_lambda in zip(recordings, gammas, lambdas, strict=True)
    ]
    return browser.evaluate(
        [FOLDER / "estimators.js"],
        f"""{json.dumps(given)}.map(([recording, gamma, lambda]) => ({{
          correct: gae(recording, gamma, lambda),
          terminal: timeLimitAsTermination(recording, gamma, lambda),
          uncut: traceNotCut(recording, gamma, lambda),
          estimators: recording.rewards.map((_, t) => kStepEstimators(recording, t, gamma, lambda)),
        }}))""",
    )


@browser.needs_an_engine
def test_all_treatments_are_the_kernels(drawn, computed):
    recordings, gammas, lambdas = drawn
    expected = kernel_numbers(stacked(recordings), gammas, lambdas)
    for case, found in enumerate(computed):
        length = len(recordings[case]["rewards"])
        np.testing.assert_allclose(found["correct"]["deltas"], expected["deltas"][:length, case], atol=1e-12)
        for treatment in ("correct", "terminal", "uncut"):
            for ours, theirs in zip(("advantages", "targets"), expected[treatment], strict=True):
                np.testing.assert_allclose(found[treatment][ours], theirs[:length, case], atol=1e-10)


@browser.needs_an_engine
@pytest.mark.parametrize("k", [1, 3, 10])
def test_k_step_estimators_are_the_kernels(drawn, computed, k):
    recordings, gammas, _ = drawn
    with jax.enable_x64(True):
        known = [stacked(recordings)[name] for name in NAMES]
        expected = np.asarray(kernels.k_step_advantages(*known, k=k, gamma=gammas))
    for case, found in enumerate(computed):
        ours = [estimators[min(k, len(estimators)) - 1]["advantage"] for estimators in found["estimators"]]
        np.testing.assert_allclose(ours, expected[: len(ours), case], atol=1e-10)


@browser.needs_an_engine
def test_the_weighted_mean_of_the_estimators_is_the_advantage(computed):
    for found in computed:
        weights = [[each["weight"] for each in estimators] for estimators in found["estimators"]]
        means = [sum(each["weight"] * each["advantage"] for each in estimators) for estimators in found["estimators"]]
        np.testing.assert_allclose([sum(each) for each in weights], 1.0)
        np.testing.assert_allclose(means, found["correct"]["advantages"], atol=1e-10)


def random_episodes(rng):
    """Episodes as the page keeps them: one end a step, any length of the rollout."""
    return [
        {
            "rewards": rng.normal(size=STEPS).round(1).tolist(),
            "values": rng.normal(size=STEPS + 1).round(1).tolist(),
            "finalValues": rng.normal(size=STEPS).round(1).tolist(),
            "ends": rng.choice(["none", "none", "terminated", "truncated"], STEPS).tolist(),
            "length": int(rng.integers(1, STEPS + 1)),
            "gamma": round(rng.random(), 2),
            "lambda": round(rng.random(), 2),
        }
        for _ in range(DRAWN_CASES)
    ]


def recording_of(episode):
    length, ends = episode["length"], np.array(episode["ends"])
    successors = np.where(ends == "truncated", episode["finalValues"], episode["values"][1:])
    columns = (episode["rewards"], episode["values"], successors, ends == "terminated", ends == "truncated")
    return {name: np.asarray(column)[:length] for name, column in zip(NAMES, columns, strict=True)}


TRY_THE_PAGE = """{
  const numbers = (row) => [...row.cells].slice(1).map((cell) => Number(cell.dataset.number));
  const table = () => [...byId("numbers").rows].map(numbers);
  const click = (selector) => document.querySelector(selector).click();
  const press = (key, shiftKey = false) =>
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey, bubbles: true }));
  const found = { presets: {} };
  for (const name of Object.keys(PRESETS)) {
    click(`[data-preset=${name}]`);
    found.presets[name] = table();
  }
  found.shown = [...document.querySelectorAll("#presets [aria-pressed=true]")].map((button) => button.dataset.preset);
  click("[data-preset=one]");
  document.querySelector("#rewards [tabindex='0']").focus();
  press("ArrowUp");
  press("ArrowRight");
  press("ArrowDown", true);
  press("ArrowLeft");
  press("ArrowLeft");
  press("ArrowUp");
  found.moved = state.episode.rewards.slice(0, 3);
  const dot = byId("values").querySelectorAll(".handle")[1];
  const middle = ({ left, top, width, height }) => ({ clientX: left + width / 2, clientY: top + height / 2 });
  const at = middle(dot.querySelector(".value").getBoundingClientRect());
  dot.setPointerCapture = () => {};
  const finger = (type, y) =>
    new PointerEvent(type, { pointerId: 1, bubbles: true, clientX: at.clientX + 3, clientY: at.clientY + y });
  byId("values").querySelectorAll(".handle .final")[1].parentNode.dispatchEvent(finger("pointerdown", 0));
  dot.dispatchEvent(finger("pointermove", 40));
  dot.dispatchEvent(finger("lostpointercapture", 40));
  found.dragged = [state.episode.values[1], state.episode.finalValues[1]];
  click("[aria-label='terminated after step 1']");
  click("[aria-label='rollout ends after step 5']");
  found.ended = { end: state.episode.ends[1], length: state.episode.length, rows: table().length };
  click("[aria-label='time limit after step 2']");
  found.final = [state.episode.finalValues[2], state.episode.values[3]];
  found.nameless = [...document.querySelectorAll("button, [role=slider], input")].filter(
    (each) => !(each.textContent || each.getAttribute("aria-label") || each.labels?.length)).length;
  found.tables = EPISODES.map((episode) => {
    state.episode = episode;
    draw();
    return table();
  });
  return found;
}"""


@pytest.fixture(scope="module")
def episodes():
    return random_episodes(np.random.default_rng(1))


@pytest.fixture(scope="module")
def page(episodes):
    script = TRY_THE_PAGE.replace("EPISODES", json.dumps(episodes))
    return browser.evaluate_in_page(FOLDER / "index.html", script)


@browser.needs_chromium
def test_the_table_shows_the_kernels_numbers(page, episodes):
    gammas, lambdas = (np.array([episode[name] for episode in episodes]) for name in ("gamma", "lambda"))
    expected = kernel_numbers(stacked([recording_of(episode) for episode in episodes]), gammas, lambdas)
    columns = [expected["deltas"], *expected["correct"], expected["terminal"][0], expected["uncut"][0]]
    for case, table in enumerate(page["tables"]):
        assert len(table) == episodes[case]["length"]
        rows = np.stack([column[: len(table), case] for column in columns], axis=1)
        np.testing.assert_allclose(np.array(table)[:, 3:], rows, atol=1e-10)


@browser.needs_chromium
def test_a_button_shows_the_case_that_tells_the_treatments_apart(page):
    table = np.array(page["presets"]["one"])
    np.testing.assert_allclose(table[:, 4], [0.3973325, 0.465, -0.029405, -0.01], atol=1e-9)
    np.testing.assert_allclose(table[:, 5], [5.3973325, 4.465, 2.970595, 1.99], atol=1e-9)
    np.testing.assert_allclose(table[:, 6], [-2.8615, -3.0, -0.029405, -0.01], atol=1e-9)
    assert page["shown"] == ["all"]  # the one pressed last


@browser.needs_chromium
def test_examples_show_what_they_say(page):
    endless, leak = np.array(page["presets"]["endless"]), np.array(page["presets"]["leak"])
    np.testing.assert_allclose(endless[:, 4], 0.0, atol=1e-12)
    np.testing.assert_allclose(endless[[4, 9], 6], -9.0)
    np.testing.assert_allclose(leak[:5, 4], 0.0, atol=1e-12)
    assert np.all(leak[:5, 7] > 0.5)
    assert np.all(np.diff(np.array(page["presets"]["goal"])[:, 4]) > 0.0)


@browser.needs_chromium
def test_keys_and_buttons_change_the_episode(page):
    assert page["moved"] == [1.2, 0.0, 1.0]
    assert page["ended"] == {"end": "terminated", "length": 6, "rows": 6}
    assert page["final"][0] == page["final"][1]  # a new time limit keeps the value that stood behind the step
    assert page["nameless"] == 0


@browser.needs_chromium
def test_a_finger_moves_what_lies_nearest(page):
    value, final = page["dragged"]
    assert final == 3.5 and value < 3.9


def test_pages_need_no_network():
    pages = [path for path in FOLDER.parent.glob("*/*") if path.suffix in (".html", ".js", ".css")]
    assert len(pages) >= 10
    addresses = {found for path in pages for found in re.findall(r"\w+://[^\"'\s]*", path.read_text())}
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place


def test_pages_find_what_they_load_and_link_to():
    for page in FOLDER.parent.glob("*/index.html"):
        found = re.findall(r'(?:src|href)="([^"]+)"', page.read_text())
        assert len(found) >= 5
        assert not [name for name in found if not (page.parent / name).is_file()]
