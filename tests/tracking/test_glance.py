"""A store on this machine says the same to a glance as to MLflow, sooner, and after a kill in the middle of a write."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from store_cases import plant

from nnbench.tracking import glance, read, store
from nnbench.tracking.publish import publish

STUDY = "a study"
HALF_WRITTEN = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")  # so that the file is written before the transaction ends
database.execute("BEGIN IMMEDIATE")
database.execute("CREATE TABLE large (text)")
database.executemany("INSERT INTO large VALUES (?)", [["x" * 1000]] * 1000)
database.execute("UPDATE runs SET status = 'FAILED'")
os._exit(1)
"""
WITHOUT_MLFLOW = """
import sys
from pathlib import Path
from nnbench.tracking import read
uri, run_id = sys.argv[1:]
assert list(read.finished_cells(uri, "a study").values()) == [run_id]
assert read.known_runs(uri, [run_id]) == {run_id}
read.fetch(uri, run_id, Path("fetched"))
assert "mlflow" not in sys.modules
"""


@pytest.fixture
def asking_mlflow(monkeypatch):
    """A function that asks as if a glance told nothing."""

    def ask(question, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr(read, "_is_here", lambda _: False)
            patch.setattr(glance, "known_runs", lambda *_: None)
            return question(*arguments)

    return ask


def test_a_glance_finds_what_mlflow_finds(empty_database, iris, mixed, diverged, tmp_path, asking_mlflow):
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_database.read_bytes())
    planted = plant(database, tmp_path, whole=iris, partly=mixed, diverged=diverged)
    experiment = store.client(planted.uri).get_run(planted.run_ids["deleted"]).info.experiment_id
    (name,) = [
        found.name for found in store.client(planted.uri).search_experiments() if found.experiment_id == experiment
    ]

    finished, damaged = read.finished_and_damaged(planted.uri, name)
    assert (finished, damaged) == asking_mlflow(read.finished_and_damaged, planted.uri, name)
    assert len(finished) >= 5
    assert len(damaged) == 2
    some = list(finished)[:2]
    assert read.finished_cells(planted.uri, name, some) == {mark: finished[mark] for mark in some}

    every = [*planted.run_ids.values(), "0" * 32]
    assert read.known_runs(planted.uri, every) == asking_mlflow(read.known_runs, planted.uri, every) == set(every[:-1])


def test_deleted_experiment_is_refused_in_the_same_words(iris, new_store, tmp_path, asking_mlflow):
    made = new_store()
    publish(iris.write(tmp_path / "trained"), made.uri, STUDY)
    store.client(made.uri).delete_experiment(store.client(made.uri).get_experiment_by_name(STUDY).experiment_id)
    with pytest.raises(store.StoreError) as of_glance:
        read.finished_cells(made.uri, STUDY)
    with pytest.raises(store.StoreError) as of_mlflow:
        asking_mlflow(read.finished_cells, made.uri, STUDY)
    assert str(of_glance.value) == str(of_mlflow.value)


def test_store_with_other_tables_or_columns_is_left_to_mlflow(iris, new_store, tmp_path):
    made = new_store()
    run_id = publish(iris.write(tmp_path / "trained"), made.uri, STUDY)
    with closing(sqlite3.connect(made.database)) as database:
        database.execute("ALTER TABLE runs RENAME COLUMN artifact_uri TO place")
        assert glance.finished(made.uri, STUDY) is None
        assert glance.artifact_uri(made.uri, run_id) is None
        database.execute("ALTER TABLE runs RENAME TO attempts")
    assert glance.known_runs(made.uri, [run_id]) is None


def test_nothing_of_mlflow_is_imported(iris, new_store, tmp_path):
    made = new_store()
    run_id = publish(iris.write(tmp_path / "trained"), made.uri, STUDY)
    subprocess.run([sys.executable, "-c", WITHOUT_MLFLOW, made.uri, run_id], check=True, cwd=tmp_path)


@pytest.mark.parametrize("ask", [read.finished_cells, lambda uri, _: store.client.__wrapped__(uri)])
def test_write_that_a_kill_has_left_half_done_is_taken_back_before_anything_is_read(iris, new_store, tmp_path, ask):
    made = new_store()
    run_id = publish(iris.write(tmp_path / "trained"), made.uri, STUDY)
    subprocess.run([sys.executable, "-c", HALF_WRITTEN, made.database], check=False)
    assert made.database.with_name("mlflow.db-journal").exists()
    ask(made.uri, STUDY)
    assert list(read.finished_cells(made.uri, STUDY).values()) == [run_id]
    assert not made.database.with_name("mlflow.db-journal").exists()
