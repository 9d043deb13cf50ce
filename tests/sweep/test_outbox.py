"""A store in trouble while a sweep trains: every result is safe on the disk, waits, and arrives exactly once."""

import re
import secrets
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import assert_same, results
from hydra._internal.utils import get_args_parser
from sweep_cases import TINY, Place

import nnbench.sweep.attempt
from nnbench import app, grid
from nnbench.sweep import job, outbox, preparation
from nnbench.terminal import CellProgress
from nnbench.tracking import publish, read, record, store, trouble

# Does at its tenth step, in the training of its only cell, what a file says.
DOING = """
from pathlib import Path

from nnbench.nn import GD
from nnbench.tracking import store


class Doing(GD):
    def step(self, grads, factor=1.0):
        super().step(grads, factor)
        order = Path("order")
        if self.num_steps == 10 and order.exists():
            word = order.read_text()
            order.unlink()
            client = store.client(store.resolve(None))
            number = client.get_experiment_by_name("nnbench").experiment_id
            if word == "delete the experiment":
                client.delete_experiment(number)
            elif word == "delete the runs":
                for run in client.search_runs([number], "tags.`nnbench.place` = 'cell'"):
                    client.delete_run(run.info.run_id)
            elif word == "remove the store":
                Path("mlflow.db").unlink()
            elif word == "wait":
                Path("waiting").touch()
                while Path("waiting").exists():
                    pass
"""
SWEEP = ("-m", "--config-dir=own", "plugins=[rules]", *TINY, "num_epochs=5", "seeds=1", "optimizer=gd,doing,adam")
DOWN = "http://127.0.0.1:9"  # where nothing listens
ALL_ONCE = {"gd relu": 1, "doing relu": 1, "adam relu": 1}


@pytest.fixture
def place(tmp_path, monkeypatch, empty_database):
    """A folder with a rule that does as it is told, and curves that go to MLflow at each epoch."""
    shutil.copy(empty_database, tmp_path)
    (tmp_path / "rules.py").write_text(DOING)
    (tmp_path / "own" / "optimizer").mkdir(parents=True)
    (tmp_path / "own" / "optimizer" / "doing.yaml").write_text("_target_: rules.Doing\nlearning_rate: 0.1\n")
    monkeypatch.setattr(nnbench.sweep.attempt, "FLUSH_EVERY", 0.0)
    monkeypatch.setattr(publish, "PAUSES", (0.1, 0.1))
    return Place(tmp_path)


def finished(place: Place) -> dict[str, int]:
    """How many whole runs each cell has in the store."""
    return dict(
        place.ask(
            "SELECT r.name, count(*) FROM runs r JOIN experiments e USING (experiment_id) JOIN tags t USING (run_uuid) "
            "WHERE t.key = 'nnbench.place' AND t.value = 'cell' AND r.status = 'FINISHED' AND e.name = 'nnbench' "
            "AND r.lifecycle_stage = 'active' GROUP BY r.name"
        )
    )


def test_experiment_that_is_deleted_under_way_is_named_with_the_way_to_restore_it_and_loses_nothing(place):
    (place.folder / "order").write_text("delete the experiment")
    ended = place.give(*SWEEP)
    assert ended.status == 0
    assert ended.err.count("test accuracy") == 3
    number = store.client(place.uri).get_experiment_by_name("nnbench").experiment_id
    way_out = f"mlflow experiments restore -x {number}"
    assert way_out in ended.err
    assert ended.err.count("not in MLflow yet (") == 1  # the reason but once
    for words in (["status"], ["report"], [*SWEEP, "dry_run=true"]):
        refused = place.give(*words)
        assert refused.status == 1
        assert way_out in refused.err

    store.client(place.uri).restore_experiment(number)
    assert place.give("sync").out.endswith("0 still waiting\n")
    assert finished(place) == ALL_ONCE
    assert "3 cells done already, 0 to train" in place.give(*SWEEP, "dry_run=true").err


def test_runs_that_are_deleted_under_way_are_made_anew_by_their_own_process_and_trained_by_the_next(place):
    (place.folder / "order").write_text("delete the runs")
    assert place.give(*SWEEP).status == 0
    assert finished(place) == {"doing relu": 1, "adam relu": 1}  # that of gd was whole when it was deleted
    assert "2 cells done already, 1 to train" in place.give(*SWEEP).err
    assert finished(place) == ALL_ONCE
    points = place.ask("SELECT key, count(*) FROM metrics GROUP BY run_uuid, key, step")
    assert {count for *_, count in points} == {1}


def test_store_that_is_removed_under_way_loses_no_result_of_the_cells_behind(place):
    (place.folder / "order").write_text("remove the store")
    ended = place.give(*SWEEP)
    assert ended.status == 0
    assert "mlflow.db has been removed or replaced" in ended.err
    assert len(list(record.unpublished(place.folder))) == 2
    moved = shutil.copytree(place.folder, place.folder.parent / "moved")  # as this process knows the one that is gone
    assert Place(moved).give("sync").out.endswith("2 published, 0 still waiting\n")
    assert finished(Place(moved)) == {"doing relu": 1, "adam relu": 1}


def forget_stores():
    """Let this process know as little of any store as the next command does, which is another process."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for engine in SqlAlchemyStore._engine_map.values():  # they would go on with the file that has lost its name
        engine.dispose()
    store.client.cache_clear()
    store.experiment_id.cache_clear()


@pytest.fixture
def replaced(place, empty_database):
    """A folder with a sweep of three cells, the last of them trained twice, whose store is gone and another is there.

    And the newest sweep's own results.
    """
    words = ("-m", *TINY, "num_epochs=5", "seeds=1", "optimizer=gd,adam,nesterov")
    assert place.give("-m", *TINY, "num_epochs=5", "seeds=1", "optimizer=nesterov").status == 0
    assert place.give(*words, "resume=false").status == 0
    before = results(place.newest_sweep)
    (place.folder / "mlflow.db").unlink()
    shutil.rmtree(place.folder / "mlartifacts")
    shutil.copy(empty_database, place.folder)
    forget_stores()
    return place, words, before


def test_results_of_a_store_that_is_gone_are_published_to_the_new_one_and_not_trained_again(replaced):
    place, words, before = replaced
    (damaged,) = place.newest_sweep.glob(f"1/{record.FOLDER}")
    (damaged / "history.parquet").write_bytes(b"PAR1")
    assert place.give(*words, "dry_run=true").out.count("(done already)") == 2
    assert len(list(record.unpublished(place.folder))) == 0

    ended = place.give(*words)
    assert ended.status == 0
    assert re.findall(r"cell ./3  (.*)  test accuracy", ended.err) == ["adam relu"]
    assert "2 records had been published to a store that is gone; the new one gets them, too" in ended.err
    assert finished(place) == {"gd relu": 1, "adam relu": 1, "nesterov relu": 1}
    assert_same(results(place.newest_sweep), before)
    assert "3 cells done already, 0 to train" in place.give(*words, "dry_run=true").err


def test_sync_publishes_what_a_store_that_is_gone_had_and_once(replaced):
    place, words, _ = replaced
    assert place.give("sync").out.endswith("4 published, 0 still waiting\n")
    assert finished(place) == {"gd relu": 1, "adam relu": 1, "nesterov relu": 2}
    assert place.give("sync").out == "0 published, 0 still waiting\n"
    assert "3 cells done already, 0 to train" in place.give(*words, "dry_run=true").err


def test_run_that_somebody_has_deleted_is_trained_again_and_not_brought_back(place):
    words = ("-m", *TINY, "num_epochs=5", "seeds=1", "optimizer=gd,adam")
    assert place.give(*words).status == 0
    client = store.client(place.uri)
    (deleted,) = [run for run in read.cell_runs(place.uri, "nnbench") if run.info.run_name == "gd relu"]
    client.delete_run(deleted.info.run_id)
    assert place.give("sync").out == "0 published, 0 still waiting\n"
    ended = place.give(*words)
    assert re.findall(r"cell ./2  (.*)  test accuracy", ended.err) == ["gd relu"]
    assert finished(place) == {"gd relu": 1, "adam relu": 1}
    assert client.get_run(deleted.info.run_id).info.lifecycle_stage == "deleted"


def test_database_that_another_program_locks_for_long_costs_one_wait_and_no_result(place):
    (place.folder / "order").write_text("wait")

    def lock():
        while not (place.folder / "waiting").exists():
            time.sleep(0.01)
        with closing(sqlite3.connect(place.folder / "mlflow.db", isolation_level=None)) as database:
            database.execute("BEGIN EXCLUSIVE")
            (place.folder / "waiting").unlink()
            time.sleep(22)  # MLflow's patience is 20 s

    other = threading.Thread(target=lock)
    other.start()
    started = time.perf_counter()
    ended = place.give(*SWEEP)
    assert time.perf_counter() - started < 45
    other.join()
    assert ended.status == 0
    assert ended.err.count("test accuracy") == 3
    assert len(re.findall(r"not in MLflow yet \(.*/mlflow\.db is locked: another program", ended.err)) == 1
    trouble.wake(place.uri)
    assert place.give("sync").status == 0
    assert finished(place) == ALL_ONCE


# A store that does not answer at all.


def prepared(place: Place, monkeypatch, *words: str):
    """What a command finds to train."""
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv(app.SWEEP, f"of a test {secrets.token_hex(4)}")
    plan = grid.expand(get_args_parser().parse_args(["-m", *TINY, "num_epochs=2", "seeds=1", *words]))
    return preparation.prepare(plan, app._datasets(app._cells(plan)))


def test_results_that_wait_count_while_the_store_does_not_answer(place, monkeypatch, capfd):
    words = (*TINY, "num_epochs=2", "seeds=1", "progress=false", f"tracking.uri={DOWN}")
    ended = place.give("-m", *words, "optimizer=gd,adam,momentum")
    assert ended.status == 0
    assert ended.err.count("does not answer (Connection refused)") <= 2  # in the beginning and in the end
    place.give(*words, "optimizer=nesterov", "tracking.experiment=another")
    place.give(*words, "optimizer=rmsprop", "tracking=none")
    (damaged,) = place.folder.glob(f"multirun/*/2/{record.FOLDER}")
    (damaged / "history.parquet").write_bytes(b"PAR1")

    swept = ("optimizer=gd,adam,momentum,nesterov,rmsprop", f"tracking.uri={DOWN}")
    sweep = prepared(place, monkeypatch, *swept)
    assert sweep.missing() == [2, 3, 4]
    assert sweep.finished == {}
    assert sweep.done == set(sweep.waiting) == set(sweep.fingerprints[:2])
    assert prepared(place, monkeypatch, *swept, "resume=false").missing() == [0, 1, 2, 3, 4]
    assert prepared(place, monkeypatch, "optimizer=gd", "tracking.uri=http://127.0.0.1:19").missing() == [0]

    progress = CellProgress("gd", job=0, num_cells=1, num_epochs=1, shown=True)
    source = sweep.waiting[sweep.fingerprints[0]]
    assert job._copied(Path(source), place.folder / "next" / "0", progress, said="is finished already")
    copy = record.read(place.folder / "next" / "0" / record.FOLDER)
    assert replace(copy, folder=source) == replace(record.read(place.folder / source), folder=source)
    assert "is finished already" in capfd.readouterr().err
    shutil.rmtree(place.folder / "next")
    assert not job._copied(damaged, place.folder / "next" / "2", progress, said="is there")
    assert "history.parquet" in capfd.readouterr().err
    assert list((place.folder / "next" / "2").glob("*")) == []


def test_copies_of_a_record_are_published_once(place):
    place.give(*TINY, "num_epochs=2", "seeds=1", "optimizer=gd", f"tracking.uri={DOWN}")
    (source,) = record.find(place.folder)
    record.copy(source, place.folder / "multirun" / "next" / "0")
    assert place.give("sync", "--tracking-uri", place.uri).out.endswith("1 published, 0 still waiting\n")
    assert finished(place) == {"gd relu": 1}
    record.copy(source, place.folder / "multirun" / "last" / "0")
    assert list(record.unpublished(place.folder)) == []


def test_records_of_two_stores_wait_for_their_own(place, monkeypatch):
    monkeypatch.chdir(place.folder)
    for uri in (DOWN, place.uri):
        place.give(*TINY, "num_epochs=2", "seeds=1", "optimizer=gd", f"tracking.uri={uri}")
    for path in place.folder.glob(f"outputs/*/{record.PUBLISHED}"):
        path.unlink()
    assert outbox.publish("now") == 1
    assert finished(place) == {"gd relu": 1}
