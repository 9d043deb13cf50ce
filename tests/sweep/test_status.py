"""What became of every cell of a sweep, and why; what is stopped or killed is trained again, and is no result."""

import signal
import subprocess
import sys

import pandas as pd
import pytest
from sweep_cases import OWN, TINY, Place

import nnbench.sweep.attempt
from nnbench.report import results
from nnbench.report.verdict import verdict
from nnbench.sweep.status import coverage
from nnbench.tracking import publish, read, record, store
from nnbench.tracking.coverage import Coverage

SHORT = (*TINY, "num_epochs=5", "progress=false")
ALL = ("-m", *OWN, *SHORT, "seeds=3", "optimizer=adam,wild,seldom,broken,stopping,gd")
OTHERS = ["4 more cells of the study outside of this sweep"]
LABELS = [f"{name} relu" for name in ("adam", "wild", "seldom", "broken", "stopping", "gd")]
STOPPED_AT = "stopped by SIGTERM at epoch 2 of 5, stage final"  # step 10, with 4 steps in an epoch
WRONG = "failed  broken relu: RuntimeError: the [/] rule is [red]wrong"


def rows(ended):
    """Return the matrix of a status: optimizer -> state."""
    cells = [line.strip("│").split("│") for line in ended.lines if line.startswith("│")]
    return {row[0].strip(): [word.strip() for word in row[1:]] for row in cells}


def below(ended):
    """Return the lines below the matrix."""
    return [line for line in ended.lines[1:] if line[:1] not in "│┃"]


def reported(place, **options):
    """Return the cells of which a report has numbers, and those on its leaderboard."""
    found = results.study(place.uri, "nnbench", **options)
    return set(found.replicas["cell"]), set(found.leaderboard()["cell"])


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A folder with a sweep of every fate, stopped in its fifth cell; each command, and what it left."""
    place = Place.with_rules(tmp_path_factory.mktemp("stopped"))
    (place.folder / "stop").write_text(str(int(signal.SIGTERM)))
    first = place.give(*ALL)
    sweep = place.newest_sweep.name
    state = {
        "sweep": sweep,
        "first": first,
        "status": place.give("status"),
        "record": record.read(place.folder / "multirun" / sweep / "4" / record.FOLDER),
        "runs": place.runs("stopping relu"),
        "reported": reported(place),
        "second": place.give(*ALL),
        "status after": place.give("status"),
        "again": place.newest_sweep.name,
    }
    return place, state


def test_every_cell_is_told_with_its_state(stopped):
    _, state = stopped
    assert state["first"].status == 143
    assert state["status"].status == 1
    counts = "6 cells, 2 done, 1 diverged, 1 interrupted, 1 failed, 1 missing"
    assert state["status"].lines[0] == f"nnbench, sweep {state['sweep']}: {counts}"
    assert rows(state["status"]) == {
        "adam": ["done"],
        "wild": ["diverged"],
        "seldom": ["partly diverged"],
        "broken": ["failed"],
        "stopping": ["interrupted"],
        "gd": ["missing"],
    }


def test_every_cell_that_is_not_simply_done_is_told_with_the_reason_and_the_way_on(stopped):
    _, state = stopped
    assert below(state["status"]) == [
        "diverged  wild relu: 3 of 3 seeds diverged",
        "done  seldom relu: 1 of 3 seeds diverged",
        WRONG,  # whatever markup stands in it
        f"interrupted  stopping relu: {STOPPED_AT}",
        "missing  gd relu: not trained yet",
        f"continue with  python -m nnbench {' '.join(arg if '[' not in arg else repr(arg) for arg in ALL)}",
    ]


def test_interrupted_cell_leaves_a_record_of_how_far_it_was_and_a_killed_run(stopped):
    _, state = stopped
    cell = state["record"]
    assert (cell.status, cell.cell["error"]) == ("interrupted", STOPPED_AT)
    assert cell.identity.label == "stopping relu"
    assert cell.config["num_epochs"] == 5
    assert cell.replicas().empty
    assert state["runs"] == [("KILLED", STOPPED_AT)]


def test_interrupted_and_failed_cells_are_on_no_leaderboard_and_in_no_report(stopped):
    _, state = stopped
    with_result = {"adam relu", "wild relu", "seldom relu"}
    assert {row[1:].split("│")[0].strip() for row in state["first"].out.splitlines() if row[:1] == "│"} == with_result
    assert state["reported"] == (with_result, with_result)


def test_same_command_trains_what_was_interrupted_failed_or_missing_and_nothing_else(stopped):
    place, state = stopped
    assert state["second"].status == 1
    assert "3 cells done already, 3 to train" in state["second"].err
    assert [place.runs(label) for label in LABELS] == [
        [("FINISHED", None)],
        [("FINISHED", None)],
        [("FINISHED", None)],
        [("FAILED", "RuntimeError: the [/] rule is [red]wrong")] * 2,
        [("KILLED", STOPPED_AT), ("FINISHED", None)],
        [("FINISHED", None)],
    ]
    assert rows(state["status after"])["stopping"] == ["done"]
    assert below(state["status after"])[:3] == [
        "diverged  wild relu: 3 of 3 seeds diverged",
        "done  seldom relu: 1 of 3 seeds diverged",
        WRONG,
    ]


def test_resumed_sweep_has_the_results_of_all_its_cells(stopped):
    place, state = stopped
    finished = set(LABELS) - {"broken relu"}
    for sweep in (state["sweep"], state["again"]):
        fingerprints = read.fingerprints_of(place.uri, "nnbench", sweep)
        assert len(fingerprints) == 6
        assert reported(place, fingerprints=fingerprints) == (finished, finished)


def test_sweep_that_trained_nothing_is_reported_with_all_its_cells(stopped):
    place, _ = stopped
    ended = place.give("-m", *SHORT, "seeds=3", "optimizer=gd,adam")
    assert "2 cells done already, 0 to train" in ended.err
    sweep = place.newest_sweep.name
    fingerprints = read.fingerprints_of(place.uri, "nnbench", sweep)
    assert reported(place, fingerprints=fingerprints)[0] == {"adam relu", "gd relu"}
    status = place.give("status")
    assert (status.status, rows(status), below(status)) == (0, {"gd": ["done"], "adam": ["done"]}, OTHERS)


def test_older_sweep_is_told_by_its_id(stopped):
    place, state = stopped
    older = place.give("status", "nnbench", "--sweep", state["sweep"])
    assert older.status == 1
    assert older.lines[0].startswith(f"nnbench, sweep {state['sweep']}: 6 cells, ")
    assert [line for line in below(older) if line.startswith("failed")] == [WRONG]


@pytest.mark.parametrize("words", [["--sweep", "no such sweep"], ["no such study"], ["a b", "--sweep", "x"]])
def test_unknown_study_or_sweep_is_one_line_and_status_3(stopped, words):
    ended = stopped[0].give("status", *words)
    assert (ended.status, ended.out) == (3, "")
    assert len(ended.err.splitlines()) == 1


def test_without_a_store_there_is_one_line_and_nothing_is_created(tmp_path):
    ended = Place(tmp_path).give("status")
    assert ended.status == 1
    assert ended.err.startswith("Error: there is no store at ")
    assert list(tmp_path.iterdir()) == []


def test_matrix_counts_the_cells_that_share_optimizer_and_activation():
    states = {
        ("adam", "tanh"): ["failed", "done", "done"],
        ("adam", "relu"): ["done", "done"],
        ("gd", "relu"): ["missing"],
    }
    cells = [
        {"optimizer": optimizer, "activation": activation, "state": state, "diverged": 0}
        for (optimizer, activation), all_of in states.items()
        for state in all_of
    ]
    baseline = {"model": "knn", "optimizer": "", "activation": "", "state": "done", "diverged": 0}
    matrix = Coverage("a study", None, "", pd.DataFrame([*cells, baseline])).matrix()
    assert matrix.to_dict("index") == {
        "adam": {"tanh": "2 done, 1 failed", "relu": "2 done"},
        "gd": {"tanh": "-", "relu": "missing"},
    }
    assert list(matrix.columns) == ["tanh", "relu"]  # in the order of the sweep


@pytest.mark.parametrize(("models", "in_matrix"), [("mlp,knn", {"adam": ["done"]}), ("dummy,knn", {})])
def test_baselines_are_cells_beside_the_matrix(tmp_path, models, in_matrix):
    place = Place(tmp_path)
    assert place.give("-m", *SHORT, "seeds=2", f"model={models}").status == 0
    ended = place.give("status")
    assert (ended.status, rows(ended)) == (0, in_matrix)
    assert ended.lines[0].endswith(": 2 cells, 2 done")
    found = coverage(place.uri, "nnbench")
    assert found.baselines() == {model: "done" for model in models.split(",") if model != "mlp"}
    assert set(found.cells["seeds"]) == ({1, 2} if in_matrix else {1})  # one fit stands for all seeds


# Commands that are no sweep, studies with a name, names with markup.


def test_single_runs_are_told_without_a_sweep(tmp_path):
    place = Place.with_rules(tmp_path)
    for optimizer in ("wild", "broken"):
        place.give(*OWN, *SHORT, "seeds=2", f"optimizer={optimizer}")
    ended = place.give("status")
    assert ended.status == 1
    assert ended.lines[0] == "nnbench: 2 cells, 1 diverged, 1 failed"
    assert below(ended) == ["diverged  wild relu: 2 of 2 seeds diverged", WRONG]
    newest = max((tmp_path / "outputs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert place.give("status", "--sweep", newest.name).lines[0] == "nnbench: 1 cell, 1 failed"


NAMES = ("[red]one.csv", "[;]two.csv")


def test_study_has_a_status_of_its_own_and_names_are_printed_as_they_are(tmp_path):
    place = Place(tmp_path)
    (tmp_path / "own" / "optimizer").mkdir(parents=True)
    (tmp_path / "own" / "optimizer" / "[b]wild.yaml").write_text("_target_: nnbench.nn.GD\nlearning_rate: 1.0e+30\n")
    for number, name in enumerate(NAMES):
        (tmp_path / name).write_text("x,kind\n" + "1,a\n2,b\n" * (50 + number))
    data = ('dataset.path="[red]one.csv","[;]two.csv"', "dataset=csv", "dataset.target=kind", "hidden=[4]")
    quick = ("seeds=1", "num_epochs=1", "report=false", "progress=false", 'tracking.experiment="a [/] study"')
    place.give("-m", "--config-dir=own", 'optimizer="[b]wild"', *data, *quick)
    ended = place.give("status", "a [/] study")
    assert ended.status == 0
    assert ended.lines[0].startswith("a [/] study, sweep ")
    assert rows(ended) == {"[b]wild": ["2 diverged"]}
    assert below(ended) == [f"diverged  [b]wild relu path={name}: 1 of 1 seeds diverged" for name in NAMES]
    assert place.give("status").status == 3  # of the study without a name there is nothing


# Cells that no process closes, and processes that are still at it.


def test_cell_in_training_is_running(tmp_path, monkeypatch):
    place = Place.with_rules(tmp_path)
    monkeypatch.setattr(nnbench.sweep.attempt, "FLUSH_EVERY", 0.0)
    assert place.give("-m", *OWN, *SHORT, "seeds=1", "optimizer=asking").status == 0
    assert (tmp_path / "seen").read_text() == "running"
    assert place.give("status").status == 0


def test_cell_whose_process_was_killed_is_interrupted_and_trained_by_the_next_command(tmp_path):
    place = Place.with_rules(tmp_path)
    (tmp_path / "stop").write_text(str(int(signal.SIGKILL)))
    arguments = ["-m", *OWN, *SHORT, "seeds=1", "optimizer=adam,stopping,gd"]
    code = "import sys; from nnbench.sweep import attempt; attempt.FLUSH_EVERY = 0.0\n"
    code += f"sys.argv = {['nnbench', *arguments]}; from nnbench.__main__ import in_this_process; in_this_process()"
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert place.runs("stopping relu") == [("RUNNING", None)]

    found = place.give("status")
    assert found.status == 1
    assert below(found)[:2] == ["interrupted  stopping relu: its process is gone", "missing  gd relu: not trained yet"]
    assert place.runs("stopping relu") == [("RUNNING", None)]  # a status changes nothing

    ended = place.give(*arguments)
    assert ended.status == 0, ended.err
    assert place.runs("stopping relu") == [("KILLED", "its process is gone"), ("FINISHED", None)]
    assert place.ask("SELECT count(*) FROM runs WHERE status = 'RUNNING'") == [(0,)]
    status = place.give("status")
    assert (status.status, below(status)) == (0, [])
    # The killed run keeps its points, and no run has a step twice, or one after a later one.
    steps = place.ask(
        "SELECT m.run_uuid, m.key, m.step FROM metrics m JOIN runs r USING (run_uuid) ORDER BY m.run_uuid, m.key, "
        "m.timestamp, m.rowid"
    )
    assert len(steps) == len(set(steps))
    assert steps == sorted(steps)
    ((killed,),) = place.ask("SELECT run_uuid FROM runs WHERE name = 'stopping relu' AND status = 'KILLED'")
    assert {step for run_id, _, step in steps if run_id == killed} == {1, 2}


def test_ctrl_c_leaves_a_record_and_a_killed_run_too(tmp_path):
    place = Place.with_rules(tmp_path)
    (tmp_path / "stop").write_text(str(int(signal.SIGINT)))
    grid = ("tuning=learning_rate", "tuning.num_trials=3", "tuning.seeds=1")
    ended = place.give(*OWN, *SHORT, *grid, "seeds=1", "optimizer=stopping")
    assert ended.status == 130
    reason = "stopped by Ctrl-C at epoch 2 of 5, stage tuning"
    assert place.runs("stopping relu") == [("KILLED", reason)]
    (folder,) = record.find(tmp_path)
    assert (record.read(folder).status, record.read(folder).cell["error"]) == ("interrupted", reason)
    assert (folder.parent / record.PUBLISHED).exists()

    # A result that `sync` will not bring here is none here.
    for elsewhere in ("tracking=none", "tracking.experiment=other"):
        assert place.give(*OWN, *SHORT, *grid, "seeds=1", "optimizer=stopping", elsewhere).status == 0
        for path in tmp_path.glob(f"outputs/*/{record.PUBLISHED}"):
            path.unlink()
        assert below(place.give("status")) == [f"interrupted  stopping relu: {reason}"]


def test_untracked_cell_that_is_stopped_leaves_its_record_alone(tmp_path):
    place = Place.with_rules(tmp_path)
    (tmp_path / "stop").write_text(str(int(signal.SIGINT)))
    assert place.give(*OWN, *SHORT, "seeds=1", "optimizer=stopping", "tracking=none").status == 130
    (folder,) = record.find(tmp_path)
    assert record.read(folder).status == "interrupted"
    assert not (tmp_path / "mlflow.db").exists()


def test_interruption_on_the_way_to_mlflow_replaces_no_result(tmp_path, monkeypatch):
    place = Place(tmp_path)
    arguments = ("-m", *SHORT, "seeds=1", "optimizer=adam,gd")
    log_batch = publish.Publisher._log

    def stop(self, *arguments):
        log_batch(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(publish.Publisher, "_log", stop)
        ended = place.give(*arguments)
    assert ended.status == 130
    assert "stopped: 1 of 2 cells done" in ended.err
    (folder,) = record.find(tmp_path)
    before = (folder / record.MANIFEST).read_bytes()
    assert record.read(folder).status == "finished"
    assert rows(place.give("status")) == {"adam": ["done"], "gd": ["missing"]}

    ended = place.give(*arguments)
    assert ended.status == 0
    assert "1 cell done already, 1 to train" in ended.err
    assert (folder / record.MANIFEST).read_bytes() == before
    assert place.runs("adam relu") == [("FINISHED", None)]


# Records that are damaged in the store.


def test_damaged_result_is_told_trained_again_and_told_again_where_an_older_one_counts(tmp_path):
    place = Place(tmp_path)
    arguments = ("-m", *SHORT, "seeds=1", "optimizer=adam,gd")
    assert place.give(*arguments).status == 0

    def tables():
        query = "SELECT artifact_uri FROM runs r JOIN tags t USING (run_uuid) WHERE r.name = 'adam relu' "
        query += "AND t.key = 'nnbench.place' AND t.value = 'cell' ORDER BY r.start_time"
        return [store.local_folder(uri) / "replicas.csv" for (uri,) in place.ask(query)]

    (first,) = tables()
    content = first.read_bytes()
    first.write_bytes(content[:-1])
    damaged = "replicas.csv is damaged: it is not what was written"
    status = place.give("status")
    assert status.status == 1
    assert rows(status) == {"adam": ["damaged"], "gd": ["done"]}
    assert below(status)[0] == f"damaged  adam relu: its record in the store is damaged or gone: {damaged}"

    said = f"the result of adam relu in the store is damaged ({damaged}); the cell is trained again"
    for words in (("dry_run=true",), ()):
        ended = place.give(*arguments, *words)
        assert said in ended.err
        assert "1 cell done already, 1 to train" in ended.err
    assert [state for state, _ in place.runs("adam relu")] == ["FINISHED", "FINISHED"]
    assert place.give("status").status == 0

    first.write_bytes(content)
    tables()[1].unlink()
    status = place.give("status")
    assert (status.status, rows(status)["adam"]) == (0, ["done"])
    assert below(status)[0] == "done  adam relu: an older result, as the newest is damaged: replicas.csv is missing"
    ended = place.give(*arguments)
    assert "(replicas.csv is missing); an older result of the cell counts" in ended.err
    assert "2 cells done already, 0 to train" in ended.err
    assert reported(place)[0] == {"adam relu", "gd relu"}
    assert "the one before it (adam relu: replicas.csv is missing)" in str(verdict(results.study(place.uri, "nnbench")))


def test_study_without_a_result_says_what_it_has(tmp_path):
    place = Place.with_rules(tmp_path)
    store.prepare(place.uri, "nnbench")
    with pytest.raises(results.NothingToReportError, match=r"nnbench has no finished cell in \S+$"):
        results.study(place.uri, "nnbench")
    assert place.give("status").status == 3
    (tmp_path / "stop").write_text(str(int(signal.SIGTERM)))
    assert place.give("-m", *OWN, *SHORT, "seeds=1", "optimizer=broken,stopping,gd").status == 143
    with pytest.raises(results.NothingToReportError, match="1 interrupted, 1 failed, 1 missing"):
        results.study(place.uri, "nnbench")
    run_id = place.ask("SELECT run_uuid FROM runs WHERE name = 'stopping relu'")[0][0]
    store.client(place.uri).update_run(run_id, status="RUNNING")
    with pytest.raises(results.NothingToReportError, match="1 running, 1 failed, 1 missing"):
        results.study(place.uri, "nnbench")


def test_command_that_would_train_what_is_done_again_is_told_as_such(tmp_path):
    place = Place.with_rules(tmp_path)
    (tmp_path / "stop").write_text(str(int(signal.SIGTERM)))
    ended = place.give("-m", *OWN, *SHORT, "seeds=1", "optimizer=gd,stopping", "resume=false")
    assert "train all of it again with  python -m nnbench -m" in ended.err
    assert below(place.give("status"))[-1].startswith("train all of it again with  python -m nnbench -m")


# Records that MLflow does not have.


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A folder whose store has lost what it had of each cell of a sweep."""
    place = Place.with_rules(tmp_path_factory.mktemp("bare"))
    place.give("-m", *OWN, *SHORT, "seeds=2", "optimizer=adam,wild,broken,gd")
    for (run_id,) in place.ask("SELECT run_uuid FROM tags WHERE key = 'nnbench.kind' AND value != 'sweep'"):
        store.client(place.uri).delete_run(run_id)
    for path in place.folder.glob(f"multirun/*/*/{record.PUBLISHED}"):
        path.unlink()
    damaged = next(place.folder.glob(f"multirun/*/3/{record.FOLDER}")) / "replicas.csv"
    damaged.write_text("")
    return place


def test_records_that_wait_are_told_with_the_way_to_publish_them(bare):
    ended = bare.give("status")
    way_out = "not in MLflow yet; python -m nnbench sync publishes it"
    assert ended.status == 1
    assert below(ended)[:4] == [
        f"done  adam relu: {way_out}",
        f"diverged  wild relu: {way_out}",
        f"{WRONG}; {way_out}",
        "missing  gd relu: not trained yet",  # its record is damaged
    ]


def test_after_sync_nothing_waits(bare):
    assert bare.give("sync").out.endswith("3 published, 1 still waiting\n")  # the damaged one
    assert below(bare.give("status"))[:3] == [
        "diverged  wild relu: 2 of 2 seeds diverged",
        WRONG,
        "missing  gd relu: not trained yet",
    ]
