"""What the benchmark reads from a compiler's text; slow: that compilers for GPUs and TPUs leave no branch in a loop."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import accelerators, chips
from benchmarks.accelerators import Loop, Options
from tests.pages import ROOT

TEXT = """HloModule jit_advance

%step (p: (f32[4])) -> (f32[4]) {
  %p = (f32[4]) parameter(0)
  %x = f32[4] get-tuple-element(%p), index=0
  %fusion.1 = f32[4] fusion(%x), kind=kLoop, calls=%fused, metadata={op_name="jit(f)/while/body/rollout_step/add"}
  %gemm = f32[4] custom-call(%fusion.1), custom_call_target="__cublas$gemm"
  %sum = f32[4] all-reduce-start(%gemm)
  %all = f32[4] all-reduce-done(%sum)
  ROOT %cond = (f32[4]) conditional(%gemm, %p, %p), true_computation=%a, false_computation=%b
}

ENTRY %main (a: f32[4]) -> f32[4] {
  %a = f32[4] parameter(0)
  %while.1 = (f32[4]) while(%a), condition=%c, body=%step
  %while.2 = (f32[4]) while(%a), condition=%c, body=%step
  ROOT %r = f32[4] all-reduce(%a)
}
"""


def test_kernels_and_branches_of_each_loop_are_counted():
    assert list(accelerators.loops(TEXT)) == [Loop({"rollout_step": 1}, 4, 1, 1)] * 2
    assert accelerators.loop_of(list(accelerators.loops(TEXT)), "rollout_step").kernels == 4
    assert accelerators.loop_of(list(accelerators.loops(TEXT)), "gradient_step") is None


def test_a_scopes_loop_is_not_the_one_around_it_that_something_was_moved_to():
    around, own = Loop({"rollout_step": 2}, 300, 0, 0), Loop({"rollout_step": 9}, 12, 0, 0)
    assert accelerators.loop_of([around, own], "rollout_step") == own


def test_a_target_whose_compiler_is_missing_is_named_with_its_extra(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(chips.importlib.util, "find_spec", lambda name: None)
    accelerators.main(Options(targets=("v5e:2x2", "h100"), output=tmp_path / "none.json"))
    assert "v5e:2x2 needs the extra tpu-compile\nh100 needs the extra cuda-compile\n" in capsys.readouterr().out


def test_a_description_is_written_as_text_that_protocol_buffers_read():
    assert chips.as_text_proto({"a": {"b": 1}, "c": "d"}) == 'a { b: 1 } c: "d"'


ON_FOUR_DEVICES = """
import jax
from benchmarks import accelerators
from purejaxrl_gae import PPOConfig, ReinforceConfig, TRPOConfig

for kind, more in (
    (PPOConfig, dict(num_minibatches=4)),
    (PPOConfig, dict(num_minibatches=4, memory="gru")),
    (PPOConfig, dict(num_minibatches=4, minibatch_sampling="trajectories")),
    (TRPOConfig, dict(batch_size=64)),
    (ReinforceConfig, {}),
):
    config = kind(env="Pendulum-v1", num_envs=16, num_steps=16, hidden_sizes=(8,), **more)
    text = accelerators.compiled(config, "sharded", jax.devices()).as_text()
    print(accelerators.loop_of(list(accelerators.loops(text)), "gradient_step").collectives)
"""


def test_one_agent_on_four_devices_needs_at_most_two_sums_over_them_in_a_gradient_step():
    """Of memory and of independent samples one: minibatches' advantages are normalised before any is learned from."""
    devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", ON_FOUR_DEVICES]
    found = subprocess.run(command, env=os.environ | devices, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [int(line) for line in found.stdout.split()] == [1, 1, 2, 1, 1]


def assert_it_is_as_it_should_be(row):
    assert row["conditionals_in_loops"] == 0 and row["callbacks"] == 0, row
    assert row["donated_bytes"] > 0.9 * row["argument_bytes"], row
    assert row["program"] == "sharded" or not row["collectives"], row
    assert (row["gradient_step_collectives"] or 0) <= 2, row


def test_the_documented_table_is_that_of_the_kept_rows_and_they_are_as_they_should_be():
    rows = accelerators.read(ROOT / Options().output)
    assert "\n".join(accelerators.table(rows)) + "\n" in (ROOT / "docs" / "devices.md").read_text()
    for row in rows:
        assert_it_is_as_it_should_be(row)
    of_ppo = {(row["target"], row["program"]): row for row in rows if row["algorithm"] == "ppo"}
    pendulum = of_ppo["h100", "one"]
    assert pendulum["rollout_step_kernels"] <= 9 and pendulum["gradient_step_kernels"] <= 30


@pytest.mark.slow
@pytest.mark.parametrize("target", accelerators.TARGETS)
def test_compilers_leave_no_branch_in_a_loop_and_agents_need_nothing_of_each_other(target, tmp_path):
    missing = chips.missing_for(target)
    if missing:
        pytest.skip(missing)
    accelerators.main(Options(targets=(target,), output=tmp_path / "rows.json"))
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["algorithm"] for row in rows} == set(accelerators.ALGORITHMS)
    for row in rows:
        assert_it_is_as_it_should_be(row)
