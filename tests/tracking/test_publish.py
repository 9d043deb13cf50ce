"""Publication: a record arrives in MLflow whole and once, however often it is sent and wherever it was cut off."""

import json
import math
import pwd
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from tracking_cases import (
    STARTED,
    Trained,
    artifacts,
    cell_run,
    contents,
    job_of,
    rows,
    train,
    write_failure,
    write_interruption,
)

from nnbench.commands import commands
from nnbench.data.loading import load
from nnbench.nn import GD
from nnbench.protocol.naming import flat_settings
from nnbench.protocol.result import run as run_cell
from nnbench.protocol.search import LearningRateGrid
from nnbench.settings import parse
from nnbench.tracking import process, read, record, store, whole_runs
from nnbench.tracking import publish as publishing
from nnbench.tracking.contents import score_divergence
from nnbench.tracking.points import mean_curves
from nnbench.tracking.publish import Publisher, publish, publish_all

STUDY = "a study"
CALLS = (
    "create_run", "log_batch", "log_inputs", "set_tag", "set_terminated", "log_artifact", "create_logged_model",
    "log_outputs", "log_model_artifacts", "finalize_logged_model",
)  # fmt: skip
SEED = {"seed": 3, "status": "finished", "test/accuracy": 0.5}


@pytest.fixture
def calls(monkeypatch):
    """Every call that writes to MLflow, as it is made; a function in `after` is called when one has been answered."""
    made: list[str] = []
    after: list = []

    def watch(kind, name):
        original = getattr(kind, name)

        def call(self, *arguments, **options):
            made.append(name)
            answer = original(self, *arguments, **options)
            for function in after:
                function()
            return answer

        monkeypatch.setattr(kind, name, call)

    for name in CALLS:
        watch(mlflow.MlflowClient, name)
    watch(LocalArtifactRepository, "log_artifact")
    watch(whole_runs, "write")
    return made, after


@pytest.fixture(scope="module")
def published(iris, empty_database, tmp_path_factory):
    """A database with the cell of `iris`, and its record folder."""
    folder = tmp_path_factory.mktemp("published")
    database = folder / "mlflow.db"
    database.write_bytes(empty_database.read_bytes())
    written = iris.write(folder / "job")
    store.prepare(f"sqlite:///{database}", STUDY)
    publish(written, f"sqlite:///{database}", STUDY)
    return database, written


def test_a_cell_is_a_run_and_its_replicas_are_nested_in_it(published, iris):
    database, _ = published
    run_id = cell_run(database, STUDY)
    found = contents(database, STUDY)
    assert Counter(place for *_, place in found["runs"].elements()) == Counter(["cell", "seed 3", "seed 5"])
    parents = {place: value for place, key, value in found["tags"] if key == "mlflow.parentRunId"}
    assert parents == {"seed 3": "cell", "seed 5": "cell"}  # `contents` writes places for ids
    ended = round(1000 * json.loads((published[1] / "cell.json").read_text())["ended"])
    for status, start, end, *_ in found["runs"]:
        assert (status, start, end) == ("FINISHED", round(1000 * STARTED), ended)
    assert rows(database, "SELECT name FROM runs WHERE run_uuid = ?", run_id) == [("adam relu",)]


def test_tags_say_kind_sweep_fingerprint_and_status(published, iris):
    tags = {(place, key): value for place, key, value in contents(published[0], STUDY)["tags"]}
    for place, kind in (("cell", "cell"), ("seed 3", "replica"), ("seed 5", "replica")):
        assert tags[place, "nnbench.kind"] == kind
        assert tags[place, "nnbench.sweep"] == "a-sweep"
        assert tags[place, "nnbench.fingerprint"] == iris.identity().fingerprint
        assert tags[place, "nnbench.status"] == "finished"
    accuracy = iris.result.final.summary["test/accuracy"].mean()
    assert f"Test accuracy {accuracy:.2%}" in tags["cell", "mlflow.note.content"]


def test_params_are_the_resolved_configuration_without_levels(published, iris):
    params = {(place, key): value for place, key, value in contents(published[0], STUDY)["params"]}
    expected = flat_settings(iris.job.config, iris.job.choices)
    assert {key for place, key in params if place == "cell"} == set(expected)
    assert params["cell", "optimizer"] == "adam"
    assert params["cell", "optimizer.learning_rate"] == str(expected["optimizer.learning_rate"])
    assert params["cell", "hidden"] == "[4]"
    assert (params["seed 5", "seed"], params["seed 5", "dataset"]) == ("5", "iris")


def test_curves_have_the_epoch_as_step_and_the_training_time_as_time(published, iris):
    metrics = contents(published[0], STUDY)["metrics"]
    assert set(metrics.values()) == {1}
    history = iris.history()
    ended = round(1000 * json.loads((published[1] / "cell.json").read_text())["ended"])
    for place, table in [("seed 3", history[history["seed"] == 3]), ("seed 5", history[history["seed"] == 5])]:
        for row in table.to_dict("records"):
            time_of_epoch = round(1000 * (STARTED + row["time/train_seconds"]))
            for name in table.columns.drop(["seed", "epoch"]):
                point = (place, name, row[name], time_of_epoch, row["epoch"], 0)
                # Of most the cell has the means, and a seed the last point, but for layers.
                is_whole = name.split("/")[0] in ("train", "val") and name.endswith(("/loss", "/accuracy"))
                is_last = row["epoch"] == history["epoch"].max() and not name.startswith("layer")
                time = ended if is_last and not is_whole else time_of_epoch
                point = (place, name, row[name], time, row["epoch"], 0)
                assert (point in metrics) == (is_whole or is_last), name
    means = history.groupby("epoch").mean()
    for name in ("train/loss", "val/accuracy", "layer1/grad_norm", "time/train_seconds"):
        points = {step: value for place, key, value, _, step, _ in metrics if (place, key) == ("cell", name)}
        assert points == pytest.approx(means[name].to_dict(), rel=1e-15)


def test_summaries_are_the_scores_of_each_replica_and_their_mean(published, iris):
    latest = {(place, key): value for place, key, value, *_ in contents(published[0], STUDY)["metrics"]}
    measured = {name: values for name, values in iris.result.final.summary.items() if not np.isnan(values).any()}
    assert iris.result.final.summary.keys() - measured.keys() == {"train/stopped_epoch", "train/diverged_step"}
    for name, values in measured.items():
        assert (latest["seed 3", name], latest["seed 5", name]) == tuple(values)
        if name != "test/openings":  # which the cell has in all
            assert latest["cell", name] == pytest.approx(values.mean(), rel=1e-15)
    assert latest["cell", "test/openings"] == 2
    assert (latest["cell", "seeds"], latest["cell", "seeds_diverged"]) == (2, 0)
    assert latest["cell", "test/accuracy_std"] == pytest.approx(iris.result.final.summary["test/accuracy"].std(ddof=1))


def test_data_set_and_artifacts_are_there(published, iris):
    database, written = published
    assert rows(database, "SELECT name, digest FROM datasets") == [("iris", iris.dataset.digest[:16])]
    assert contents(database, STUDY)["links"] == {("DATASET", "RUN"): 1, ("RUN_OUTPUT", "MODEL_OUTPUT"): 1}
    folder = artifacts(database, cell_run(database, STUDY))
    stored = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert stored == {path.name: path.read_bytes() for path in written.iterdir() if path.is_file()}
    assert {"config.yaml", "history.parquet", "environment.json", "confusion_matrix.png"} <= set(stored)


def test_the_record_remembers_where_it_was_published(published):
    database, written = published
    note = json.loads((written.parent / record.PUBLISHED).read_text())
    assert note == {"run_id": cell_run(database, STUDY), "uri": f"sqlite:///{database}"}


def test_publishing_again_adds_nothing(published, calls):
    database, written = published
    before = database.read_bytes()
    (written.parent / record.PUBLISHED).unlink()
    assert publish(written, f"sqlite:///{database}", STUDY) == cell_run(database, STUDY)
    assert calls[0] == []
    assert database.read_bytes() == before


def test_cut_off_after_any_call_and_published_again_it_is_there_exactly_once(published, calls, new_store):
    database, written = published
    expected = contents(database, STUDY)
    made = new_store()
    made_calls, after = calls
    store.prepare(made.uri, "counted")
    publish(written, made.uri, "counted")
    num_calls = len(made_calls)
    assert num_calls > 15

    class Crash(BaseException):
        pass

    for last in range(1, num_calls + 1):
        made_calls.clear()

        def crash(last=last):
            if len(made_calls) == last:
                raise Crash

        after[:] = [crash]
        with pytest.raises(Crash):
            publish(written, made.uri, f"cut after {last}")
        after.clear()
        publish(written, made.uri, f"cut after {last}")
        found = contents(made.database, f"cut after {last}")
        for part, content in expected.items():
            assert found[part] == content, f"{part}, cut off after {made_calls[last - 1]}, call {last} of {num_calls}"


def test_two_commands_that_publish_the_same_record_make_one_run(published, new_store):
    database, written = published
    made = new_store()
    store.prepare(made.uri, STUDY)
    with ThreadPoolExecutor(3) as pool:
        ids = set(pool.map(lambda _: publish(written, made.uri, STUDY), range(3)))
    assert ids == {cell_run(made.database, STUDY)}
    assert contents(made.database, STUDY) == contents(database, STUDY)


def test_there_is_one_batch_for_a_cell_and_one_write_for_its_seeds_or_a_batch_for_each_run(
    published, calls, new_store, monkeypatch
):
    publish(published[1], new_store("local").uri, STUDY)
    made = Counter(calls[0])
    assert made["log_batch"] == made["create_run"] == made["write"] == 1
    calls[0].clear()
    monkeypatch.setattr(whole_runs, "write", lambda *_: False)
    publish(published[1], new_store("another").uri, STUDY)
    made = Counter(calls[0])
    assert made["log_batch"] == made["create_run"] == 3


def test_thousands_of_points_are_sent_in_parts(new_store, tmp_path, calls):
    long = train("dataset=iris", "hidden=[2]", "num_epochs=220", "batch_size=full", "seeds=1", "progress=false")
    made = new_store()
    publish(long.write(tmp_path / "job"), made.uri, STUDY)
    history = long.history()
    num_points = history.drop(columns=["seed", "epoch"]).size
    assert num_points > 1500
    num_summaries = sum(np.isfinite(values).all() for values in long.result.final.summary.values())
    num_summaries -= 1  # the gradient evaluations, the last point of their curve
    stored = Counter(place for place, *_ in contents(made.database, STUDY)["metrics"].elements())
    num_whole_points = history[["train/loss", "train/accuracy", "val/loss", "val/accuracy"]].size
    num_last_points = history.filter(regex="^(?!layer|seed|epoch|.*/loss|.*/accuracy)").shape[1]
    assert stored["seed 0"] == num_whole_points + num_last_points + num_summaries
    # Seeds, diverged seeds, three times; the openings of the test split are those of the only seed.
    assert stored["cell"] == num_points + num_summaries + 5
    assert Counter(calls[0])["log_batch"] == math.ceil(stored["cell"] / 800)


def test_more_replicas_than_a_page_are_found_again(published, monkeypatch, calls):
    database, written = published
    monkeypatch.setattr(store, "PAGE", 1)
    publish(written, f"sqlite:///{database}", STUDY)
    assert calls[0] == []


def test_cell_in_training_shows_its_epochs_and_has_each_once_in_the_end(published, iris, new_store, calls):
    database, written = published
    made = new_store()
    history = iris.history()
    live = Publisher(made.uri, STUDY, iris.identity())
    for epoch in (1, 2):
        calls[0].clear()
        live.flush(iris.job.config, iris.job.choices, history[history["epoch"] <= epoch], STARTED)
        assert Counter(calls[0])["log_batch"] == 1
        found = contents(made.database, STUDY)
        assert {status for status, *_ in found["runs"]} == {"RUNNING"}
        steps = Counter(step for _, key, _, _, step, _ in found["metrics"] if key == "val/accuracy")
        assert steps == dict.fromkeys(range(1, epoch + 1), 1)
        assert ("cell", "optimizer", "adam") in found["params"]
    publish(written, made.uri, STUDY)
    assert contents(made.database, STUDY) == contents(database, STUDY)


def test_cell_that_is_stopped_is_closed_and_still_completed_by_its_record(published, iris, new_store):
    database, written = published
    made = new_store()
    live = Publisher(made.uri, STUDY, iris.identity())
    live.flush(iris.job.config, iris.job.choices, iris.history(), STARTED)
    live.close("interrupted")
    found = contents(made.database, STUDY)
    assert [status for status, *_ in found["runs"]] == ["KILLED"]
    assert ("cell", "nnbench.status", "interrupted") in found["tags"]
    publish(written, made.uri, STUDY)  # the stop came between the record and the end of its publication
    assert contents(made.database, STUDY) == contents(database, STUDY)


def test_run_that_was_taken_for_abandoned_before_its_record_came_is_as_any_other(
    published, iris, new_store, monkeypatch
):
    database, written = published
    made = new_store()
    with monkeypatch.context() as patch:
        patch.setattr(process, "mark", lambda: f"{process.socket.gethostname()} 99999999 1")
        live = Publisher(made.uri, STUDY, iris.identity())
        live.flush(iris.job.config, iris.job.choices, iris.history(), STARTED)
    publishing.close_abandoned(made.uri, STUDY)
    assert ("cell", "nnbench.reason", "its process is gone") in contents(made.database, STUDY)["tags"]
    publish(written, made.uri, STUDY)
    found, expected = contents(made.database, STUDY), contents(database, STUDY)
    for tags in (found["tags"], expected["tags"]):
        for entry in [entry for entry in tags if entry[1] == "nnbench.process"]:
            del tags[entry]
    assert found == expected


def test_cell_that_is_killed_and_begun_again_gets_a_new_run_with_each_point_once(
    iris, new_store, tmp_path, monkeypatch
):
    made = new_store()
    with monkeypatch.context() as patch:
        patch.setattr(process, "mark", lambda: f"{process.socket.gethostname()} 99999999 1")
        live = Publisher(made.uri, STUDY, iris.identity())
        live.flush(iris.job.config, iris.job.choices, iris.history(), STARTED - 60)
    publishing.close_abandoned(made.uri, STUDY)
    publish(iris.write(tmp_path / "0"), made.uri, STUDY)  # it began later
    runs = "SELECT status, lifecycle_stage FROM runs WHERE name = ? ORDER BY start_time"
    assert rows(made.database, runs, iris.identity().label) == [("KILLED", "active"), ("FINISHED", "active")]
    repeated = "SELECT key FROM metrics GROUP BY run_uuid, key, step HAVING count(*) > 1"
    assert rows(made.database, repeated) == []
    assert len(read.finished_cells(made.uri, STUDY)) == 1


def test_what_is_no_number_never_becomes_a_metric(mixed, diverged, new_store, tmp_path):
    made = new_store()
    publish(mixed.write(tmp_path / "0"), made.uri, STUDY)
    publish(diverged.write(tmp_path / "1", number=1), made.uri, "all diverged")
    for _, value, is_nan in rows(made.database, "SELECT key, value, is_nan FROM metrics"):
        assert math.isfinite(value)
        assert abs(value) < 1e300
        assert not is_nan
    found = contents(made.database, STUDY)
    latest = {(place, key): value for place, key, value, *_ in found["metrics"]}
    assert ("cell", "val/target_epoch") not in latest
    assert latest["cell", "val/target_hit_rate"] == 0
    assert (latest["cell", "seeds"], latest["cell", "seeds_diverged"]) == (3, 1)
    assert ("seed 1", "nnbench.status", "diverged") in found["tags"]
    assert latest["seed 1", "test/accuracy"] == 1 / 3
    (note,) = [value for _, key, value in found["tags"] if key == "mlflow.note.content"]
    assert "1 of 3 seeds diverged" in note
    assert contents(made.database, "all diverged")["models"] == {}
    assert ("cell", "nnbench.status", "diverged") in contents(made.database, "all diverged")["tags"]


def test_failed_cell_is_a_failed_run_with_its_error(new_store, tmp_path):
    made = new_store()
    publish(write_failure(tmp_path, error="a " + "very " * 4000 + "long story"), made.uri, STUDY)
    found = contents(made.database, STUDY)
    assert [(status, place) for status, *_, place in found["runs"]] == [("FAILED", "cell")]
    assert ("cell", "nnbench.status", "failed") in found["tags"]
    assert ("cell", "optimizer.learning_rate", "0.5") in found["params"]
    assert record.ERROR_LOG in found["artifacts"]["cell"]


def test_interrupted_cell_is_a_killed_run_with_the_reason(iris, new_store, tmp_path):
    made = new_store()
    folder = write_interruption(tmp_path, iris, reason="stopped by Ctrl-C at epoch 1 of 3")
    run_id = publish(folder, made.uri, STUDY)
    found = contents(made.database, STUDY)
    assert [(status, place) for status, *_, place in found["runs"]] == [("KILLED", "cell")]
    assert ("cell", "nnbench.status", "interrupted") in found["tags"]
    assert ("cell", "nnbench.reason", "stopped by Ctrl-C at epoch 1 of 3") in found["tags"]
    assert ("cell", "optimizer", "adam") in found["params"]
    assert record.ERROR_LOG not in found["artifacts"]["cell"]
    assert publish(folder, made.uri, STUDY) == run_id
    assert contents(made.database, STUDY) == found
    assert read.finished_cells(made.uri, STUDY) == {}
    assert read.fetch_newest(made.uri, STUDY, tmp_path / "fetched") == ({}, {})


class Seldom(GD):
    """Gradient descent that overflows where the first weight of a replica is large: for some seeds only."""

    def __init__(self, params, *, learning_rate=0.1):
        super().__init__(params, learning_rate=learning_rate)
        self.learning_rate = np.where(params[:, :1] > 0.5, 1e30, self.learning_rate)


@pytest.fixture(scope="module")
def risky(iris, empty_database, tmp_path_factory):
    """A database with two tuned cells of three seeds, one of which loses a seed, and what was trained."""
    folder = tmp_path_factory.mktemp("risky")
    database = folder / "mlflow.db"
    database.write_bytes(empty_database.read_bytes())
    settings = ("dataset=iris", "hidden=[4]", "num_epochs=8", "seeds=3", "target_accuracy=1", "patience=2")
    job, activations = job_of(*settings, "tuning=learning_rate", "diagnostics=full")
    results = {}
    for number, optimizer in enumerate((GD, Seldom)):
        cell = parse(job.config, job.choices, activations)
        # Seeds diverge at the highest of these learning rates, which is the configured one, too.
        space = {"learning_rate": replace(cell.space["learning_rate"], low=0.05, high=1e30)}
        search = LearningRateGrid(num_trials=3, seeds=2, max_extensions=0)
        new_optimizer = partial(optimizer, learning_rate=1e30)
        cell = replace(cell, new_optimizer=new_optimizer, tuning=search, space=space, untuned={"learning_rate": 1e30})
        dataset = load(cell.source, cell.dtype)
        result = run_cell(cell, dataset)
        named = replace(job, label=optimizer.__name__)
        trained = Trained(named, cell, dataset, None, result)
        publish(trained.write(folder / str(number), number=number), f"sqlite:///{database}", STUDY)
        results[optimizer.__name__] = result
    return database, results


def latest(database, name):
    """Return the latest value of each metric of a cell."""
    query = (
        "SELECT m.key, m.value FROM latest_metrics m JOIN runs r USING (run_uuid) JOIN tags t USING (run_uuid) "
        "WHERE r.name = ? AND t.key = 'nnbench.kind' AND t.value = 'cell'"
    )
    return dict(rows(database, query, name))


def test_cell_of_which_a_seed_diverged_has_a_mean_accuracy_and_no_mean_loss(risky):
    database, results = risky
    final = results["Seldom"].final
    diverged = final.trained.diverged
    assert diverged.sum() == 1
    metrics = latest(database, "Seldom")
    assert (metrics["seeds"], metrics["seeds_diverged"]) == (3, 1)
    survivors = final.summary["test/accuracy"][~diverged]
    assert metrics["test/accuracy"] == pytest.approx((survivors.sum() + 1 / 3) / 3)  # a third of iris is one class
    losses = {name for name in latest(database, "GD") if name.endswith("loss")}
    assert losses >= {"test/loss", "val/loss", "val/selected_loss"}
    assert not losses & metrics.keys()


def test_diverged_replica_has_no_latest_value_from_before(risky):
    database, results = risky
    final = results["Seldom"].final
    (diverged,) = np.flatnonzero(final.trained.diverged)
    query = (
        "SELECT m.key, m.value FROM latest_metrics m JOIN runs r USING (run_uuid) JOIN tags t USING (run_uuid) "
        "WHERE r.name = ? AND t.key = 'nnbench.kind' AND t.value = 'replica'"
    )
    metrics = dict(rows(database, query, f"Seldom seed {final.trained.seeds[diverged]}"))
    curves = {name: value for name, value in metrics.items() if name in final.trained.history}
    assert {"train/accuracy", "val/accuracy"} <= curves.keys()
    assert not [name for name in curves if name.endswith("loss") or name.startswith("layer")]
    assert (metrics["val/accuracy"], metrics["test/accuracy"]) == pytest.approx((1 / 3, 1 / 3))


def test_replica_of_a_tuned_cell_says_the_learning_rate_that_it_was_trained_with(risky):
    database, results = risky
    query = (
        "SELECT DISTINCT p.value FROM params p JOIN runs r USING (run_uuid) JOIN tags t USING (run_uuid) WHERE r.name "
        "LIKE 'GD %' AND p.key = 'optimizer.learning_rate' AND t.key = 'nnbench.kind' AND t.value = 'replica'"
    )
    assert [float(value) for (value,) in rows(database, query)] == [results["GD"].tuning.chosen["learning_rate"]]


def test_seconds_of_a_cell_are_those_of_all_its_stacks(new_store, tmp_path):
    job, activations = job_of("dataset=iris", "hidden=[4]", "num_epochs=3", "seeds=5", "stack_size=2")
    cell = parse(job.config, job.choices, activations)
    dataset = load(cell.source, cell.dtype)
    made = new_store()
    publish(Trained(job, cell, dataset, None, run_cell(cell, dataset)).write(tmp_path / "job"), made.uri, STUDY)
    recorded = record.read(tmp_path / "job" / record.FOLDER).cell["train_seconds"]
    assert latest(made.database, job.label)["time/train_seconds"] == recorded


@pytest.mark.parametrize("name", ["test/loss", "val/loss", "val/selected_loss", "train/loss"])
def test_search_for_the_lowest_loss_does_not_find_a_cell_by_the_seeds_it_has_left(risky, name):
    database, _ = risky
    client, experiment = store.client(f"sqlite:///{database}"), store.experiment_id(f"sqlite:///{database}", STUDY)
    cells = "tags.`nnbench.kind` = 'cell'"
    best = client.search_runs([experiment], cells, order_by=[f"metrics.`{name}` ASC"])
    assert [run.info.run_name for run in best] == ["GD", "Seldom"]
    with_loss = client.search_runs([experiment], f"{cells} AND metrics.`{name}` < 1e9")
    assert [run.info.run_name for run in with_loss] == ["GD"]


def test_tuning_patience_targets_and_full_diagnostics_leave_no_metric_that_is_no_number(risky):
    database, results = risky
    tuning = results["GD"].tuning
    assert "diverged" in tuning.table["status"]
    assert results["GD"].untuned.trained.diverged.all()
    metrics = rows(database, "SELECT key, value, is_nan FROM metrics")
    metrics += rows(database, "SELECT key, value, is_nan FROM latest_metrics")
    names = {name for name, *_ in metrics}
    assert names >= {"train/largest_eigenvalue", "train/gradient_snr", "tuning/num_trials", "untuned/accuracy"}
    assert "val/target_hit_rate" in names
    for name, value, is_nan in metrics:
        assert not is_nan, name
        assert math.isfinite(value), name
        assert abs(value) < 1e300, name  # which is how MLflow stores infinity


def test_user_without_a_name_can_publish(published, new_store, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    made = new_store()
    publish(published[1], made.uri, STUDY)
    assert len(contents(made.database, STUDY)["runs"]) == 3


def test_record_of_each_store_goes_to_its_own(iris, new_store, tmp_path, monkeypatch):
    """A store that one record names must not become the default of the next."""
    named, default = new_store("named"), new_store("default")
    monkeypatch.chdir(default.database.parent)
    folders = []
    for number, uri in enumerate((named.uri, None, named.uri, None)):
        tracking = {"uri": uri, "experiment": STUDY}
        trained = replace(iris, job=replace(iris.job, config={**iris.job.config, "tracking": tracking}))
        folders.append(trained.write(tmp_path / str(number), number=number))
    assert [error for _, error in publish_all(folders)] == [None] * 4
    for made in (named, default):
        assert contents(made.database, STUDY)["models"] == {("model", 2, "active"): 2}
        assert Counter(place for *_, place in contents(made.database, STUDY)["runs"].elements())["cell"] == 2
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["mlartifacts", "mlflow.db"]


def test_publishing_writes_nothing_in_the_current_folder(tmp_path, published, new_store, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    written = shutil.copytree(published[1], tmp_path / "there" / record.FOLDER)
    # A process of its own, as a store is opened once in each.
    publication = f"from pathlib import Path; publish(Path({str(written)!r}), {new_store().uri!r}, {STUDY!r})"
    command = [sys.executable, "-c", f"from nnbench.tracking.publish import publish; {publication}"]
    subprocess.run(command, check=True, capture_output=True)
    assert list(Path.cwd().iterdir()) == []


def sync(*options):
    return CliRunner().invoke(commands, ["sync", *options])


def test_sync_publishes_what_was_kept_back_exactly_once(iris, published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(published[1], tmp_path / "multirun" / "x" / "0" / record.FOLDER)
    damaged = iris.write(tmp_path / "outputs" / "y", number=1)
    (damaged / "replicas.csv").write_text("")
    (tmp_path / "mlflow.db").write_text("not yet a store")

    # A process of its own, as MLflow remembers a store that it could not open.
    broken = subprocess.run([sys.executable, "-m", "nnbench", "sync"], capture_output=True, text=True)
    assert broken.returncode == 1
    assert "not a database" in broken.stdout
    assert "0 published, 2 still waiting" in broken.stdout

    (tmp_path / "mlflow.db").unlink()  # and so it is absent
    mended = sync()
    assert mended.exit_code == 1
    assert "multirun/x/0  published" in mended.output
    assert "replicas.csv" in mended.output
    assert "1 published, 1 still waiting" in mended.output
    expected = contents(published[0], STUDY)
    assert contents(tmp_path / "mlflow.db", "nnbench") == expected

    again = sync()
    assert "0 published, 1 still waiting" in again.output
    assert contents(tmp_path / "mlflow.db", "nnbench") == expected


def test_server_that_is_gone_costs_seconds_and_its_record_waits(iris, tmp_path, monkeypatch, new_store):
    monkeypatch.chdir(tmp_path)
    folder = iris.write(tmp_path / "outputs" / "x")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    absent = sync()
    assert absent.exit_code == 1
    assert "0 published, 1 still waiting" in absent.output
    assert record.read(folder).status == "finished"
    made = new_store()
    assert sync("--tracking-uri", made.uri).exit_code == 0
    assert len(contents(made.database, "nnbench")["runs"]) == 3


def test_untracked_cells_are_never_published(iris, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = replace(
        iris.job, choices={**iris.job.choices, "tracking": "none"}, config={**iris.job.config, "tracking": {}}
    )
    replace(iris, job=job).write(tmp_path / "outputs" / "x")
    assert sync().output == "0 published, 0 still waiting\n"
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_locked_database_is_waited_for(published, new_store):
    made = new_store()
    store.prepare(made.uri, STUDY)
    locked = threading.Event()

    def lock():
        with closing(sqlite3.connect(made.database)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            locked.set()
            time.sleep(3)
            connection.rollback()

    other = threading.Thread(target=lock)
    other.start()
    locked.wait()
    publish(published[1], made.uri, STUDY)
    other.join()
    assert contents(made.database, STUDY) == contents(published[0], STUDY)


def test_a_mean_over_the_seeds_that_are_left_is_no_mean():
    values = [1.0, 3.0, 2.0, math.nan]  # seed 1 diverges in epoch 2; seed 0 alone would look better than both did
    history = pd.DataFrame({"seed": [0, 1, 0, 1], "epoch": [1, 1, 2, 2], "train/loss": values, "val/accuracy": values})
    history["time/train_seconds"] = [0.1, 0.1, 0.2, math.nan]
    curves = mean_curves(score_divergence(history, 0.5))
    assert math.isnan(curves["train/loss"][2])
    assert curves["val/accuracy"].to_dict() == {1: 2.0, 2: 1.25}  # at chance level from then on
    assert curves["time/train_seconds"].to_dict() == {1: 0.1, 2: 0.2}  # the clock of the stack goes on


def every_row(database: Path) -> dict[str, Counter]:
    """What the tables of runs hold, with names in place of ids of runs and of the store's folder."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        names = dict(map(tuple, connection.execute("SELECT run_uuid, name FROM runs")))
        names[str(database.parent)] = "folder"

        def named(value):
            for text, name in names.items():
                value = value.replace(text, name) if isinstance(value, str) else value
            return value

        return {
            table: Counter(
                tuple((column, named(row[column])) for column in row.keys())  # noqa: SIM118 - a row is no mapping
                for row in connection.execute(f"SELECT * FROM {table}")
            )
            for table in ("runs", "tags", "params", "metrics", "latest_metrics")
        }


@pytest.mark.parametrize("kind", ["iris", "mixed", "diverged"])
def test_seeds_written_at_once_are_the_rows_that_the_client_writes(kind, request, tmp_path, new_store, monkeypatch):
    written = request.getfixturevalue(kind).write(tmp_path / "job")
    at_once, by_client = new_store("together"), new_store("apart")

    publish(written, at_once.uri, STUDY)
    (written.parent / record.PUBLISHED).unlink()
    monkeypatch.setattr(whole_runs, "write", lambda *_: False)
    publish(written, by_client.uri, STUDY)

    assert every_row(at_once.database) == every_row(by_client.database)
    assert len(every_row(at_once.database)["runs"]) > 1


@pytest.mark.parametrize(
    "change", ["ALTER TABLE runs ADD COLUMN colour", "UPDATE experiments SET artifact_location = 's3://a/b'"]
)
def test_store_that_is_not_as_it_is_known_is_left_to_the_client(iris, tmp_path, new_store, change):
    written, made = iris.write(tmp_path / "job"), new_store()
    publisher = Publisher(made.uri, STUDY, iris.identity())
    whole = publisher._replica(record.read(written), publisher._run("cell", "cell", "x", 1.0), SEED, None)
    with closing(sqlite3.connect(made.database)) as connection, connection:
        connection.execute(change)
    experiment = publisher.client.get_experiment(publisher.experiment_id)
    assert not whole_runs.write(made.uri, experiment, [whole])
    assert rows(made.database, "SELECT count(*) FROM runs") == [(1,)]


def test_seeds_of_a_cell_are_written_one_and_all_or_not_at_all(iris, tmp_path, new_store):
    written, made = iris.write(tmp_path / "job"), new_store()
    publisher = Publisher(made.uri, STUDY, iris.identity())
    whole = publisher._replica(record.read(written), publisher._run("cell", "cell", "x", 1.0), SEED, None)
    experiment = publisher.client.get_experiment(publisher.experiment_id)
    with pytest.raises(store.StoreError):
        whole_runs.write(made.uri, experiment, [whole, replace(whole, params={"seed": None})])
    assert rows(made.database, "SELECT count(*) FROM runs") == [(1,)]
    assert whole_runs.write(made.uri, experiment, [whole, replace(whole, name="another")])
    assert rows(made.database, "SELECT count(*) FROM runs") == [(3,)]
