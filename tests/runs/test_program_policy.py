"""The policy of a network that was handed in acts from its file as in its agent, without its module."""

import dataclasses
import io
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("flatbuffers")

from jax import export

from purejaxrl_gae import A2CConfig, UserError, kernels, load_policy, networks
from purejaxrl_gae.program import algorithms, player
from purejaxrl_gae.runs import program_policy
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
