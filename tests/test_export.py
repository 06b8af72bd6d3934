"""The command that writes a policy as JSON."""

import json

import numpy as np
import pytest

from purejaxrl_gae import UserError, export
from purejaxrl_gae.export import ExportOptions


def save_policy(path):
    """A policy.npz of one layer from four observations to two actions."""
    np.savez(
        path,
        format=np.int64(3),
        environment=np.str_(json.dumps({"env": "CartPole-v1"})),
        observation_shape=np.array([4]),
        activation=np.str_("tanh"),
        activated=np.array([False]),
        kernel_0=np.full((4, 2), 0.1, np.float32),
        bias_0=np.zeros(2, np.float32),
        discrete=np.bool_(True),
    )


def test_the_command_writes_json_or_a_call_with_it(tmp_path, capsys):
    policy = tmp_path / "policy.npz"
    save_policy(policy)
    for name in ("new/policy.json", "policy.js"):
        export.main(["--policy", str(policy), "--output", str(tmp_path / name)])
        assert capsys.readouterr().out == f"policy in {tmp_path / name}\n"
    text = (tmp_path / "new/policy.json").read_text()
    values = json.loads(text)
    assert values["environment"] == "CartPole-v1" and values["layers"][0]["kernel"][0] == [0.1, 0.1]
    assert (tmp_path / "policy.js").read_text() == f"addPolicy({text.strip()});\n"


def test_what_cannot_be_done_is_said_in_one_line(tmp_path):
    policy, text = tmp_path / "policy.npz", tmp_path / "text"
    save_policy(policy)
    text.write_text("no policy")
    for options, message in [
        (ExportOptions(), "policy is not given"),
        (ExportOptions(policy, tmp_path / "policy.txt"), r"output is .*policy.txt'; it must end in .json or .js$"),
        (ExportOptions(tmp_path / "none.npz"), "policy is .*none.npz', which cannot be read: No such file"),
        (ExportOptions(text), "policy is .*text', which cannot be read: "),
        (ExportOptions(policy, text / "policy.json"), "output is .*policy.json', which cannot be written: "),
    ]:
        with pytest.raises(UserError, match=f"^{message}"):
            export.export(options)
