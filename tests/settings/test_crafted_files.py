"""Files of a stranger who means harm: refused in one line, and nothing in them is imported, called or unpickled."""

import dataclasses
import io
import json
import pickle
import sys
import zipfile

import numpy as np
import pytest
import yaml

from purejaxrl_gae import cli, load_policy, plot, sweep
from purejaxrl_gae.environments import make_environment
from purejaxrl_gae.evaluate import EvaluateOptions, evaluate
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.runs import checkpoint_files, checkpoints, sweep_run
from purejaxrl_gae.settings import config
from purejaxrl_gae.settings.errors import RunError, UserError

WATCHED = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "subprocess.Popen",
    "pickle.find_class",
)
WATCHED += ("socket.connect", "ctypes.dlopen", "webbrowser.open", "pty.spawn")
seen: list[str] | None = None


def watch(event, arguments):
    if seen is None:
        return
    planted = event == "import" and str(arguments[0]).partition(".")[0] == "planted"
    if planted or event in WATCHED or (event == "open" and "pwned" in str(arguments[0])):
        seen.append(f"{event} {arguments}")


sys.addaudithook(watch)  # for good, but it looks only while `seen` is a list


@pytest.fixture(scope="module", autouse=True)
def everything_is_imported():
    """What the package imports late is imported before anybody looks."""
    cli.parse("ppo", ["--env", "CartPole-v1"])


@pytest.fixture(autouse=True)
def strangers_folder(tmp_path, monkeypatch):
    """The current directory, with a module beside the files, and an eye on what must not happen."""
    global seen
    (tmp_path / "planted.py").write_text("open('pwned', 'w')\ndef make(**_): open('pwned', 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    seen = []
    yield tmp_path
    found, seen = seen, None
    assert not found
    assert (tmp_path / "planted.py").exists() and not (tmp_path / "pwned").exists()
    sys.modules.pop("planted", None)


class Pickled:
    """Runs a command wherever it is unpickled."""

    def __reduce__(self):
        return open, ("pwned", "w")


ENVIRONMENTS = [
    ("os:system", ["command=touch pwned"]),
    ("subprocess:getoutput", ["cmd=touch pwned"]),
    ("subprocess:Popen", ["args=[touch, pwned]"]),
    ("builtins:exec", ["source=open('pwned', 'w')"]),
    ("builtins:open", ["file=pwned", "mode=w"]),
    ("posix:system", ["command=touch pwned"]),
    ("importlib:import_module", ["name=planted"]),
    ("runpy:run_path", ["path_name=planted.py"]),
    ("pickle:loads", ["data=x"]),
    ("ctypes:CDLL", ["name=planted.so"]),
    ("shutil:rmtree", ["path=planted.py"]),
    ("pty:spawn", ["argv=sh"]),
    ("webbrowser:open", ["url=file:///"]),
    ("planted:make", []),
    ("planted.deeper:make", []),
    ("purejaxrl_gae.settings.config_files:read_yaml", ["path=planted.py"]),
    ("gymnasium:planted:Env-v0", []),
    ("planted:", []),
    (":system", []),
    ("os::system", []),
    ("os.path:os.system", []),
    ("./planted:make", []),
    ("pl\N{CYRILLIC SMALL LETTER A}nted:make", []),
    ("os:system\n\x1b[2K\N{RIGHT-TO-LEFT OVERRIDE}" + "a" * 9000, ["command=" + "touch pwned; " * 99]),
]


def by_policy(values):
    environment = json.dumps(values)
    np.savez("policy.npz", **{**policy_arrays(), "environment": np.str_(environment)})
    return evaluate(EvaluateOptions(policy=config.Path("policy.npz")))


def by_policy_signed_by_another(values):
    np.savez(
        "policy.npz",
        **{**policy_arrays(), "environment": np.str_(json.dumps(values)), "signature": np.str_("0" * 64)},
    )
    return evaluate(EvaluateOptions(policy=config.Path("policy.npz")))


def by_config(values):
    write_yaml("c.yaml", values)
    return environment_of(cli.parse("ppo", ["--config", "c.yaml"])[0])


def by_resume(values):
    write_yaml("config.yaml", {**values, "signature": "0" * 64})
    return environment_of(cli.parse("ppo", ["--resume", "."])[0])


def by_evaluation(values):
    write_yaml("config.yaml", values)
    return evaluate(EvaluateOptions(run_dir=config.Path(".")))


def by_sweep(values):
    write_yaml("sweep.yaml", {**values, "grid": ["gamma=0.9"]})
    return environment_of(sweep.parse(["--resume", "."])[0])


def write_yaml(path, values):
    with open(path, "w") as file:
        yaml.safe_dump({"algorithm": "ppo", **values}, file)


def environment_of(training_config):
    return make_environment(**{name: getattr(training_config, name) for name in config.ENVIRONMENT_FIELDS})


def refuse(action, *arguments):
    """The one line with which it is refused."""
    with pytest.raises((UserError, RunError)) as error:
        action(*arguments)
    message = str(error.value)
    assert len(message) < 1000 and message.isprintable()
    return message


WAYS_IN = [(way, *environment) for way in (by_policy, by_config) for environment in ENVIRONMENTS]
WAYS_IN += [(way, *environment) for way in (by_resume, by_evaluation, by_sweep) for environment in ENVIRONMENTS[::6]]


@pytest.mark.parametrize("way_in, env, env_args", WAYS_IN, ids=lambda value: ascii(value)[:20])
def test_no_file_makes_anything_be_imported_or_called(way_in, env, env_args):
    refuse(way_in, {"env": env, "env_args": env_args})


def test_the_line_shows_what_would_be_called_and_how_to_go_on():
    message = refuse(by_policy_signed_by_another, {"env": "os:system", "env_args": ["command=touch pwned"]})
    assert message == (
        "env is 'os:system' in the policy, which would import 'os' and call \"system(command='touch pwned')\"; the "
        "file has no signature of yours for that. If you know what it does, add --trust, or name it yourself with --env"
    )


YAML_TEXTS = [
    "env: !!python/object/apply:os.system ['touch pwned']",
    "env: !!python/object/new:os.system ['touch pwned']",
    "env: !!python/object:planted.Task {}",
    "env: !!python/name:os.system",
    "env: !!python/module:planted",
    "env: !!python/tuple [os:system]",
    "!!python/object/apply:subprocess.Popen {args: [touch, pwned]}",
    "? !!python/object/apply:os.system ['touch pwned']\n: 1",
    "env: !planted {}",
    "%TAG ! tag:yaml.org,2002:python/\n---\nenv: !module:planted",
    "env_args: ['size=!!python/object/apply:os.system [touch pwned]']",
    "env: {os: system}",
    "env: [os:system]",
    "algorithm: os:system",
    "algorithm: planted",
    "trust: true\nenv: os:system",
    "signature: true\nenv: os:system",
    "config: c.yaml",
    "resume: .",
    "run_dir: /",
]


@pytest.mark.parametrize("text", YAML_TEXTS)
def test_no_yaml_makes_anything_be_imported_or_called(strangers_folder, text):
    (strangers_folder / "c.yaml").write_text(text)
    refuse(lambda: environment_of(cli.parse("ppo", ["--config", "c.yaml"])[0]))


def policy_arrays():
    """The arrays of a small policy for CartPole."""
    return {
        "format": np.int64(2),
        "environment": np.str_('{"env": "CartPole-v1"}'),
        "observation_shape": np.asarray([4]),
        "activation": np.str_("tanh"),
        "activated": np.asarray([False]),
        "discrete": np.bool_(True),
        "kernel_0": np.zeros((4, 2)),
        "bias_0": np.zeros(2),
    }


def npz(**changes):
    file = io.BytesIO()
    arrays = {name: array for name, array in {**policy_arrays(), **changes}.items() if array is not None}
    np.savez(file, **arrays)
    return file.getvalue()


def with_member(name, contents, compression=zipfile.ZIP_DEFLATED, **changes):
    """A policy with a member that NumPy would not write."""
    file = io.BytesIO(npz(**changes))
    with zipfile.ZipFile(file, "a", compression) as archive:
        archive.writestr(f"{name}.npy", contents)
    return file.getvalue()


def header(description, contents=b""):
    text = description.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + contents


def with_entries(contents, offset, value):
    """The archive with some bytes of every entry of its list of contents replaced."""
    data = bytearray(contents)
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        data[place + offset : place + offset + len(value)] = value
        place = data.find(b"PK\x01\x02", place + 4)
    return bytes(data)


CONVOLUTIONS = {
    "observation_shape": np.asarray([3000, 3000, 1]),
    "convolution_strides": np.asarray([1]),
    "observation_scale": np.float64(1),
    "stack_first": np.bool_(False),
    "convolution_kernel_0": np.zeros((500, 500, 1, 1), np.float32),
    "convolution_bias_0": np.zeros(1),
}
POLICIES = {
    "an object array": lambda: npz(kernel_0=np.asarray([Pickled()], object)),
    "an object array as environment": lambda: npz(environment=np.asarray(Pickled(), object)),
    "an object array as signature": lambda: npz(signature=np.asarray(Pickled(), object)),
    "objects within a structure": lambda: npz(bias_0=np.asarray([(Pickled(),)], [("a", object)])),
    "a pickle": lambda: pickle.dumps(Pickled()),
    "a pickle as an array": lambda: with_member("kernel_0", pickle.dumps(Pickled()), kernel_0=None),
    "an array alone": lambda: header("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", bytes(16)),
    "an object array alone": lambda: header(
        "{'descr': '|O', 'fortran_order': False, 'shape': ()}", pickle.dumps(Pickled())
    ),
    "code as a header": lambda: with_member("kernel_0", header("__import__('planted')"), kernel_0=None),
    "a deep header": lambda: with_member("kernel_0", header("(" * 110), kernel_0=None),
    "a header that promises more": lambda: with_member(
        "kernel_0", header("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,)}"), kernel_0=None
    ),
    "a negative shape": lambda: with_member(
        "kernel_0", header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -2)}", bytes(16)), kernel_0=None
    ),
    "a wide type": lambda: with_member(
        "kernel_0", header("{'descr': '|V2000000000', 'fortran_order': False, 'shape': ()}"), kernel_0=None
    ),
    "a compression without limits": lambda: with_member("kernel_0", bytes(9999), zipfile.ZIP_BZIP2, kernel_0=None),
    "arrays of 3 GB": lambda: with_entries(npz(), 24, (3 * 10**9).to_bytes(4, "little")),
    "an encrypted archive": lambda: with_entries(npz(), 8, b"\x01"),
    "half an archive": lambda: npz()[:400],
    "a newer format": lambda: npz(format=np.int64(99)),
    "a format that is no number": lambda: npz(format=np.str_("os:system")),
    "a format below all": lambda: npz(format=np.int64(-3)),
    "weights that are not numbers": lambda: npz(kernel_0=np.full((4, 2), np.nan)),
    "weights that are dates": lambda: npz(kernel_0=np.ones((4, 2), "M8[s]")),
    "a format of many numbers": lambda: npz(format=np.arange(9)),
    "an activation of its own": lambda: npz(activation=np.str_("os:system")),
    "an environment that is a list": lambda: npz(environment=np.str_('["os:system"]')),
    "an environment that is no text": lambda: npz(environment=np.str_('{"env": 5}')),
    "an environment of deep lists": lambda: npz(environment=np.str_("[" * 50_000)),
    "an environment with other arguments": lambda: npz(environment=np.str_('{"env": "CartPole-v1", "request": 1}')),
    "an environment with a field of the training": lambda: npz(
        environment=np.str_('{"env": "CartPole-v1", "seed": 1}')
    ),
    "an environment without end": lambda: npz(
        environment=np.str_('{"env": "CartPole-v1", "action_repeat": 1000000000}')
    ),
    "an environment of a terabyte": lambda: npz(
        environment=np.str_('{"env": "CartPole-v1", "frame_stack": 1000000000}')
    ),
    "an environment of many processes": lambda: npz(
        environment=np.str_('{"env": "gymnasium:CartPole-v1", "env_workers": 1000000}')
    ),
    "an environment of wrong types": lambda: npz(environment=np.str_('{"env": "CartPole-v1", "action_repeat": {}}')),
    "layers that do not fit": lambda: npz(kernel_0=np.zeros((5, 2))),
    "no layers": lambda: npz(kernel_0=None),
    "observations of a terabyte": lambda: npz(observation_shape=np.asarray([10**6, 10**6])),
    "convolutions of a terabyte": lambda: npz(**CONVOLUTIONS),
    "a stride of nothing": lambda: npz(**{**CONVOLUTIONS, "convolution_strides": np.asarray([0])}),
}


@pytest.mark.parametrize("kind", POLICIES)
def test_no_policy_runs_anything_or_fills_the_memory(strangers_folder, kind):
    path = strangers_folder / "policy.npz"
    path.write_bytes(POLICIES[kind]())
    refuse(evaluate, EvaluateOptions(policy=path))


def test_what_a_policy_does_not_need_is_not_read(strangers_folder, monkeypatch):
    path = strangers_folder / "policy.npz"
    file = io.BytesIO(npz())
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("unused.npy", bytes(3_000_000))
        archive.writestr("pickled.npy", pickle.dumps(Pickled()))
    path.write_bytes(file.getvalue())
    opened, really_open = [], zipfile.ZipFile.open

    def record(archive, member, *arguments, **more):
        opened.append(getattr(member, "filename", member))
        return really_open(archive, member, *arguments, **more)

    monkeypatch.setattr(zipfile.ZipFile, "open", record)
    assert load_policy(path).act(np.zeros(4)) == 0
    assert sorted(opened) == sorted(f"{name}.npy" for name in policy_arrays())


def test_the_small_policy_is_a_good_one(strangers_folder):
    path = strangers_folder / "policy.npz"
    path.write_bytes(npz())
    assert load_policy(path).environment == {"env": "CartPole-v1"}


def test_a_plot_imports_nothing_that_a_folder_names(strangers_folder):
    write_yaml("config.yaml", {"env": "planted:make"})
    (strangers_folder / "metrics.jsonl").write_text('{"env_steps": 1, "score_last100": 2.0}\n')
    run = plot.read_run(strangers_folder)
    assert run.values["env"] == "planted:make"


def bomb():
    """An array of zeros, compressed a thousandfold."""
    file = io.BytesIO()
    np.savez_compressed(file, zeros=np.zeros(5_000_000, np.uint8))
    return file.getvalue()


CHECKPOINTS = {
    "a pickle": lambda: pickle.dumps(Pickled()),
    "an object array": lambda: npz(kernel_0=np.asarray([Pickled()], object)),
    "a pickle as an array": lambda: with_member("kernel_0", pickle.dumps(Pickled()), kernel_0=None),
    "arrays of 3 GB": lambda: with_entries(npz(), 24, (3 * 10**9).to_bytes(4, "little")),
    "a compression without limits": lambda: with_member("kernel_0", bytes(9999), zipfile.ZIP_BZIP2, kernel_0=None),
    "arrays that expand": bomb,
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_no_checkpoint_runs_anything_or_fills_the_memory(strangers_folder, monkeypatch, kind):
    monkeypatch.setattr(checkpoints, "MISFIT", 1_000_000)
    state = {"weights": np.zeros((4, 2), np.float32)}
    stored = checkpoints.Checkpoints(strangers_folder / "checkpoints", 3)
    stored.save(16, state, {})
    (found,) = stored.path(16).rglob("arrays.npz")
    found.write_bytes(CHECKPOINTS[kind]())
    handlers = {"item_handlers": {"state": "planted.Handler", "about": "os.system"}}
    (stored.path(16) / "_CHECKPOINT_METADATA").write_text(json.dumps(handlers))
    (found.parent / "_METADATA").write_bytes(pickle.dumps(Pickled()))
    reasons = []
    refuse(checkpoints.Checkpoints(strangers_folder / "checkpoints", 3).restore, state, reasons.append)
    assert len(reasons) == 1


@pytest.mark.parametrize("name", ["about.json", "arrays.npz", "_CHECKPOINT_METADATA"])
def test_what_is_no_file_of_a_checkpoint_is_not_opened(strangers_folder, name):
    stored = checkpoints.Checkpoints(strangers_folder / "checkpoints", 3)
    stored.save(16, {"weights": np.zeros(2, np.float32)}, {})
    (found,) = stored.path(16).rglob(name)
    found.unlink()
    found.symlink_to("/dev/null")  # as well it could be one without an end
    assert f"{name} is no file" in refuse(checkpoints.Checkpoints(stored.directory, 3).restore, {}, pytest.fail)


def test_metadata_of_deep_lists_are_one_line(strangers_folder):
    stored = checkpoints.Checkpoints(strangers_folder / "checkpoints", 3)
    stored.save(16, {"weights": np.zeros(2, np.float32)}, {})
    (stored.path(16) / "_CHECKPOINT_METADATA").write_text("[" * 100_000)
    assert "cannot be read" in refuse(checkpoints.Checkpoints(stored.directory, 3).restore, {}, pytest.fail)


def test_of_what_is_known_of_a_checkpoint_no_more_is_read_than_any_needs(strangers_folder, monkeypatch):
    monkeypatch.setattr(checkpoint_files, "LARGEST_ABOUT", 1000)
    stored, reasons = checkpoints.Checkpoints(strangers_folder / "checkpoints", 3), []
    stored.save(16, {"weights": np.zeros(2, np.float32)}, {"filler": "x" * 2000})
    refuse(checkpoints.Checkpoints(stored.directory, 3).restore, {"weights": np.zeros(2, np.float32)}, reasons.append)
    assert "more than 1,000 bytes" in reasons[0]


def test_a_link_in_place_of_a_sweeps_checkpoints_costs_nothing_it_leads_to(strangers_folder):
    (strangers_folder / "precious").mkdir()
    link = strangers_folder / "chunk_0"
    link.symlink_to(strangers_folder / "precious")
    sweep_run.remove_checkpoints(link)
    assert (strangers_folder / "precious").is_dir()


@pytest.mark.parametrize("field", ["network"])
def test_parts_that_are_handed_in_go_through_the_same_gate(field):
    write_yaml("c.yaml", {"env": "CartPole-v1", field: "planted:make"})
    parse = {
        "config": lambda: cli.parse("ppo", ["--config", "c.yaml"])[0],
        "grid": lambda: swept(field, "planted:make,planted:other"),
    }
    for read in parse.values():
        message = refuse(lambda read=read: algorithms.make_algorithm(read()))
        assert message.startswith(f"{field} is 'planted:make' in ") and "would import 'planted'" in message


def swept(field, choices):
    """The first configuration of a sweep's folder that goes over a field."""
    write_yaml("sweep.yaml", {"env": "CartPole-v1", "grid": [f"{field}={choices}"]})
    base, options = sweep.parse(["--resume", "."])
    return dataclasses.replace(base, **options.grid_points(type(base))[0])
