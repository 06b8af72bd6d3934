"""What the benchmark reads from a compiler's text; slow: that compilers for GPUs and TPUs leave no branch in a loop."""

import json

import pytest

from benchmarks import accelerators, chips
from benchmarks.accelerators import Loop, Options

TEXT = """HloModule jit_advance

%step (p: (f32[4])) -> (f32[4]) {
  %p = (f32[4]) parameter(0)
  %x = f32[4] get-tuple-element(%p), index=0
  %fusion.1 = f32[4] fusion(%x), kind=kLoop, calls=%fused, metadata={op_name="jit(f)/while/body/rollout_step/add"}
  %gemm = f32[4] custom-call(%fusion.1), custom_call_target="__cublas$gemm"
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
    assert list(accelerators.loops(TEXT)) == [Loop({"rollout_step": 1}, 3, 1)] * 2
    assert accelerators.kernels_of(list(accelerators.loops(TEXT)), "rollout_step") == 3
    assert accelerators.kernels_of(list(accelerators.loops(TEXT)), "gradient_step") is None


def test_a_scopes_loop_is_not_the_one_around_it_that_something_was_moved_to():
    around, own = Loop({"rollout_step": 2}, 300, 0), Loop({"rollout_step": 9}, 12, 0)
    assert accelerators.kernels_of([around, own], "rollout_step") == 12


def test_a_target_whose_compiler_is_missing_is_named_with_its_extra(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(chips.importlib.util, "find_spec", lambda name: None)
    accelerators.main(Options(targets=("v5e:2x2", "h100"), output=tmp_path / "none.json"))
    assert "v5e:2x2 needs the extra tpu-compile\nh100 needs the extra cuda-compile\n" in capsys.readouterr().out


def test_a_description_is_written_as_text_that_protocol_buffers_read():
    assert chips.as_text_proto({"a": {"b": 1}, "c": "d"}) == 'a { b: 1 } c: "d"'


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
        assert row["conditionals_in_loops"] == 0 and row["callbacks"] == 0, row
        assert row["donated_bytes"] > 0.9 * row["argument_bytes"], row
        assert row["program"] == "sharded" or not row["collectives"], row
