"""Many agents in one program: how they lie on devices, and that their bits do not depend on it."""

import json
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from purejaxrl_gae import load_policy
from purejaxrl_gae.evaluate import EvaluateOptions, evaluate_run
from purejaxrl_gae.program import algorithms, training
from purejaxrl_gae.program import many_agents as agents
from purejaxrl_gae.runs.programs import OneAgent
from purejaxrl_gae.settings.errors import UserError
from tests.configs import tiny_ppo

TINY = tiny_ppo(total_timesteps=2048)
ARGUMENTS = "--env CartPole-v1 --total-timesteps 1500 --num-envs 8 --num-steps 32 --no-preset --hidden-sizes 8 8 "
ARGUMENTS += "--num-minibatches 4 --update-epochs 4 --normalize-observations --anneal-lr "
ARGUMENTS += "--updates-per-report 1 --eval-episodes 10 --no-tensorboard --no-progress --no-compilation-cache"


def one_device(num_agents):
    return agents.lay_out(num_agents, jax.devices()[:1])


def train_agents(num_agents, num_updates, config=TINY, seeds=None, **hyperparameters):
    layout, algorithm = one_device(num_agents), algorithms.make_algorithm(config)
    keys = jax.vmap(jax.random.key)(np.arange(num_agents) if seeds is None else seeds)
    values = jax.tree.map(lambda value: np.full(num_agents, value), algorithm.hyperparameters)
    values = agents.spread(layout, values.replace(**hyperparameters))
    keys = agents.spread(layout, keys)
    states = jax.jit(lambda keys, values: agents.init(layout, algorithm, keys, values))(keys, values)
    advance = jax.jit(lambda values, states, n: agents.advance(layout, algorithm, values, states, n))
    return advance(values, states, num_updates)


@pytest.mark.parametrize(("num_agents", "width"), [(1, 1), (4, 1), (15, 1), (16, 2), (31, 2), (32, 4), (1000, 4)])
def test_the_width_of_a_group_follows_from_the_number_of_agents_alone(num_agents, width):
    for devices in (1, 2, 3, 4):
        layout = agents.lay_out(num_agents, jax.devices() * devices)
        assert layout.width == width
        assert layout.padded >= num_agents
        assert layout.padded % (width * devices) == 0


def test_padding_repeats_the_last_agent_and_is_dropped():
    layout = agents.Layout(one_device(1).mesh, num_agents=3, width=1, padded=5)
    placed = agents.spread(layout, np.arange(3))
    np.testing.assert_array_equal(np.asarray(placed), [0, 1, 2, 2, 2])


def test_keys_travel_to_the_devices_and_back():
    keys = jax.random.split(jax.random.key(5), 4)
    there = agents.spread(one_device(4), keys)
    np.testing.assert_array_equal(jax.random.key_data(agents.fetch(there)), jax.random.key_data(keys))


@pytest.mark.parametrize("num_agents", [3, 17])
def test_agents_learn_what_they_learn_alone(num_agents):
    states, progress = train_agents(num_agents, 2)
    assert progress.healthy.all()
    solo = solo_after(1, 2)
    for one, many in zip(jax.tree.leaves(solo.learner.params), jax.tree.leaves(states.learner.params), strict=True):
        np.testing.assert_allclose(np.asarray(many)[1], np.asarray(one), atol=2e-5)


def solo_after(seed, num_updates):
    algorithm = algorithms.make_algorithm(TINY)
    state = training.init_state(algorithm, jax.random.key(seed), algorithm.hyperparameters)
    advance = jax.jit(lambda state: training.advance(algorithm, algorithm.hyperparameters, state, num_updates)[0])
    return advance(state)


def test_an_agent_that_breaks_stands_still_and_the_others_go_on():
    rates = np.array([1e-3, 1e36, 1e-3], np.float32)
    states, progress = train_agents(3, 4, learning_rate=rates)
    assert progress.healthy.tolist() == [True, False, True]
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(states.learner.params))
    reference, _ = train_agents(3, 4)
    for broken, whole in zip(
        jax.tree.leaves(states.learner.params), jax.tree.leaves(reference.learner.params), strict=True
    ):
        assert broken.shape == whole.shape
    skipped = np.asarray(states.counters.skipped_updates)
    assert skipped[0] == skipped[2] == 0 and skipped[1] > 0


def run(arguments, folder, *, wait=True):
    command = [sys.executable, "-m", "purejaxrl_gae.ppo", *arguments.split(), "--run-dir", str(folder)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder.parent
    )
    return finished(process) if wait else process


def finished(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def reports(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("wall_seconds", "steps_per_second")} for row in rows]


def weights(folder):
    with np.load(folder / "policy.npz") as file:
        return {name: file[name] for name in file.files if name.startswith(("kernel", "bias"))}


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def two_processes(arguments, folder):
    flags = f"{arguments} --coordinator 127.0.0.1:{free_port()} --num-processes 2 --process-id"
    other = run(f"{flags} 1", folder, wait=False)
    output = run(f"{flags} 0", folder)
    assert "steps in" not in finished(other)  # only one of them speaks
    return output


@pytest.fixture(scope="module")
def seeds_on_one_device(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agents") / "one"
    return folder, run(f"{ARGUMENTS} --num-seeds 5 --devices 1", folder)


def same_seeds(folder, reference):
    assert reports(folder) == reports(reference)
    for seed in range(5):
        one, other = weights(folder / f"seed_{seed}"), weights(reference / f"seed_{seed}")
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_run_of_several_seeds_reports_each(seeds_on_one_device):
    folder, output = seeds_on_one_device
    assert "seeds 0 to 4" in output and "IQM" in output
    assert all(len(row["score_last100"]) == 5 for row in reports(folder))
    summary = json.loads((folder / "summary.json").read_text())
    assert [row["seed"] for row in summary["seeds"]] == [0, 1, 2, 3, 4]
    means = [row["eval_return_mean"] for row in summary["seeds"]]
    iqm, low, high = summary["eval_return_over_seeds"]["iqm"]
    assert min(means) <= low <= iqm <= high <= max(means)
    assert iqm == pytest.approx(np.sort(means)[1:4].mean())


def test_a_run_of_several_seeds_is_evaluated_again(seeds_on_one_device):
    folder, _ = seeds_on_one_device
    found = evaluate_run(EvaluateOptions(run_dir=folder, episodes=7))
    assert found["episodes"] == 5 * 7
    assert list(found["seeds"]) == [0, 1, 2, 3, 4]
    assert found["return_mean"] == pytest.approx(np.mean(list(found["seeds"].values())))
    assert found["iqm_interval"][0] <= found["iqm"] <= found["iqm_interval"][1]
    assert found["sampled"]["episodes"] == 5 * 7 and list(found["sampled"]["seeds"]) == [0, 1, 2, 3, 4]
    assert found["sampled"]["return_mean"] != found["return_mean"]
    assert load_policy(folder / "seed_3" / "policy.npz").act(np.zeros(4)) in (0, 1)


def test_four_devices_give_the_bits_of_one(seeds_on_one_device, tmp_path):
    run(f"{ARGUMENTS} --num-seeds 5 --devices 4", tmp_path / "four")
    same_seeds(tmp_path / "four", seeds_on_one_device[0])
    assert json.loads((tmp_path / "four" / "summary.json").read_text())["devices"] == 4


def test_two_processes_give_the_bits_of_one(seeds_on_one_device, tmp_path):
    two_processes(f"{ARGUMENTS} --num-seeds 5 --devices 2", tmp_path / "two")
    same_seeds(tmp_path / "two", seeds_on_one_device[0])


def test_one_agent_on_four_devices_and_in_two_processes(tmp_path):
    """The same experience, and learning that differs by how sums over devices round."""
    arguments = ARGUMENTS.replace("--total-timesteps 1500", "--total-timesteps 512")
    run(arguments, tmp_path / "one")
    run(f"{arguments} --devices 4", tmp_path / "four")
    two_processes(f"{arguments} --devices 2", tmp_path / "two")
    one = reports(tmp_path / "one")
    for name in ("four", "two"):
        first = reports(tmp_path / name)[0]
        for field in ("episodes", "episodic_return", "episodic_length"):
            assert first[field] == one[0][field]
        for field in one[0]:
            assert first[field] == pytest.approx(one[0][field], rel=1e-3, abs=1e-4), field
        expected, found = weights(tmp_path / "one"), weights(tmp_path / name)
        assert max(np.abs(expected[array] - found[array]).max() for array in expected) < 1e-2


def test_environments_must_be_divisible():
    six = algorithms.make_algorithm(tiny_ppo(num_envs=6))
    with pytest.raises(UserError, match="num_envs is 6, which 4 devices cannot divide evenly"):
        OneAgent(six, jax.devices()[:1] * 4)


def test_a_run_of_seeds_stopped_and_resumed_on_other_devices_is_the_run_never_stopped(seeds_on_one_device, tmp_path):
    folder = tmp_path / "stopped"
    run(f"{ARGUMENTS} --num-seeds 5 --devices 2 --checkpoint-freq 256", folder)
    for checkpoint in sorted((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))[1:]:
        for path in sorted(checkpoint.rglob("*"), reverse=True):  # as if it had been killed before this one
            path.rmdir() if path.is_dir() else path.unlink()
        checkpoint.rmdir()
    command = [sys.executable, "-m", "purejaxrl_gae.ppo", "--resume", str(folder), "--devices", "3"]
    finished(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    same_seeds(folder, seeds_on_one_device[0])
