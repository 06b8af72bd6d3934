"""The benchmarks' own arithmetic."""

import json
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import (
    any_commit,
    arguments,
    budget,
    commits,
    defaults,
    device_run,
    floor,
    host,
    kernels,
    measure,
    memory,
    objectives,
    overhead,
    pallas_gae,
    peers,
    pieces,
    reference_ppo,
    reference_ppo_rnn,
    scaling,
    training,
    worker,
)
from benchmarks.curves import last_hundred
from benchmarks.measure import Timing
from benchmarks.worker import Prepared, Unavailable
from purejaxrl_gae import kernels as own_kernels
from purejaxrl_gae.environments import make_environment
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.runs.statistics import Aggregate


def test_the_last_hundred_are_counted_back_over_whole_updates():
    rng = np.random.default_rng(0)
    episodes = rng.integers(0, 40, size=(3, 30))
    returns = np.where(episodes > 0, rng.normal(size=(3, 30)), np.nan)
    scores = last_hundred(returns, episodes)
    for seed in range(3):
        for update in range(30):
            first = update
            while first > 0 and episodes[seed, first : update + 1].sum() < 100:
                first -= 1
            window = slice(first, update + 1)
            count = episodes[seed, window].sum()
            if count == 0:
                assert np.isnan(scores[seed, update])
            else:
                expected = np.nansum(returns[seed, window] * episodes[seed, window]) / count
                assert abs(scores[seed, update] - expected) < 1e-9


def test_objectives_are_scaled_so_that_random_is_0_and_the_best_row_1():
    raw = np.array([[-100.0, -120.0], [-20.0, -40.0], [-200.0, -200.0]])
    scaled = objectives.normalized(raw, random=-180.0)
    assert scaled[1].mean() == 1.0
    np.testing.assert_allclose(scaled[0], [80 / 150, 60 / 150])
    assert scaled[2].mean() < 0.0


def test_the_objectives_table_has_the_papers_eleven_rows():
    assert [row.paper for row in objectives.ROWS] == [-0.39, 0.76, 0.82, 0.7, 0.68, 0.74, 0.71, 0.62, 0.71, 0.72, 0.69]
    figures = [Aggregate(0.5, 0.25, 0.75)] * 11
    lines = objectives.table(figures, np.full((11, 1), 0.5), ("Pendulum-v1",)).splitlines()
    assert len(lines) == 13
    assert lines[4] == "| clipping, ε = 0.2 | 0.50 | 0.25 .. 0.75 | 0.82 | 0.50 |"


def test_a_random_policy_scores_what_it_does_on_the_pendulum():
    assert make_environment("Pendulum-v1").max_episode_steps == 200
    assert -1350.0 < objectives.random_return("Pendulum-v1") < -1100.0


def fixed_side(name, seconds, items, order, closed):
    """A side whose runs take what the list says."""

    def run(turn):
        order.append((turn, name))
        return seconds[turn]

    return lambda: Prepared(1.234, run, items, close=lambda: closed.append(name))


def test_sides_run_in_turns_and_are_compared_by_the_item():
    order, closed = [], []
    sides = {
        "ours": fixed_side("ours", [9.0, 1.0, 2.0, 4.0], 10, order, closed),
        "peer": fixed_side("peer", [9.0, 3.0, 2.0, 1.0], 5, order, closed),
    }
    ours, peer = measure.interleave(sides, repeats=3, rest=0.0)
    assert order == [(turn, name) for turn in range(4) for name in ("ours", "peer")]
    assert closed == ["ours", "peer"]
    assert (ours.seconds, ours.per_second, ours.ratio, ours.compile_seconds) == (2.0, 5.0, 1.0, 1.23)
    assert peer.ratio == 2.0  # of 6, 2 and 0.5: half as many items in a run
    assert peer.runs == [3.0, 2.0, 1.0]


def test_a_peer_that_is_missing_is_left_out(capsys):
    def missing():
        raise Unavailable("no such package")

    sides = {"ours": lambda: Prepared(0.0, lambda _: 1.0, 1), "peer": missing}
    assert [timing.name for timing in measure.interleave(sides, repeats=1, rest=0.0)] == ["ours"]
    assert "peer left out: no such package" in capsys.readouterr().out


def test_a_peer_that_fails_in_a_run_is_left_out_too(capsys):
    def fails_later(turn):
        if turn == 2:
            raise Unavailable("the process ended")
        return 1.0

    sides = {"ours": lambda: Prepared(0.0, lambda _: 1.0, 1), "peer": lambda: Prepared(0.0, fails_later, 1)}
    (ours,) = measure.interleave(sides, repeats=3, rest=0.0)
    assert ours.runs == [1.0, 1.0, 1.0]
    assert "peer left out: the process ended" in capsys.readouterr().out


def slow_echo(seconds, items):
    """A side for the worker's test."""
    print("noise on standard output")
    return Prepared(0.5, lambda turn: seconds + turn, items, notes={"version": "1"})


def test_peers_without_the_half_in_the_value_loss_get_half_its_weight():
    names = ("learning_rate", "gamma", "gae_lambda", "ent_coef", "max_grad_norm")
    settings = {"hyperparameters": {"vf_coef": 0.5} | dict.fromkeys(names, 0.1), "num_steps": 8}
    assert peers._shared_arguments(settings)["vf_coef"] == 0.25


def test_a_worker_answers_for_the_function_it_was_given():
    ready = worker.start("tests.test_benchmarks:slow_echo", {"seconds": 2.0, "items": 7})
    assert (ready.compile_seconds, ready.items, ready.notes) == (0.5, 7, {"version": "1"})
    assert [ready.run(turn) for turn in (0, 3)] == [2.0, 5.0]
    ready.close()


@pytest.mark.parametrize(
    "target, python, message",
    [
        ("benchmarks.worker:nothing", sys.executable, "nothing"),
        ("no_such_module:function", sys.executable, "no_such_module"),
        ("benchmarks.worker:start", "no/such/python", "No such file"),
    ],
)
def test_a_worker_that_cannot_start_says_why(target, python, message):
    with pytest.raises(Unavailable, match=message):
        worker.start(target, {}, python)


def test_a_repeated_kernel_runs_as_often_as_asked():
    calls = []

    def kernel(x):
        jax.debug.callback(lambda: calls.append(1))
        return x + 1.0

    measure.kernel_side(kernel, (jnp.zeros(3),), 3)().run(0)
    jax.effects_barrier()
    assert len(calls) > 3


def test_bars_and_pythons_of_peers(capsys):
    assert measure.bar("ratio", 1.6, 1.5, at_least=True)["met"]
    assert not measure.bar("seconds", 3.6, 3.5, at_least=False)["met"]
    assert "MISSED" in capsys.readouterr().out
    assert arguments.pythons_of_peers(["sb3=a/python"]) == {"sb3": "a/python"}
    with pytest.raises(SystemExit, match="NAME=PATH"):
        arguments.pythons_of_peers(["sb3"])


def test_json_says_what_the_figures_depend_on(tmp_path):
    path = tmp_path / "results.json"
    measure.write_json(path, {"row": [Timing("ours", 1.0, 2.0, 3.0, 1.0)]})
    document = json.loads(path.read_text())
    assert set(document) == {"machine", "versions", "commit", "results"}
    assert document["machine"]["cores"] >= 1
    assert document["results"]["row"][0]["per_second"] == 3.0


def test_the_reference_counts_the_same_steps_and_carries_its_info_out():
    config = {"ENV_NAME": "Pendulum-v1", "TOTAL_TIMESTEPS": 3 * 4 * 8, "NUM_ENVS": 4, "NUM_STEPS": 8}
    result = jax.eval_shape(reference_ppo.make_train(config), jax.random.key(0))
    assert {leaf.shape for leaf in jax.tree.leaves(result["metrics"])} == {(3, 8, 4)}
    assert {"returned_episode_returns", "returned_episode"} <= set(result["metrics"])


@pytest.mark.parametrize("name", ["memory", "memory-shared", "memory-chain"])
def test_the_reference_with_memory_has_our_layers_and_counts_our_steps(name):
    row = replace(training.ROWS[name], num_envs=8, num_steps=6, updates=3)
    own = memory.config(row.env, 8, 6, 3, shared=row.algorithm == "memory-shared")
    algorithm = algorithms.make_algorithm(own)
    result = jax.eval_shape(memory.reference(own, training.reference_config(own)), jax.random.key(0))
    assert {leaf.shape for leaf in jax.tree.leaves(result["metrics"])} == {(3, 6, 8)}

    def size(params):
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    assert own.env_steps == 3 * 6 * 8
    params = jax.eval_shape(algorithm.setup.network.init, jax.random.key(0))
    assert size(params) == size(result["runner_state"][0].params)


def test_the_reference_with_memory_forgets_where_an_episode_begins():
    network = reference_ppo_rnn.RecurrentActorCritic(2, True, 8, shared=False)
    steps, begins = jax.random.normal(jax.random.key(0), (6, 1, 3)), jnp.zeros((6, 1), bool).at[4].set(True)
    fresh = network.begin(1)
    params = network.init(jax.random.key(1), fresh, steps, begins)
    _, policy, value = network.apply(params, fresh, steps, begins)
    _, late_policy, late_value = network.apply(params, fresh, steps[4:], begins[4:])
    np.testing.assert_allclose(policy.logits[4:], late_policy.logits, atol=1e-6)
    np.testing.assert_allclose(value[4:], late_value, atol=1e-6)
    _, _, unbroken = network.apply(params, fresh, steps, jnp.zeros_like(begins))
    assert np.abs(unbroken[4:] - value[4:]).min() > 1e-4


@pytest.mark.slow
def test_the_reference_with_memory_learns():
    options = reference_ppo_rnn.Options(observe=(0, 2), num_seeds=2)
    for returns in reference_ppo_rnn.train_seeds(options):
        assert returns[:100].mean() < 40.0 and returns[-100:].mean() > 150.0


def test_rows_with_memory_are_held_to_their_bar(capsys):
    timings = [Timing(name, 1.0, 1.0, 1.0, ratio) for name, ratio in (("purejaxrl_gae", 1.0), ("reference", 1.3))]
    (found,) = training.bars(training.ROWS["memory-pendulum"], timings)
    assert found["met"] and found["limit"] == 1.2 and "GRU, Pendulum" in capsys.readouterr().out
    assert training.bars(training.ROWS["memory"], timings[:1]) == []


def test_every_peer_kernel_computes_what_ours_does():
    batch = kernels.rollout(50, 3)
    expected = own_kernels.gae(*batch, gamma=kernels.GAMMA, gae_lambda=kernels.GAE_LAMBDA)
    for peer in (kernels.numpy_gae, kernels.scipy_gae):
        for found, wanted in zip(peer(*batch), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    rewards, _, *rest = batch
    wanted = own_kernels.discounted_returns(rewards, *rest, gamma=kernels.GAMMA)
    np.testing.assert_allclose(kernels.numpy_returns(rewards, *rest), wanted, rtol=1e-4, atol=1e-4)


def test_operations_are_counted_as_xla_counts_them():
    sizes, batch = (64, 128, 32), 16
    params = [jnp.ones(shape) for shape in ((64, 128), (128, 32))]
    inputs = jnp.ones((batch, 64))

    def network(params, inputs):
        return inputs @ params[0] @ params[1]

    assert floor.forward(sizes) == 2 * (64 * 128 + 128 * 32)
    assert floor.backward(sizes) == floor.forward(sizes) + 2 * 128 * 32
    assert floor.compiled_operations(network, params, inputs) == batch * floor.forward(sizes)
    gradient = jax.grad(lambda params: (network(params, inputs) ** 2).sum())
    # the second layer's output is needed for the loss, so a forward pass is in it; the rest is elementwise
    found = floor.compiled_operations(gradient, params)
    assert abs(found / (batch * (floor.forward(sizes) + floor.backward(sizes))) - 1.0) < 0.02


def test_an_environment_step_of_ppo_and_trpo():
    ppo = floor.ppo(budget.algorithm_of("16x128").setup)
    policy = value = 2 * (3 * 64 + 64 * 64 + 64)
    first_layer = 2 * 3 * 64
    assert ppo["rollout"] == policy
    assert ppo["forward"] == 4 * (policy + value)
    assert ppo["backward"] == 4 * (2 * policy - first_layer + 2 * value - first_layer)
    trpo = floor.trpo(budget.algorithm_of("trpo").setup)
    assert trpo["value function"] == 15 * (3 * value - first_layer)
    assert trpo["Fisher products"] >= 16 * 2 * policy


def test_a_budget_adds_up_what_does_not_overlap():
    names = ("rollout", "environment", "policy", "values", "GAE", "pack", "shuffle", "gather", "optimizer", "forward")
    seconds = dict.fromkeys(names, 1.0) | {"rollout": 5.0, "forward and backward": 3.0}
    parts = budget.additive(seconds)
    assert parts["rollout, rest"] == parts["backward"] == 2.0
    assert sum(parts.values()) == 5.0 + 5.0 + 3.0
    assert "| sum of the parts | 13000.000 | 50.0% |" in budget.table("row", parts, 26.0)
    names = ("environment", "policy", "values", "advantages", "gradient", "conjugate gradients", "value function")
    seconds = dict.fromkeys(names, 1.0) | {"rollout": 4.0, "policy step": 3.5}
    assert sum(pieces.additive(seconds).values()) == 4.0 + 1.0 + 3.5 + 1.0


def test_overhead_is_the_median_of_the_turns_and_a_thirtieth_of_a_checkpoint_a_second():
    seconds = {"off": [1.0, 2.0, 4.0], "on": [1.01, 2.1, 4.08], "checkpoints": [1.61, 2.7, 4.68]}
    found = overhead.overhead(seconds, checkpoints=2)
    assert found["logging and progress"] == pytest.approx(0.02)
    assert found["seconds of a checkpoint"] == pytest.approx(0.3)
    assert found["in all"] == pytest.approx(0.02 + 0.3 / 30.0)


def test_scaling_visits_every_size_once():
    points = scaling.points(scaling.Options(), num_devices=2)
    assert [point.x for point in points if point.series == "envs"] == list(scaling.ENVS)
    assert [point.num_agents for point in points if point.series == "seeds"] == list(scaling.SEEDS)
    assert [point.devices for point in points if point.series.startswith("devices")] == [1, 1, 2, 2]
    assert [scaling.num_minibatches(*size) for size in ((1, 32), (1, 6), (3, 1))] == [4, 2, 1]


def test_the_table_of_defaults_shows_the_middle_and_the_worst_seed_and_leaves_out_what_has_not_run():
    scores = {str(seed): {"mode": float(seed), "sampled": 0.0} for seed in (1, 2, 3, 6)}
    results = {"ours": {"CartPole-v1": scores}, "sb3_settings": {}, "sb3": {}}
    line = next(line for line in defaults.table(results, "mode") if "CartPole-v1" in line)
    assert line == "| CartPole-v1 | 2.5 (1) |  |  | 4, 0, 0 |"


def test_the_hand_written_gae_is_the_kernels():
    batch = kernels.rollout(7, 256)
    settings = dict(gamma=0.99, gae_lambda=0.95)
    expected, found = own_kernels.gae(*batch, **settings), pallas_gae.gae(*batch, **settings, interpret=True)
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-6)


def test_a_run_on_a_device_writes_every_row_and_ends_with_its_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(device_run, "SECTIONS", {"gae": lambda quick: iter([("one", 1.0), ("two", quick)])})
    device_run.run(tmp_path / "rows.json", quick=True, sections=("gae",))
    assert json.loads((tmp_path / "rows.json").read_text())["results"] == {"gae": {"one": 1.0, "two": True}}
    monkeypatch.setattr(device_run, "SECONDS", -1.0)
    device_run.run(tmp_path / "rows.json", quick=True, sections=("gae",))
    assert json.loads((tmp_path / "rows.json").read_text())["results"] == {"gae": {"one": 1.0}}
    assert "left out is what follows gae, one" in capsys.readouterr().out


def test_one_function_written_twice_compiles_to_the_same_instructions_and_another_to_others():
    def instructions(function):
        return any_commit.instructions(jax.jit(function).lower(jnp.ones((4, 4))).compile().as_text())

    once, twice = lambda x: jnp.tanh(x @ x).sum(), lambda x: jnp.tanh(x @ x).sum()
    precise = lambda x: jnp.tanh(jnp.dot(x, x, precision="highest")).sum()  # noqa: E731
    assert instructions(once) == instructions(twice) == instructions(precise)
    assert instructions(once) != instructions(lambda x: jnp.sin(x @ x).sum())


def test_pairs_of_processes_are_merged_by_their_medians_and_the_shortest_compile_time():
    timings = [
        Timing("here", compiling, 1.0, 10.0, ratio, [1.0]) for compiling, ratio in ((3, 0.9), (2, 1.0), (4, 1.3))
    ]
    merged = commits.merged(timings)
    assert (merged.compile_seconds, merged.ratio, merged.runs) == (2, 1.0, [1.0, 1.0, 1.0])


def test_a_side_started_in_a_folder_imports_the_package_there(tmp_path):
    package = tmp_path / "benchmarked"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from benchmarks.worker import Prepared\ndef side(): return Prepared(0.5, lambda turn: turn + 0.5, 1)\n"
    )
    prepared = worker.start("benchmarked:side", {}, folder=tmp_path)
    assert (prepared.compile_seconds, prepared.run(2)) == (0.5, 2.5)
    prepared.close()


def test_our_side_of_the_host_benchmark_trains_on_and_names_an_environment_that_is_not_there():
    fields = {"num_envs": 2, "num_steps": 4, "num_minibatches": 2, "update_epochs": 1, "total_timesteps": 16}
    prepared = host.ours(fields | {"env": "gymnasium:CartPole-v1"})
    assert prepared.items == 16
    assert prepared.run(0) > 0 and prepared.run(1) > 0
    prepared.close()
    with pytest.raises(Unavailable, match="NoSuchEnv"):
        host.ours(fields | {"env": "gymnasium:NoSuchEnv-v1"})
