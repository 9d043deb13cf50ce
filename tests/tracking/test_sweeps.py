"""A sweep in MLflow: found as it was announced, the newest first, and never half."""

import time

import mlflow
import pytest
from tracking_cases import artifacts, rows

from nnbench.tracking import process, publish, read, store, sweeps

STUDY = "a study"


def plan(sweep, *fingerprints):
    """Return what a sweep is to train, as its file says it."""
    return {
        "sweep": sweep,
        "study": STUDY,
        "command": "python -m nnbench -m 'label=\"ä\"'",
        "labels": [f"{mark} [/]" for mark in fingerprints],
        "choices": [{"optimizer": "adam", "activation": "relu"} for _ in fingerprints],
        "fingerprints": list(fingerprints),
        "finished": {},
    }


FIRST, SECOND = plan("first", "a", "b", "c"), plan("second", "c")


@pytest.fixture
def announced(new_store):
    """A store in which two sweeps were announced, one after the other."""
    made = new_store()
    sweeps.announce(made.uri, STUDY, FIRST)
    time.sleep(0.01)  # MLflow tells times to the millisecond
    sweeps.announce(made.uri, STUDY, SECOND)
    return made


def run_of(made, sweep):
    query = "SELECT run_uuid FROM tags WHERE key = 'nnbench.sweep' AND value = ?"
    ((run_id,),) = rows(made.database, query, sweep)
    return run_id


def test_newest_sweep_is_found_as_it_was_announced(announced):
    assert sweeps.find(announced.uri, STUDY) == SECOND


def test_sweep_is_found_by_its_id(announced):
    assert sweeps.find(announced.uri, STUDY, "first") == FIRST
    assert read.fingerprints_of(announced.uri, STUDY, "first") == ["a", "b", "c"]


def test_unknown_study_or_sweep_is_none(announced):
    assert sweeps.find(announced.uri, STUDY, "third") is None
    assert sweeps.find(announced.uri, "another study") is None
    assert sweeps.find(announced.uri, "another study", "first") is None
    names = rows(announced.database, "SELECT name FROM experiments WHERE name = 'another study'")
    assert names == []  # asking creates nothing


def test_study_without_a_sweep_is_none(new_store):
    made = new_store()
    store.prepare(made.uri, STUDY)
    assert sweeps.find(made.uri, STUDY) is None


def test_sweep_is_a_closed_run_and_no_cell(announced):
    status = rows(announced.database, "SELECT status, name FROM runs ORDER BY start_time")
    assert status == [("FINISHED", "sweep first"), ("FINISHED", "sweep second")]
    assert read.cell_runs(announced.uri, STUDY) == []


@pytest.mark.parametrize("damage", ["lost", "empty", "half", "a letter"])
def test_sweep_without_its_whole_list_is_passed_over(announced, damage):
    path = artifacts(announced.database, run_of(announced, "second")) / sweeps.PLAN
    content = path.read_text()
    path.unlink()
    if damage != "lost":
        path.write_text(
            {"empty": "", "half": content[: len(content) // 2]}.get(damage, content.replace("relu", "rely"))
        )
    assert sweeps.find(announced.uri, STUDY) == FIRST
    assert sweeps.find(announced.uri, STUDY, "second") is None


def test_sweep_that_was_killed_while_it_was_announced_is_passed_over_and_closed(announced, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*arguments):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_artifact", kill)
        patch.setattr(process, "mark", lambda: f"{process.socket.gethostname()} 99999999 1")
        with pytest.raises(Killed):
            sweeps.announce(announced.uri, STUDY, plan("third", "d"))
    assert sweeps.find(announced.uri, STUDY) == SECOND
    publish.close_abandoned(announced.uri, STUDY)
    assert rows(announced.database, "SELECT status FROM runs WHERE name = 'sweep third'") == [("KILLED",)]
