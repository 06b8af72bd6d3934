"""The policy of a network that was handed in acts from its file as in its agent, without its module."""

import dataclasses
import io
import json
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("flatbuffers")

from jax import export

from purejaxrl_gae import A2CConfig, UserError, kernels, load_policy, networks
from purejaxrl_gae.evaluate import EvaluateOptions, evaluate
from purejaxrl_gae.program import algorithms, memories, player
from purejaxrl_gae.runs import playing, program_policy
from purejaxrl_gae.runs.policy_file import make_policy_writer
from purejaxrl_gae.settings.trust import Foreign

SMALL = dict(num_envs=2, num_steps=2)
VALUE = (lambda key, seen: jnp.zeros(seen.shape[-1]), lambda params, seen: seen @ params)


def means(key, seen):
    return {"kernel": jax.random.normal(key, (seen.shape[-1], 1)), "log_std": jnp.zeros(1)}


def gaussian(params, seen):
    mean = seen @ params["kernel"]
    return kernels.DiagonalGaussian(mean, jnp.broadcast_to(params["log_std"], mean.shape))


def torque():
    return networks.separate((means, gaussian), VALUE)


def of_one_at_a_time(params, seen):
    if not isinstance(seen.shape[0], int):
        raise TypeError("how many observations are there?")
    return gaussian(params, seen)


def inverted(params, seen):
    return kernels.DiagonalGaussian(
        jnp.linalg.qr(seen[:, None] * seen[..., None])[0][:, :1, 0], jnp.zeros((len(seen), 1))
    )


def made(**changes):
    """An algorithm for Pendulum-v1, and a learner that has seen something."""
    config = A2CConfig(env="Pendulum-v1", network=torque, normalize_observations=True, action_bounds="scale", **SMALL)
    algorithm = algorithms.make_algorithm(dataclasses.replace(config, **changes))
    learner = algorithm.init_learner(jax.random.key(0), algorithm.hyperparameters)
    moments = kernels.init_moments((3,)).replace(mean=jnp.array([0.1, 0.2, 0.3]))
    return algorithm, learner.replace(normalizers=learner.normalizers.replace(observations=moments))


def agent_acts(algorithm, learner, observations, key):
    nothing = (), jnp.zeros(len(observations), bool)
    return player.act(algorithm.setup, learner, observations, nothing, key, deterministic=False)[0]


def file_of(algorithm, learner):
    name, contents = make_policy_writer(algorithm.setup, learner)
    assert name == "policy.stablehlo"
    return contents(learner)


@pytest.fixture(scope="module")
def agent():
    return made()


@pytest.fixture(scope="module")
def contents(agent):
    return file_of(*agent)


def test_it_acts_as_its_agent_by_mode_and_sampled(agent, contents):
    (algorithm, learner), policy = agent, load_policy(io.BytesIO(contents))
    observations, key = jax.random.normal(jax.random.key(1), (5, 3)), jax.random.key(2)
    for given in (None, key):
        expected = agent_acts(algorithm, learner, observations, given)
        np.testing.assert_allclose(policy.act(observations, given), expected, rtol=1e-6)
    assert policy.act(observations[0]).shape == (1,)
    assert policy.act(jnp.ones((2, 4, 3))).shape == (2, 4, 1)
    assert np.abs(policy.act(100.0 * observations)).max() == 2.0
    with pytest.raises(ValueError, match=r"observations have shape \(5, 2\); they must end in \(3,\)"):
        policy.act(observations[:, :2])


def test_it_runs_on_other_platforms_and_says_where_it_was_trained(contents):
    policy = load_policy(io.BytesIO(contents))
    assert set(policy.program.platforms) == {"cpu", "cuda", "tpu"}
    assert policy.environment["env"] == "Pendulum-v1"
    moments = len(jax.tree.leaves(kernels.init_moments((3,))))
    assert len(policy.weights) == 2 + moments, "of the policy and the normaliser; the value function stays at home"


def test_a_network_that_must_know_how_many_observations_there_are_sees_one_at_a_time():
    algorithm, learner = made(network=lambda: networks.separate((means, of_one_at_a_time), VALUE))
    policy = load_policy(io.BytesIO(file_of(algorithm, learner)))
    observations = jax.random.normal(jax.random.key(1), (4, 3))
    expected = agent_acts(algorithm, learner, observations, None)
    np.testing.assert_allclose(policy.act(observations), expected, rtol=1e-6)
    assert len(set(np.asarray(policy.act(jnp.ones((4, 3)), jax.random.key(0)))[:, 0].tolist())) == 4


def test_a_network_that_calls_a_library_has_no_file():
    algorithm, learner = made(network=lambda: networks.separate((means, inverted), VALUE))
    with pytest.raises(UserError, match=r"which has no form as a file: its program calls .*outside of it") as error:
        make_policy_writer(algorithm.setup, learner)
    assert "\n" not in str(error.value)


def test_it_runs_where_its_module_is_not_to_be_found(contents, monkeypatch):
    monkeypatch.delitem(sys.modules, __name__)
    assert -2.0 <= load_policy(io.BytesIO(contents)).act(np.ones(3, np.float32))[0] <= 2.0
    assert __name__ not in sys.modules


def changed(contents, **arrays):
    """The same file with other arrays; None leaves one out."""
    with np.load(io.BytesIO(contents)) as stored:
        kept = {**stored, **arrays}
    file = io.BytesIO()
    np.savez(file, **{name: array for name, array in kept.items() if array is not None})
    return file.getvalue()


def program_of(function, batch=3, module=None):
    """A strangers' program that takes what the policy's does."""
    leaves = jax.tree.leaves((means(jax.random.key(0), jnp.zeros((1, 3))), kernels.init_moments((3,))))
    weights = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    seen, key = jax.ShapeDtypeStruct((batch, 3), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.uint32)
    made = export.export(jax.jit(function))(weights, seen, key, jax.ShapeDtypeStruct((), bool))
    if module is not None:
        made = dataclasses.replace(made, mlir_module_serialized=module)
    return np.frombuffer(made.serialize(), np.uint8)


def other_observations(contents):
    found = json.loads(np.load(io.BytesIO(contents))["observations"].item())
    found["seen"][0]["shape"] = [4]
    return np.str_(json.dumps(found))


BROKEN = {
    "another weight": lambda contents: changed(contents, weight_0=np.zeros((4, 1), np.float32)),
    "a weight too few": lambda contents: changed(contents, weight_4=None),
    "other observations": lambda contents: changed(contents, observations=other_observations(contents)),
    "no program": lambda contents: changed(contents, program=np.zeros(0, np.uint8)),
    "a program of zeros": lambda contents: changed(contents, program=np.zeros(1000, np.uint8)),
    "half a program": lambda contents: changed(contents, program=np.load(io.BytesIO(contents))["program"][:2000]),
    "a newer format": lambda contents: changed(contents, format=np.int64(99)),
    "an environment that is no text": lambda contents: changed(contents, environment=np.str_("[]")),
    "half a file": lambda contents: contents[: len(contents) // 2],
    "a program that nothing reads": lambda contents: changed(
        contents, program=program_of(lambda w, seen, k, f: seen, 1, b"?")
    ),
    "a program of three at once": lambda contents: changed(contents, program=program_of(lambda w, seen, k, f: seen)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_policy_is_refused_in_one_line(contents, kind):
    with pytest.raises(ValueError, match=r"^(it|its) ") as error:
        load_policy(io.BytesIO(BROKEN[kind](contents)))
    assert "\n" not in str(error.value)


def test_a_program_of_someone_else_is_read_elsewhere_first(contents, monkeypatch):
    asked = []
    monkeypatch.setattr(program_policy, "_text_of", lambda program: asked.append(program) or "")
    load_policy(io.BytesIO(contents))
    assert not asked, "one's own is signed"
    load_policy(io.BytesIO(changed(contents, program_signature=None)))
    load_policy(io.BytesIO(changed(contents, program=program_of(lambda w, seen, k, f: seen, 1))))
    assert len(asked) == 2


def test_a_program_that_calls_anything_outside_is_refused():
    program_policy.refuse_calls("stablehlo.custom_call @shape_assertion(%0) stablehlo.add %1, %2")
    for call in ("custom_call @lapack_sgeqrf_ffi(%0)", '"stablehlo.custom_call"(%0) <{call_target_name = "callback"}>'):
        with pytest.raises(ValueError, match=r"^its program calls .*outside of it$"):
            program_policy.refuse_calls(f"stablehlo.add %1, %2 {call}")


def test_one_of_any_size_is_not_read(contents, monkeypatch):
    monkeypatch.setattr("purejaxrl_gae.runs.policies.LARGEST", 100)
    with pytest.raises(ValueError, match="it holds more than 100 bytes: environment alone"):
        load_policy(io.BytesIO(contents))


def test_an_environment_to_import_is_a_strangers_without_a_signature(contents):
    stored = changed(contents, environment=np.str_(json.dumps({"env": "planted:make"})), signature=None)
    assert isinstance(load_policy(io.BytesIO(stored)).environment["env"], Foreign)


class Remembered(NamedTuple):
    """A user's own form of memory: sums of what the policy has seen, and how many steps the value function has."""

    sums: jax.Array
    steps: jax.Array


class Summing:
    """A user's network whose policy and value function share nothing, and both remember."""

    has_own_value_params, has_action_values = True, False

    def init(self, key):
        return {"policy": jax.random.normal(key, (3, 1)), "value": {"by_step": jnp.array(0.5)}}

    def initial_memory(self, n):
        return {"both": Remembered(jnp.full((n, 3), 0.25, jnp.float32), jnp.zeros(n, jnp.int32))}

    def _along(self, inputs):
        fresh = self.initial_memory(inputs.starts.shape[1])["both"]

        def one(held, step):
            observed, starts = step
            sums = jnp.where(starts[:, None], fresh.sums, held.sums) + observed
            held = Remembered(sums, jnp.where(starts, fresh.steps, held.steps) + 1)
            return held, held

        return jax.lax.scan(one, inputs.memory["both"], (inputs.observations, inputs.starts))

    def remember(self, params, inputs):
        used = 0 * params["value"]["by_step"].astype(jnp.int32)  # as a value function's own cell would use its weights
        last = self._along(inputs)[0]
        return {"both": last._replace(steps=last.steps + used)}

    def policy(self, params, inputs):
        mean = jnp.tanh(self._along(inputs)[1].sums @ params["policy"])
        return kernels.DiagonalGaussian(mean, jnp.zeros_like(mean))

    def value(self, params, inputs):
        return params["value"]["by_step"] * self._along(inputs)[1].steps

    def prediction(self, params, inputs, actions):
        return self.value(params, inputs)


class OneAtATime(Summing):
    def policy(self, params, inputs):
        if not isinstance(inputs.starts.shape[1], int):
            raise TypeError("how many observations are there?")
        return super().policy(params, inputs)


@pytest.fixture(scope="module", params=[Summing, OneAtATime])
def remembering(request):
    algorithm, learner = made(network=request.param())
    return algorithm, learner, file_of(algorithm, learner)


def test_a_policy_with_memory_acts_and_remembers_as_its_agent(remembering):
    algorithm, learner, contents = remembering
    policy, network = load_policy(io.BytesIO(contents)), algorithm.setup.network
    held, remembered = memories.initial_memory(network, 4), policy.initial_memory(4)
    nowhere = jnp.zeros(4, bool)
    for step in range(3):
        seen = jax.random.normal(jax.random.key(step), (4, 3))
        expected, held = player.act(algorithm.setup, learner, seen, (held, nowhere), None, deterministic=True)
        actions, remembered = policy.act(seen, remembered)
        np.testing.assert_allclose(actions, expected, rtol=1e-5)
        np.testing.assert_allclose(remembered[0], held["both"].sums, rtol=1e-5)
        np.testing.assert_array_equal(remembered[1], step + 1)
    drawn = np.asarray(policy.act(seen, remembered, jax.random.key(0))[0])
    assert len(np.unique(drawn)) > 1 and np.all(np.abs(drawn) <= 2.0)


def test_memory_is_of_as_many_as_the_observations(remembering):
    policy = load_policy(io.BytesIO(remembering[2]))
    action, (sums, steps) = policy.act(np.zeros(3), policy.initial_memory())
    assert action.shape == (1,) and sums.shape == (3,) and steps.shape == () and steps == 1
    actions, (sums, steps) = policy.act(np.zeros((2, 4, 3)), policy.initial_memory(2, 4))
    assert actions.shape == (2, 4, 1) and sums.shape == (2, 4, 3) and steps.dtype == np.int32
    with pytest.raises(
        ValueError, match=r"^memory has the shapes \[\(3, 3\), \(3,\)\]; .* must be \[\(4, 3\), \(4,\)\]"
    ):
        policy.act(np.zeros((4, 3)), policy.initial_memory(3))


def test_evaluate_forgets_where_an_episode_begins(tmp_path):
    """On the host, where 20 copies play 25 episodes, the file's policy scores what its network does."""
    pytest.importorskip("gymnasium")
    algorithm, learner = made(network=Summing(), env="gymnasium:Pendulum-v1", max_episode_steps=6)
    path = tmp_path / "policy.stablehlo"
    path.write_bytes(file_of(algorithm, learner))
    scores = evaluate(EvaluateOptions(policy=path, episodes=25, seed=5))
    expected = playing.make_player(algorithm.setup, 25)(learner, playing.key_of_seed(5), True).returns
    np.testing.assert_allclose(scores["return_mean"], np.mean(expected), rtol=1e-5)
    np.testing.assert_allclose(scores["return_min"], np.min(expected), rtol=1e-5)


def test_memory_goes_without_its_module(remembering, tmp_path):
    """In a process that cannot import the network's module, nor register its NamedTuple."""
    path = tmp_path / "policy.stablehlo"
    path.write_bytes(remembering[2])
    script = (
        "import sys, numpy as np; from purejaxrl_gae import load_policy\n"
        "policy = load_policy(sys.argv[1]); memory = policy.initial_memory(2)\n"
        "for _ in range(3): actions, memory = policy.act(np.ones((2, 3)), memory)\n"
        "print(actions.shape, memory[1].tolist())"
    )
    played = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert played.stdout.strip() == "(2, 1) [3, 3]"


@pytest.mark.parametrize(
    "arrays",
    [
        {"memory_0": np.zeros(4, np.float32)},
        {"memory_1": np.zeros((), np.float32)},
        {"memory_1": None},
        {"memory_0": None, "memory_1": None},
        {"memory_2": np.zeros(3, np.float32)},
    ],
)
def test_memory_that_does_not_fit_its_program_is_refused(remembering, arrays):
    with pytest.raises(ValueError, match=r"^its program does not take what a policy's does$"):
        load_policy(io.BytesIO(changed(remembering[2], **arrays)))


def test_a_program_whose_memory_changes_its_form_is_refused(contents):
    def growing(weights, seen, memory, key, deterministic):
        return seen[:, :1], (jnp.concatenate([memory[0], memory[0]], axis=1),)

    weights = jax.tree.leaves((means(jax.random.key(0), jnp.zeros((1, 3))), kernels.init_moments((3,))))
    types = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in weights]
    seen, key = jax.ShapeDtypeStruct((1, 3), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.uint32)
    made = export.export(jax.jit(growing))(tuple(types), seen, (seen,), key, jax.ShapeDtypeStruct((), bool))
    program = np.frombuffer(made.serialize(), np.uint8)
    with pytest.raises(ValueError, match=r"^its program does not take what a policy's does$"):
        load_policy(io.BytesIO(changed(contents, program=program, memory_0=np.zeros(3, np.float32))))


def test_only_a_file_with_memory_needs_this_version(contents, remembering):
    formats = [int(np.load(io.BytesIO(each))["format"]) for each in (contents, remembering[2])]
    assert formats == [program_policy.WITHOUT_MEMORY, program_policy.FORMAT] == [1, 2]
