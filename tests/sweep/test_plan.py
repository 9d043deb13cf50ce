"""The plan of a sweep: counted as it is then trained, within memory, and before anything is there."""

import math
import os
import re
import sys
import tracemalloc
from dataclasses import replace

import pytest
from command_line import problems_of
from command_line import run as run_command
from sweep_cases import OWN, STEPS, TINY, Place, cells_and_data

from nnbench.components import ConfigError
from nnbench.protocol.result import run
from nnbench.protocol.stack import start
from nnbench.sweep import memory, plan

IRIS = TINY[:2]
GRID = ("tuning=learning_rate", "tuning.num_trials=5", "tuning.seeds=2", "tuning.max_extensions=0")
# (cells, trainings, steps of the stacks), worked by hand; an epoch has 4 steps unless it says otherwise.
COUNTED = {
    "one cell": (["seeds=5", "num_epochs=3"], (1, 5, 3 * 4)),
    "a sweep": (["-m", "optimizer=adam,gd", "num_epochs=3,5", "seeds=2"], (4, 4 * 2, 2 * (3 + 5) * 4)),
    "full batch": (["batch_size=full", "seeds=2", "num_epochs=3"], (1, 2, 3)),
    "a smaller last batch": (["batch_size=100", "seeds=2", "num_epochs=3"], (1, 2, 3 * 2)),
    "small stacks": (["seeds=5", "stack_size=2", "num_epochs=3"], (1, 5, 3 * 3 * 4)),
    "grid": ([*GRID, "seeds=3", "num_epochs=3"], (1, 5 * 2 + 3 + 3, (1 + 1 + 1) * 3 * 4)),
    "grid in small stacks": (
        [*GRID, "seeds=3", "stack_size=4", "num_epochs=3"],
        (1, 5 * 2 + 3 + 3, (3 + 1 + 1) * 3 * 4),
    ),
    "random, as many trials as seeds": (
        ["tuning=random", "tuning.num_trials=4", "tuning.seeds=3", "seeds=12", "num_epochs=2"],
        (1, 4 * 3 + 12 + 12, (1 + 1 + 1) * 2 * 4),
    ),
}
DIGITS = ("dataset=digits", "num_epochs=1")
SHAPES = {
    "narrow": (*IRIS, "num_epochs=2", "seeds=10"),
    "many epochs": (*IRIS, "num_epochs=1000", "seeds=10", "batch_size=full"),
    "linear": (*DIGITS, "hidden=[]"),
    "default": DIGITS,
    "wide": (*DIGITS, "hidden=[256,256]", "seeds=4", "optimizer=gd", "diagnostics=none"),
    "weight decay": (*DIGITS, "hidden=[256]", "seeds=4", "weight_decay=0.01"),
    "float64": (*DIGITS, "hidden=[256]", "seeds=4", "dtype=float64"),
    "full batch": (*DIGITS, "hidden=[64]", "seeds=5", "batch_size=full"),
    "full diagnostics": (*DIGITS, "hidden=[64]", "seeds=5", "diagnostics=full"),
    "grid": (*DIGITS, "hidden=[64]", "seeds=3", "tuning=learning_rate", "tuning.max_extensions=0"),
    "random": (*DIGITS, "hidden=[64]", "seeds=3", "tuning=random", "tuning.num_trials=5"),
    "grid in small stacks": (*DIGITS, "hidden=[64]", "seeds=3", "stack_size=2", "tuning=learning_rate"),
    "small stacks": (*DIGITS, "hidden=[256]", "seeds=12", "stack_size=4"),
    "one by one": (*DIGITS, "hidden=[512]", "seeds=12", "stack_size=1"),
    "one by one, full batch": (*DIGITS, "hidden=[64]", "seeds=12", "stack_size=1", "batch_size=full"),
}
HUGE = ("hidden=[10000000]", "seeds=2")


def plan_of(*arguments):
    return plan.make(*cells_and_data(*arguments))


@pytest.mark.parametrize("case", COUNTED)
def test_cells_trainings_and_steps_are_counted(case):
    arguments, wanted = COUNTED[case]
    made = plan_of(*arguments, *IRIS)
    assert (made.num_cells, made.num_trainings, made.num_steps) == wanted


@pytest.mark.parametrize("case", ["small stacks", "grid", "grid in small stacks"])
def test_what_is_planned_is_what_is_trained(case):
    arguments, (_, num_trainings, num_steps) = COUNTED[case]
    (cell,), (dataset,) = cells_and_data(*arguments, *IRIS)
    ended = []
    run(cell, dataset, on_epoch=lambda stage, training: ended.append(training) if training.finished else None)
    assert sum(training.model.num_replicas for training in ended) == num_trainings
    assert sum(training.num_steps for training in ended) == num_steps


@pytest.fixture(scope="module")
def _warm():
    """Import what a first training imports, so that it is not counted as a cell's memory."""
    (cell,), (dataset,) = cells_and_data(*IRIS, "seeds=2", "num_epochs=1", "diagnostics=full")
    run(cell, dataset)


@pytest.mark.usefixtures("_warm")
@pytest.mark.parametrize("shape", SHAPES)
def test_memory_is_estimated_within_a_factor_of_two(shape):
    (cell,), (dataset,) = cells_and_data(*SHAPES[shape])
    estimate = max(map(plan._num_bytes, plan._stacks(cell, dataset)))
    tracemalloc.start()
    run(cell, dataset)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    peak += sum(split.inputs.nbytes for split in (dataset.train, dataset.validation, dataset.test))
    assert peak / 2 < estimate < 2 * peak


@pytest.mark.parametrize("settings", [(), ("stack_size=2",), GRID], ids=["plain", "small stacks", "grid"])
def test_seconds_grow_with_the_epochs_and_the_stacks(monkeypatch, settings):
    monkeypatch.setattr(plan, "_epoch_seconds", lambda stack: float(stack.num_replicas))
    per_epoch = plan_of(*IRIS, *settings, "seeds=5", "num_epochs=1").train_seconds
    assert per_epoch == {(): 5, ("stack_size=2",): 2 + 2 + 1, GRID: 5 * 2 + 5 + 5}[settings]
    assert plan_of(*IRIS, *settings, "seeds=5", "num_epochs=700").train_seconds == 700 * per_epoch


def test_a_cell_that_would_diverge_lends_its_short_life_to_no_other(monkeypatch):
    probed = []
    monkeypatch.setattr(plan, "start", lambda *cell: probed.append(start(*cell)) or probed[-1])
    plan_of(*IRIS, "optimizer=gd", "optimizer.learning_rate=1e30", "seeds=5")
    (training,) = probed
    assert not training.diverged.any()  # the probe learns nothing
    assert training.num_replica_steps == 5 * training.num_steps > 0


def test_seconds_of_kinds_there_is_no_time_to_try_are_scaled_by_their_work(monkeypatch):
    tried = []
    monkeypatch.setattr(plan, "_epoch_seconds", lambda stack: tried.append(stack) or 1.0)
    monkeypatch.setattr(plan, "PROBE_SECONDS", 1e-9)
    seconds = plan_of("-m", "dataset=iris", "hidden=[]", "seeds=2,6", "num_epochs=1").train_seconds
    assert len(tried) == 1
    assert seconds == pytest.approx(1 + 3)  # the same network, three times as many replicas


def test_seconds_are_measured():
    seconds = plan_of("-m", *IRIS, *GRID, "seeds=2", "num_epochs=3", "optimizer=adam,gd").train_seconds
    assert 0 < seconds < math.inf


def test_planning_changes_no_result():
    (cell,), (dataset,) = cells_and_data(*IRIS, "seeds=2", "num_epochs=2")
    before = run(cell, dataset)
    plan.make([cell], [dataset])
    after = run(cell, dataset)
    assert after.model.params.tobytes() == before.model.params.tobytes()


def test_nothing_left_is_a_plan_of_nothing():
    assert plan.make([], []) == plan.Plan(0, 0, 0, 0, 0, may_be_extended=False)


def test_network_that_is_too_large_is_refused_before_anything_is_allocated():
    tracemalloc.start()
    with pytest.raises(ConfigError) as refused:
        cells_and_data(*HUGE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (line,) = refused.value.problems
    assert line.startswith("hidden=[10000000] on digits with 2 seeds needs about ")
    assert "stack_size=N" in line
    assert peak < 50e6


def test_seeds_that_do_not_fit_the_memory_at_once_are_trained_one_stack_after_the_other():
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    (cell,), (dataset,) = cells_and_data("hidden=[1024,1024]", "seeds=2", "optimizer=gd")
    needed = max(map(plan._num_bytes, plan._stacks(cell, dataset)))
    many = replace(cell, seeds=tuple(range(2 * available // needed * 3 // 2)))
    assert plan.fitted(cell, dataset) == cell
    assert plan.fitted(many, dataset).stack_size == 1  # as many as train fastest
    assert plan.fitted(replace(many, stack_size=3), dataset).stack_size == 3  # who asks for a size gets it
    assert plan.too_large([many], [dataset]) == []
    assert len(plan.too_large([replace(many, stack_size=len(many.seeds))], [dataset])) == 1


def test_command_that_is_too_large_ends_in_one_line_with_nothing_on_the_disk(tmp_path):
    ended = Place(tmp_path).give("-m", "optimizer=adam,gd", *HUGE)
    assert ended.status == 2
    adam, gd = ended.err.splitlines()[:2]
    assert adam.startswith("error: hidden=[10000000] on digits with 2 seeds needs about ")
    assert " GB of memory, and there is " in adam
    assert gd.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from nnbench.__main__ import in_this_process
for hidden in ("12000,12000", "4"):
    sys.argv[1:] = ["dataset=iris", "seeds=1", "num_epochs=1", "tracking=none", f"hidden=[{hidden}]"]
    print(in_this_process())
"""


def test_limit_on_memory_counts_as_the_memory_there_is(tmp_path):
    ended = run_command(tmp_path, program=(sys.executable, "-c", LIMITED))

    (line,) = ended.errors
    needed, there = map(float, re.findall(r"([\d.]+) GB", line))
    assert needed > 4 * 2**30 / 1e9 > there
    assert [text for text in ended.out.splitlines() if text.isdigit()] == ["2", "0"]
    assert {path.name for path in tmp_path.iterdir()} == {"outputs", ".nnbench"}


@pytest.mark.parametrize(
    ("membership", "files", "wanted"),
    [
        ("0::/", {"memory.max": "1000\n"}, [1000]),
        ("0::/a/b", {"a/b/memory.max": "max\n", "a/memory.max": "2000\n"}, [2000]),
        ("0::/of/the/host", {"memory.max": "3000\n"}, [3000]),
        ("4:memory:/a\n3:cpuset:/\n0::/", {"memory/a/memory.limit_in_bytes": "4000\n"}, [4000]),
        ("4:cpu,memory:/gone", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, [9223372036854771712]),
        ("1:cpu:/a", {"a/memory.max": "1\n", "cpu/a/memory.max": "1\n"}, []),
    ],
    ids=["container", "nested", "path of the host", "version 1", "version 1, no limit", "another controller"],
)
def test_limit_of_a_container_is_found_in_either_version(tmp_path, membership, files, wanted):
    (tmp_path / "cgroup").write_text(membership)
    for name, content in files.items():
        (tmp_path / "mounted" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mounted" / name).write_text(content)

    assert list(memory.group_limits(tmp_path / "cgroup", tmp_path / "mounted")) == wanted
    assert list(memory.group_limits(tmp_path / "nowhere", tmp_path / "mounted")) == []


def test_memory_of_this_machine_is_no_more_than_it_has():
    assert 0 < memory.available() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_batch_larger_than_the_training_split_is_trained_as_the_whole_of_it():
    cells, datasets = cells_and_data("-m", *IRIS, "batch_size=5000,120", "seeds=2", "num_epochs=2")
    clipped, whole = map(run, cells, datasets)
    assert clipped.model.params.tobytes() == whole.model.params.tobytes()


def test_batch_larger_than_the_training_split_is_warned_of_once(tmp_path):
    ended = Place(tmp_path).give("-m", *IRIS, "batch_size=5000", "optimizer=adam,gd", "dry_run=true", "baselines=[svm]")
    said = [line for line in ended.err.splitlines() if line.startswith("warning: ")]
    assert said == [
        "warning: batch_size is 5000 but the training split of iris has 120 samples; each step takes all 120 of them"
    ]


def test_history_of_very_many_epochs_is_counted():
    (line,) = problems_of(*IRIS, "num_epochs=1000000", "seeds=1000")

    assert "lower hidden, num_epochs, seeds" in line


# What is planned of a sweep that was there before.


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which two of three cells are trained, one of them to no good end."""
    place = Place.with_rules(tmp_path_factory.mktemp("planned"))
    ended = place.give("-m", *OWN, *TINY, "seeds=2", "num_epochs=3", "optimizer=broken,adam")
    return place, ended


def test_optimizer_that_raises_keeps_no_other_cell_from_training(place):
    _, ended = place
    assert ended.status == 1
    assert f"plan: 4 trainings, {2 * 3 * STEPS} steps of the stacks, about " in ended.err
    assert "cell 1/2  broken relu  failed: RuntimeError: the [/] rule is [red]wrong" in ended.err
    assert "cell 2/2  adam relu  test accuracy " in ended.err


def test_dry_run_says_what_is_done_already_and_changes_nothing(place):
    place, _ = place
    before, database = place.files(), (place.folder / "mlflow.db").read_bytes()
    ended = place.give("-m", *OWN, *TINY, "seeds=2", "num_epochs=3", "optimizer=broken,adam,gd", "dry_run=true")
    assert ended.status == 0
    assert ended.lines == ["   1  broken relu", "   2  adam relu  (done already)", "   3  gd relu"]
    assert "1 cell done already, 2 to train" in ended.err
    assert f"plan: 4 trainings, {2 * 3 * STEPS} steps of the stacks" in ended.err
    assert place.files() == before
    assert (place.folder / "mlflow.db").read_bytes() == database


def test_dry_run_without_resume_counts_everything(place):
    place, _ = place
    ended = place.give("-m", *TINY, "seeds=2", "num_epochs=3", "optimizer=adam,gd", "dry_run=true", "resume=false")
    assert ended.lines == ["   1  adam relu", "   2  gd relu"]
    assert "done already" not in ended.err


def test_resumed_sweep_is_planned_less_what_is_done(place):
    place, _ = place
    ended = place.give("-m", *TINY, "seeds=2", "num_epochs=3,5", "optimizer=adam", "progress=false")
    assert ended.status == 0
    assert "2 cells, 4 trainings" in ended.err
    assert "1 cell done already, 1 to train" in ended.err
    assert f"plan: 2 trainings, {5 * STEPS} steps of the stacks" in ended.err
    again = place.give("-m", *TINY, "seeds=2", "num_epochs=3,5", "optimizer=adam", "progress=false")
    assert "2 cells done already, 0 to train" in again.err
    assert "plan:" not in again.err


def test_dry_run_in_an_empty_folder_leaves_it_empty(tmp_path):
    ended = Place(tmp_path).give("-m", *TINY, "seeds=2", "num_epochs=3", "optimizer=adam,gd", "dry_run=true")
    assert ended.status == 0
    assert f"plan: 4 trainings, {2 * 3 * STEPS} steps of the stacks" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_equal_settings_are_one_cell_and_counted_once(tmp_path):
    place = Place(tmp_path)
    arguments = ("-m", *TINY, "num_epochs=3", "seeds=2,[0,1]", "optimizer.learning_rate=0.1,0.10", "progress=false")
    dry = place.give(*arguments, "dry_run=true")
    same = "  (the same setting as cell 1)"
    assert [line.endswith(same) for line in dry.lines] == [False, True, True, True]
    ended = place.give(*arguments)
    for err in (dry.err, ended.err):
        assert err.startswith("1 cell, 2 trainings\n")
        assert f"plan: 2 trainings, {3 * STEPS} steps of the stacks" in err
        assert "done already" not in err
    assert place.ask("SELECT count(*) FROM tags WHERE key = 'nnbench.kind' AND value = 'cell'") == [(1,)]
    status = place.give("status")
    assert status.status == 0
    assert ": 1 cell, 1 done" in status.out
    again = place.give(*arguments, "dry_run=true")
    assert "1 cell done already, 0 to train" in again.err
    assert [line.endswith("  (done already)") for line in again.lines] == [True] * 4
