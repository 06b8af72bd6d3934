"""Suites of results: what is run, what is kept of it whatever stops it, and that published tables are what it says."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.results import __main__ as command
from benchmarks.results import drawing, pages, processes, records, suites, tables
from benchmarks.results.records import KEYS, ResultsFile
from benchmarks.results.schedule import Scheduler
from benchmarks.results.suites import ROOT, Configuration, Job, Key
from purejaxrl_gae.settings.errors import Interrupted, RunError, UserError

TINY = {"title": "tiny", "blocks": [{"envs": ["one", "two"], "algorithms": ["ppo", "a2c"], "seeds": 3}]}


class Fake:
    """A process that ends at a given look, with a result."""

    def __init__(self, result, looks=1, log=None):
        self.result, self.looks, self.log = result, looks, log if log is not None else []

    def poll(self):
        self.looks -= 1
        return None if self.looks > 0 else self.result

    def stop(self):
        self.log.append("stopped")


def record(env="one", algo="ppo", seed=0, score=1.0, variant="", **changes):
    numbers = dict.fromkeys(("eval_mean", "eval_sampled_mean", "train_last100"), score)
    named = {"env": env, "algo": algo, **({"variant": variant} if variant else {}), "seed": seed}
    rest = {"env_steps": 100, "wall_seconds": 1.0, "curve": [[50, None], [100, score]], "versions": {"commit": "c0"}}
    return {**named, **rest, **numbers, **changes}


def by_key(*found):
    return {records.key_of(each): each for each in found}


def configuration(seeds=5, together=1, **changes):
    values = {"env": "one", "algo": "ppo", "variant": "", "settings": {}, "preset": True}
    return Configuration(**{**values, **changes}, seeds=tuple(range(seeds)), together=together)


@pytest.mark.parametrize("name", suites.names())
def test_every_run_of_a_suite_is_one_that_the_package_takes(name):
    suite = suites.load(name)
    for each in suite.configurations:
        assert each.is_peer or each.training_config().env == each.env
    folders = [processes.folder_of(job) for job in suites.jobs(suite.configurations, set())]
    assert len(set(folders)) == len(folders)
    variants = {each.variant for each in suite.configurations}
    assert set(suite.paper) | {each for pair in suite.pairs.values() for each in pair} <= variants
    assert not suite.random or suite.random in variants


def test_a_block_is_every_combination_and_later_settings_win():
    block = {
        **{"envs": ["one"], "algorithms": ["ppo", "a2c"], "seeds": 2, "first_seed": 7},
        **{"settings": {"gamma": 0.9, "ent_coef": 0.1}, "settings_of": {"a2c": {"gamma": 0.8}}},
        "variants": {"plain": {}, "long": {"ent_coef": 0.2}},
    }
    found = suites.read("mine", {"title": "t", "blocks": [block]}).configurations
    assert [(each.algo, each.variant, each.settings["gamma"], each.settings["ent_coef"]) for each in found] == [
        ("ppo", "plain", 0.9, 0.1),
        ("ppo", "long", 0.9, 0.2),
        ("a2c", "plain", 0.8, 0.1),
        ("a2c", "long", 0.8, 0.2),
    ]
    assert found[0].seeds == (7, 8)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"blocks": []}, "blocks"),
        ({"blocks": [{"envs": ["one"], "algorithms": ["ppo"]}]}, "seeds"),
        ({"blocks": [{**TINY["blocks"][0], "envs": "one"}]}, "envs 'one'; it must be a list"),
        ({"blocks": [{**TINY["blocks"][0], "sedes": 3}]}, "'sedes'; did you mean 'seeds'"),
        ({"blocks": TINY["blocks"] * 2}, "twice"),
        ({"table": "pie"}, "'pie'"),
    ],
)
def test_a_wrong_suite_is_refused_in_one_line(changes, message):
    with pytest.raises(UserError, match=message) as raised:
        suites.read("mine", {**TINY, **changes})
    assert "\n" not in str(raised.value)


def test_seeds_are_trained_together_in_rows_of_those_that_are_missing():
    five = configuration(5, together=2)
    rows = [job.seeds for job in suites.jobs([five], {Key("one", "ppo", "", 1)})]
    assert rows == [(0,), (2, 3), (4,)]
    assert [job.seeds for job in suites.jobs([five], set(), alone=True)] == [(0,), (1,), (2,), (3,), (4,)]
    assert suites.jobs([five], set(five.keys)) == []


def test_at_most_as_many_run_at_once_as_there_are_slots_and_each_once():
    started, kept, running = [], [], set()

    def start(job, slot):
        assert slot not in running and len(running) < 2
        running.add(slot)
        started.append(job)
        return Fake(slot, looks=1 + job % 3)

    def keep(job, slot):
        running.remove(slot)
        kept.append(job)

    Scheduler(start, keep, slots=2, pause=lambda: None).run(range(7))
    assert started == list(range(7))
    assert sorted(kept) == list(range(7))


def test_what_has_ended_is_kept_and_what_is_under_way_is_stopped_when_asked():
    kept, log = [], []

    def start(job, slot):
        return Fake(job, looks=1 if job == 0 else 99, log=log)

    stops = lambda: bool(kept)  # noqa: E731
    Scheduler(start, lambda job, _: kept.append(job), slots=2, stopped=stops, pause=lambda: None).run(range(5))
    assert kept == [0]
    assert log == ["stopped"]


def test_an_error_while_keeping_leaves_no_process_behind():
    log = []

    def keep(job, result):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Scheduler(lambda job, slot: Fake(job, 1 + 9 * slot, log), keep, pause=lambda: None).run(range(2))
    assert log == ["stopped"]


def test_a_results_file_keeps_what_it_has_and_one_process_writes_it(tmp_path):
    path = tmp_path / "results" / "mine.json"
    first = ResultsFile(path)
    first.lock()
    first.add([record(seed=1)])
    first.add([record(seed=0), record(seed=1, score=2.0)])
    assert [each["seed"] for each in json.loads(path.read_text())] == [0, 1]
    with pytest.raises(UserError, match="another process is writing"):
        ResultsFile(path).lock()
    first.close()
    second = ResultsFile(path)
    second.lock()
    assert second.read().records[Key("one", "ppo", "", 1)]["eval_mean"] == 2.0
    second.close()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"env": "one"}]', "[{"])
def test_a_results_file_of_something_else_is_refused_and_left_alone(tmp_path, text):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(UserError, match="holds no list of runs"):
        ResultsFile(path).read()
    assert path.read_text() == text


def test_a_curve_has_a_hundred_points_and_null_before_the_first_episode():
    steps = np.arange(1, 51) * 20
    scores = np.where(steps > 100, steps / 10.0, np.nan)
    found = records.curve(steps, scores)
    assert len(found) == 100
    assert found[0] == [10, None]
    assert found[10] == [110, None]  # between the reports at 100, without, and 120
    assert found[11] == [120, 12.0]
    assert found[-1] == [1000, 100.0]
    assert [point for _, point in records.curve(steps, np.full(50, np.nan))] == [None] * 100


def written_run(folder, seeds):
    """A finished run's folder, of as many seeds."""
    folder.mkdir(parents=True)
    row = {"eval_return_mean": 3.0, "eval_sampled_return_mean": 2.0, "train_return_last100": 1.0}
    summary = {
        **{"env_steps": 200, "compile_seconds": 2.0, "run_seconds": 3.0, "evaluation_seconds": 1.0},
        **{"versions": {"jax": "1"}, "device": "cpu"},
        **(row if len(seeds) == 1 else {"seeds": [{**row, "seed": s, "eval_return_mean": 3.0 + s} for s in seeds]}),
    }
    score = 1.0 if len(seeds) == 1 else [1.0 + seed for seed in seeds]
    (folder / "summary.json").write_text(json.dumps(summary))
    lines = [{"env_steps": steps, "score_last100": score} for steps in (100, 200)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_record_has_the_published_keys_for_each_seed(tmp_path):
    alone, two = Job(configuration(1), (0,)), Job(configuration(3), (1, 2))
    written_run(tmp_path / "alone", [0])
    written_run(tmp_path / "two", [1, 2])
    (solo,) = records.of_run(alone, tmp_path / "alone", {"commit": "c0"})
    assert tuple(solo) == KEYS
    assert (solo["eval_mean"], solo["eval_sampled_mean"], solo["train_last100"], solo["wall_seconds"]) == (3, 2, 1, 6)
    assert solo["versions"] == {"jax": "1", "device": "cpu", "commit": "c0", "seeds_in_process": 1}
    pair = records.of_run(two, tmp_path / "two", {"commit": "c0"})
    assert [(each["seed"], each["eval_mean"], each["wall_seconds"]) for each in pair] == [(1, 4.0, 3.0), (2, 5.0, 3.0)]
    assert [each["curve"][-1] for each in pair] == [[200, 2.0], [200, 3.0]]
    with pytest.raises(RunError, match="without summary"):
        records.of_run(alone, tmp_path / "nothing", {})


def test_failed_runs_wait_for_retry_and_are_then_alone():
    three = configuration(3, together=3)
    known = by_key(record(seed=0), *records.failed(Job(three, (1, 2)), "error: boom", {}))
    assert command.waiting([three], known, retry=False) == []
    assert [job.seeds for job in command.waiting([three], known, retry=True)] == [(1,), (2,)]


def options(tmp_path, **changes):
    return command.Options("mine", results=tmp_path / "results", folders=tmp_path / "runs", processes=1, **changes)


def fake_processes(monkeypatch, ending):
    """Processes that end by `ending(job)`: records, or an exception in their place."""
    started = []

    def start(job, folder, versions, cores):
        started.append((job.configuration.env, job.seeds))
        return Fake(ending(job))

    monkeypatch.setattr(processes, "RunProcess", start)
    monkeypatch.setattr(Configuration, "training_config", lambda self: None)
    return started


def results_of(job):
    return [record(key.env, key.algo, key.seed) for key in job.keys]


def test_a_suite_goes_on_where_it_was_stopped_and_nothing_is_run_twice(tmp_path, monkeypatch):
    suite = suites.read("mine", TINY)

    def stopped_at_the_fourth(job):
        if len(started) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return results_of(job)

    started = fake_processes(monkeypatch, stopped_at_the_fourth)
    with pytest.raises(Interrupted) as raised:
        command.run(suite, options(tmp_path))
    assert raised.value.exit_code == 128 + signal.SIGTERM
    kept = set(ResultsFile(tmp_path / "results" / "mine.json").read().records)
    assert len(kept) >= 3
    again = fake_processes(monkeypatch, results_of)
    command.run(suite, options(tmp_path))
    assert len(again) == len(suite.keys) - len(kept)
    assert set(ResultsFile(tmp_path / "results" / "mine.json").read().records) == set(suite.keys)
    assert not fake_processes(monkeypatch, results_of) and not command.run(suite, options(tmp_path))


def test_a_failed_run_is_recorded_with_its_line_and_said(tmp_path, monkeypatch):
    suite = suites.read("mine", {**TINY, "blocks": [{"envs": ["one"], "algorithms": ["ppo"], "seeds": 2}]})
    fails = lambda job: records.failed(job, "error: boom", {}) if job.seeds == (1,) else results_of(job)  # noqa: E731
    started = fake_processes(monkeypatch, fails)
    for _ in range(2):  # the second time nothing is run
        with pytest.raises(RunError, match="1 of 2 runs failed"):
            command.run(suite, options(tmp_path))
    assert started == [("one", (0,)), ("one", (1,))]
    known = ResultsFile(tmp_path / "results" / "mine.json").read().records
    assert known[Key("one", "ppo", "", 1)]["error"] == "error: boom"
    assert "| one | 1.00 (100, 1 seed) |" in tables.table(suite, known)
    assert "Failed: ppo on one, seed 1." in tables.table(suite, known)
    assert "| one | failed |" in tables.table(suite, by_key(*records.failed(Job(configuration(2), (0, 1)), "boom", {})))
    fake_processes(monkeypatch, results_of)
    command.run(suite, options(tmp_path, retry=True))
    assert not any(map(records.has_failed, ResultsFile(tmp_path / "results" / "mine.json").read().records.values()))


def python_job(monkeypatch, script):
    """A job whose command is a script, given its folder."""
    monkeypatch.setattr(
        processes, "command_of", lambda job, folder: [sys.executable, "-c", script, str(folder), "--env", "one"]
    )
    return Job(configuration(1), (0,))


def ended(process):
    while (found := process.poll()) is None:
        time.sleep(0.02)
    return found


def test_a_process_that_fails_leaves_the_line_that_says_why(tmp_path, monkeypatch):
    script = "import sys; print('fine'); print(f'error: bad {sys.argv[1]}/run'); print('noise'); sys.exit(2)"
    job = python_job(monkeypatch, script)
    (found,) = ended(processes.RunProcess(job, tmp_path / "job", {"commit": "c0"}, set()))
    assert found["error"] == "error: bad job/run (exit code 2)"
    assert found["eval_mean"] is None and set(KEYS) <= set(found)
    assert not (tmp_path / "job" / "command.json").exists()  # a retry begins anew
    killed = python_job(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    (found,) = ended(processes.RunProcess(killed, tmp_path / "job", {"commit": "c0"}, set()))
    assert found["error"] == "killed by signal 9"


def test_a_process_goes_on_only_with_the_same_command_at_the_same_commit(tmp_path, monkeypatch):
    job = python_job(monkeypatch, "import sys; open(sys.argv[1] + '/arguments', 'w').write(' '.join(sys.argv))")

    def started(commit):
        ended(processes.RunProcess(job, tmp_path / "job", {"commit": commit}, set()))
        return "--resume" in (tmp_path / "job" / "output.txt").with_name("arguments").read_text()

    assert not started("c0")
    (tmp_path / "job" / "run" / "checkpoints" / "1").mkdir(parents=True)
    assert started("c0")
    assert not started("c1")
    (tmp_path / "job" / "run" / "checkpoints" / "1").mkdir(parents=True)
    assert not started("c1 with changes")
    assert not started("c1 with changes")
    assert not (tmp_path / "job" / "run").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
def test_a_run_dies_with_the_suite_that_is_killed():
    script = (
        "import subprocess, time; from benchmarks.results.children import tied\n"
        "made = subprocess.Popen(['sleep', '60'], preexec_fn=tied(set()), start_new_session=True)\n"
        "print(made.pid, flush=True); time.sleep(60)"
    )
    suite = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    child = int(suite.stdout.readline())
    suite.kill()
    suite.wait()
    deadline = time.monotonic() + 30.0
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(child)


def is_running(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # one that nobody has waited for yet


def test_a_table_of_scores_says_middle_interval_steps_and_what_is_missing():
    suite = suites.read("mine", TINY)
    known = by_key(*(record(seed=seed, score=500.0) for seed in range(3)), record("two", "a2c", score=-1.5))
    lines = tables.table(suite, known).splitlines()
    assert lines[:4] == [
        "| | PPO | A2C |",
        "|---|---|---|",
        "| one | 500 (100) | not run |",
        "| two | not run | -1.50 (100, 1 seed) |",
    ]
    assert tables.short_commit("0123456789abcdef with changes") == "0123456789 with changes"
    assert lines[-1] == "4 of 12 runs. The others: `python -m benchmarks.results mine`. Commits: c0."


def test_a_peer_is_trained_by_its_own_python_and_its_seconds_are_shown():
    block = {"envs": ["gymnasium:Hopper-v5"], "algorithms": ["sb3_ppo"], "seeds": 1}
    suite = suites.read("mine", {"title": "t", "wall": True, "blocks": [block]})
    (job,) = suites.jobs(suite.configurations, set())
    assert processes.command_of(job, Path("job"))[1:3] == ["-m", "benchmarks.results.sb3"]
    table = tables.table(suite, by_key(record("gymnasium:Hopper-v5", "sb3_ppo", wall_seconds=61.2)))
    assert "| gymnasium:Hopper-v5 | 1.00 (100, 61 s) |" in table


def test_the_worst_seed_is_shown_beside_the_middle_where_a_suite_asks():
    block = {"envs": ["one"], "algorithms": ["ppo"], "seeds": 2}
    suite = suites.read("mine", {"title": "t", "worst": True, "blocks": [block]})
    table = tables.table(suite, by_key(record(score=3.0), record(seed=1, score=-2.5)))
    assert "worst -2.50, 100)" in table and "In round brackets: worst seed, environment steps of a run." in table


def test_normalised_scores_have_the_random_policy_at_0_and_the_best_row_at_1():
    block = {"envs": ["one"], "algorithms": ["ppo"], "seeds": 2, "variants": {"random": {}, "good": {}, "bad": {}}}
    values = {"title": "t", "table": "normalised", "random": "random", "paper": {"good": 0.82}, "blocks": [block]}
    suite = suites.read("mine", values)
    scores = {"random": (-10.0, 10.0), "good": (90.0, 110.0), "bad": (-50.0, -50.0)}
    known = by_key(*(record(variant=name, seed=s, score=pair[s]) for name, pair in scores.items() for s in (0, 1)))
    lines = tables.table(suite, known).splitlines()
    assert lines[2] == "| good | 1.00 | 0.90 .. 1.10 | 0.82 | 1.00 |"
    assert lines[3] == "| bad | -0.50 | -0.50 .. -0.50 | | -0.50 |"
    del known[Key("one", "ppo", "bad", 0)], known[Key("one", "ppo", "bad", 1)]
    assert tables.table(suite, known).startswith("No task has a run of every row yet.")


def test_a_paired_table_subtracts_runs_of_equal_seeds():
    block = {"envs": ["one", "two"], "algorithms": ["ppo"], "seeds": 3, "variants": {"base": {}, "other": {}}}
    values = {"title": "t", "table": "paired", "pairs": {"other against base": ["base", "other"]}, "blocks": [block]}
    base = [record(variant="base", seed=seed, score=100.0 * seed) for seed in range(3)]
    other = [record(variant="other", seed=seed, score=100.0 * seed + 5.0) for seed in range(2)]
    line = tables.table(suites.read("mine", values), by_key(*base, *other)).splitlines()[2]
    assert line == "| other against base | **+5.00 [+5.00, +5.00]** | not run |"


def grid_suite():
    grid = {"gae_lambda": [0.0, 1.0], "gamma": [0.9, 0.99]}
    block = {"envs": ["one"], "algorithms": ["trpo"], "seeds": 1, "grid": grid}
    return suites.read("mine", {"title": "t", "table": "grid", "blocks": [block]})


def grid_records():
    return by_key(
        *(
            record(algo="trpo", variant=each.variant, score=float(n))
            for n, each in enumerate(grid_suite().configurations)
        )
    )


def test_a_grid_is_one_table_a_task():
    assert tables.table(grid_suite(), grid_records()).splitlines()[:4] == [
        "| one: gae_lambda \\ gamma | 0.9 | 0.99 |",
        "|---|---|---|",
        "| 0 | 0.00 | 1.00 |",
        "| 1 | 2.00 | 3.00 |",
    ]


def test_figures_are_of_every_task_and_algorithm(tmp_path):
    suite = suites.read("mine", TINY)
    known = by_key(*(record(key.env, key.algo, key.seed, score=float(key.seed)) for key in suite.keys))
    panels = drawing.curves_of(suite, known)
    assert [(task, len(curves)) for task, curves in panels.items()] == [("one", 6), ("two", 6)]
    shares = drawing.profiles(suite, known)
    np.testing.assert_allclose(shares["PPO"], [0.0, 0.5, 1.0] * 2)
    level = by_key(*(record(key.env, key.algo, key.seed, score=500.0) for key in suite.keys))
    np.testing.assert_allclose(drawing.profiles(suite, level)["PPO"], np.ones(6))  # the best there is, all of them
    made = [*drawing.draw(suite, known, tmp_path), *drawing.draw(grid_suite(), grid_records(), tmp_path)]
    assert [path.name for path in made] == ["mine_curves.png", "mine_profile.png", "mine_one.png"]
    assert all(path.stat().st_size > 1000 for path in made)
    with pytest.raises(UserError, match="no finished run"):
        drawing.draw(suite, {}, tmp_path)


PAGES = [(page, name, body) for page in pages.pages() for name, body in pages.marked(page.read_text())]


@pytest.mark.parametrize("page, name, body", PAGES, ids=[f"{page.name}-{name}" for page, name, _ in PAGES])
def test_a_table_that_names_a_suite_is_what_its_records_say(page, name, body):
    assert body == pages.table_of(name)


def test_a_mark_may_name_one_algorithm_of_a_suite():
    assert pages.marked("<!-- suite classic ppo -->\n<!-- end of suite -->") == [("classic ppo", "")]
    whole, of_ppo = (pages.table_of(name).splitlines() for name in ("classic", "classic ppo"))
    assert of_ppo[0] == "| | PPO |" and "50 of 50 runs." in of_ppo[-1]
    assert [line.split("|")[:3] for line in of_ppo[2:7]] == [line.split("|")[:3] for line in whole[2:7]]


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "results").glob("*.json")), ids=lambda path: path.stem)
def test_published_records_are_of_runs_of_their_suite(path):
    suite, known = suites.load(path.stem), ResultsFile(path).read().records
    assert set(known) <= set(suite.keys)
    for each in known.values():
        assert set(each) - {"variant", "error"} == set(KEYS)
        assert records.has_failed(each) or len(each["curve"]) == 100


def test_a_marked_table_is_replaced_and_all_else_stays():
    text = "before\n<!-- suite mine -->\nold\n<!-- end of suite -->\nafter"
    changed = pages.updated(text, lambda name: f"{name}: new\n")
    assert changed == "before\n<!-- suite mine -->\nmine: new\n<!-- end of suite -->\nafter"
    assert pages.marked(changed) == [("mine", "mine: new\n")]


def test_a_real_suite_runs_to_its_table(tmp_path, monkeypatch):
    suite, chosen = suites.load("quick"), options(tmp_path)
    command.run(suite, chosen)
    known = ResultsFile(tmp_path / "results" / "quick.json").read().records
    assert [(key.seed, each["env_steps"], len(each["curve"])) for key, each in known.items()] == [
        (0, 2048, 100),
        (1, 2048, 100),
    ]
    assert all(each["versions"]["seeds_in_process"] == 2 and each["versions"]["commit"] for each in known.values())
    assert "2 of 2 runs." in tables.table(suite, known)
    fake_processes(monkeypatch, lambda job: pytest.fail("run twice"))
    command.run(suite, chosen)
