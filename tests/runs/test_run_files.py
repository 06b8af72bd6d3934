"""The files that grow during a run: nothing is lost on a full disk, and nothing is twice after a resume."""

import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from purejaxrl_gae.runs import json_lines
from purejaxrl_gae.runs.events import EventFile, cut_after
from purejaxrl_gae.runs.growing_file import GrowingFile
from purejaxrl_gae.runs.run_folder import RunFolder


def events(path):
    """Of one file, read by nothing but the format's definition."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def curve_steps(folder):
    files = sorted(folder.glob("events.out.tfevents.*"))
    return [event.step for file in files for event in events(file) if event.HasField("summary")]


def test_what_a_full_disk_refuses_is_written_later_and_nothing_is_half_written(tmp_path, files_of_at_most):
    file = GrowingFile(tmp_path / "metrics.jsonl")
    file.add(b"first\n")
    file.flush()
    file.add(b"second" * 100 + b"\n")
    with files_of_at_most(50), pytest.raises(OSError):
        file.flush()
    assert file.path.read_bytes() == b"first\n"
    file.add(b"third\n")
    file.flush()
    file.flush()
    assert file.path.read_bytes() == b"first\n" + b"second" * 100 + b"\nthird\n"


def test_what_waits_for_a_disk_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("purejaxrl_gae.runs.growing_file.MOST_KEPT", 10)
    file = GrowingFile(tmp_path / "missing" / "metrics.jsonl")
    for piece in (b"11111", b"22222", b"33333"):
        file.add(piece)
        with pytest.raises(OSError):
            file.flush()
    file.path.parent.mkdir()
    file.flush()
    assert file.path.read_bytes() == b"2222233333"


GOOD = [b'{"env_steps": 1}', b'{"env_steps": 2}', b'{"env_steps": 3}']


@pytest.mark.parametrize("bad", [b"", b"null", b"{}", b"\xff\xfe", b'{"env_st', b'{"env_steps": "2"}', b"[" * 9999])
def test_a_damaged_line_costs_no_other_and_is_kept_aside(tmp_path, bad):
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([GOOD[0], bad, *GOOD[1:], b'{"env_steps": 4}', b'{"env_st']))
    said = []
    RunFolder(tmp_path, said.append, tensorboard=False).forget_after(3)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"\n".join([*GOOD, b""])
    assert (tmp_path / "metrics.damaged").read_bytes() == bad + b"\n"
    (line,) = said
    assert line.startswith("line 2 of") and line.endswith("all others are kept")


def test_a_last_line_that_a_crash_cut_short_needs_no_mention(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(GOOD[0] + b'\n{"env_st')
    assert not json_lines.read(tmp_path / "metrics.jsonl", lambda record: "env_steps" in record).unreadable
    RunFolder(tmp_path, pytest.fail, tensorboard=False).forget_after(3)
    assert (tmp_path / "metrics.jsonl").read_bytes() == GOOD[0] + b"\n"


def test_metrics_that_cannot_be_read_stop_no_resume(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    folder = RunFolder(tmp_path, lambda message: None, tensorboard=False)
    folder.forget_after(3)
    assert folder.failing == {"metrics.jsonl": "Is a directory"}


def test_a_link_to_a_device_is_not_read(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/null")  # as well it could be one without an end
    folder = RunFolder(tmp_path, lambda message: None, tensorboard=False)
    folder.forget_after(3)
    assert folder.failing == {"metrics.jsonl": "it is no file"}


def test_events_are_on_disk_after_a_flush_and_cut_where_a_run_goes_on(tmp_path):
    before = RunFolder(tmp_path, pytest.fail, tensorboard=True)
    for step in (10, 20, 30):
        before.report({"env_steps": step, "episodic_return": [1.0, float("nan")]}, [5, 6])
    before.flush()  # and then it is killed
    assert curve_steps(tmp_path / "seed_5") == [10, 20, 30]
    after = RunFolder(tmp_path, pytest.fail, tensorboard=True)
    after.forget_after(20)
    for step in (30, 40):
        after.report({"env_steps": step, "episodic_return": [1.0, 2.0]}, [5, 6])
    after.close()
    for seed in (5, 6):
        assert sorted(curve_steps(tmp_path / f"seed_{seed}")) == [10, 20, 30, 40]
    starts = [
        event for path in (tmp_path / "seed_5").iterdir() for event in events(path) if event.HasField("session_log")
    ]
    assert [(event.step, event.session_log.status) for event in starts] == [(21, SessionLog.START)]


def test_a_record_that_a_crash_cut_short_is_cut_off(tmp_path):
    file = EventFile(tmp_path, None)
    file.add({"episodic_return": 1.0}, 10)
    file.add({"episodic_return": 1.0}, 20)
    file.flush()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    cut_after(tmp_path, 1000)
    assert curve_steps(tmp_path) == [10]
