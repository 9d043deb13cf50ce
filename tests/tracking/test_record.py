"""The record folder: whole or not there, exactly what was computed, never used when damaged."""

import csv
import json
import math
import os
import resource
import shutil
import signal
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from tracking_cases import STARTED, write_failure, write_interruption

from nnbench.data import Scaler, Split
from nnbench.nn import MLP
from nnbench.tracking import record
from nnbench.tracking.contents import sample_images

FILES = {
    "cell.json", "classes.csv", "config.yaml", "confusion_matrix.csv", "confusion_matrix.png", "environment.json",
    "calibration.csv", "history.parquet", "manifest.json", "predictions.npz", "replicas.csv",
    "model/names.json", "model/network.npz", "model/scaler.npz",
}  # fmt: skip


def files_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_killed_processes_have_left_of_records_is_swept_up_and_what_is_being_written_stays(tmp_path):
    old, new = (tmp_path / "multirun" / name / "0" / f"{record.FOLDER}.1.tmp" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / record.CELL).write_text("{")
    os.utime(old, (0, 0))
    record.sweep_up(tmp_path)
    assert not old.exists()
    assert (new / record.CELL).exists()
    assert old.parent.exists()


@pytest.fixture(scope="module")
def written(iris, tmp_path_factory):
    return iris.write(tmp_path_factory.mktemp("written"))


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / record.FOLDER)


def test_record_has_every_file_and_nothing_beside_it(written):
    assert files_below(written) == FILES
    assert list(written.parent.iterdir()) == [written]


@pytest.mark.parametrize("most_bytes", [0, 300, 900, 2_000, 8_000])
def test_full_disk_leaves_neither_record_nor_litter(iris, tmp_path, most_bytes):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))
    try:
        with pytest.raises(OSError):
            iris.write(tmp_path / "job")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert list((tmp_path / "job").iterdir()) == []
    assert iris.write(tmp_path / "job").is_dir()  # with room again it is written in the same place


@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt()])
def test_record_is_whole_or_absent_at_whatever_moment_writing_stops(iris, tmp_path, monkeypatch, error):
    synced = []
    monkeypatch.setattr(record, "sync", synced.append)
    iris.write(tmp_path / "counted")
    assert len(synced) > len(FILES)

    for moment in range(len(synced)):
        job_folder = tmp_path / f"job{moment}"
        left = iter([None] * moment)

        def stop(path, left=left):
            if next(left, error) is not None:
                raise error

        monkeypatch.setattr(record, "sync", stop)
        with pytest.raises(type(error)):
            iris.write(job_folder)
        content = list(job_folder.iterdir())
        if content:  # stopped after the renaming, which is the last step
            assert content == [job_folder / record.FOLDER]
            record.read(*content)


def test_folder_has_its_name_only_when_all_of_it_is_on_the_disk(iris, tmp_path, monkeypatch):
    named = []
    monkeypatch.setattr(record, "sync", lambda path: named.append((path, (tmp_path / record.FOLDER).exists())))
    iris.write(tmp_path)
    *before, (last, there) = named
    assert (last, there) == (tmp_path, True)
    assert not any(there for _, there in before)
    assert {path.name for path, _ in before} >= {name.rpartition("/")[2] for name in FILES}


@pytest.mark.parametrize("name", sorted(FILES))
def test_truncated_file_is_named_and_not_used(folder, name):
    path = folder / name
    content = path.read_bytes()
    for size in (0, 1, len(content) // 2, len(content) - 1):
        if content[size:] == b"\n" and name == record.MANIFEST:
            continue  # the end of the last line says nothing
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=path.name):
            record.read(folder)
    path.unlink()
    with pytest.raises(ValueError, match=path.name):
        record.read(folder)
    path.write_bytes(content)
    record.read(folder)


@pytest.mark.parametrize("name", sorted(FILES))
def test_flipped_bit_is_noticed_wherever_it_is(folder, name):
    path = folder / name
    content = path.read_bytes()
    for place in {*range(0, len(content), max(len(content) // 40, 1)), len(content) - 1}:
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        # A manifest that is damaged in a name or a sum accuses the file that it describes.
        with pytest.raises(ValueError, match="record" if name == record.MANIFEST else path.name):
            record.read(folder)


def test_record_reads_back_as_it_was_written(iris, folder):
    read = record.read(folder)
    assert read.identity == iris.identity()
    assert read.config == iris.job.config
    assert read.choices == iris.job.choices
    assert read.status == "finished"
    assert read.cell["started"] == STARTED
    assert read.cell["train_seconds"] == iris.result.final.trained.train_seconds
    assert read.cell["dataset"]["digest"] == iris.dataset.digest
    assert read.cell["best_seed"] == iris.cell.seeds[iris.result.final.best_replica]
    assert read.environment()["packages"]["numpy"] == np.__version__
    assert yaml.safe_load((folder / "config.yaml").read_text())["choices"] == dict(iris.job.choices)


def test_replicas_are_the_scores_to_the_last_bit(iris, folder):
    table = record.read(folder).replicas()
    assert list(table["seed"]) == [3, 5]
    assert list(table["status"]) == ["finished", "finished"]
    assert list(table.columns) == ["seed", "status", *iris.result.final.summary]
    for name, values in iris.result.final.summary.items():
        assert values.dtype == np.float64
        np.testing.assert_array_equal(table[name].to_numpy(), values, err_msg=name)


def test_history_has_every_epoch_of_every_replica(iris, folder):
    table = record.read(folder).history()
    assert list(zip(table["seed"], table["epoch"], strict=True)) == [(s, e) for s in (3, 5) for e in (1, 2, 3)]
    assert set(table.columns) == {"seed", "epoch", *iris.training.history}
    for name, values in iris.training.history.items():
        stored = table[name].to_numpy().reshape(2, 3)
        np.testing.assert_array_equal(stored, values.T, err_msg=name)


def test_class_scores_are_those_of_scikit_learn(iris, folder):
    table = pd.read_csv(folder / "classes.csv", dtype=str).astype({"seed": int}).set_index(["seed", "class"])
    labels = iris.dataset.test.labels
    for place, seed in enumerate(iris.cell.seeds):
        predicted = iris.result.model.predict(iris.dataset.test.inputs)[place]
        expected = precision_recall_fscore_support(labels, predicted, zero_division=0)
        stored = table.loc[seed].loc[list(iris.dataset.class_names)]
        for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
            np.testing.assert_array_equal(stored[name].astype(float), values, err_msg=name)


def test_confusion_matrix_counts_the_test_split_once_for_each_replica(iris, folder):
    labels = iris.dataset.test.labels
    expected = sum(confusion_matrix(labels, row) for row in iris.result.model.predict(iris.dataset.test.inputs))
    stored = record.read(folder).confusion()
    assert list(stored.columns) == list(stored.index) == list(iris.dataset.class_names)
    np.testing.assert_array_equal(stored, expected)
    assert stored.to_numpy().sum() == 2 * len(labels)


def test_model_is_the_best_replica_of_arrays_alone(iris, folder):
    for path in (folder / "model").glob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            assert all(array.dtype != object for array in arrays.values())
    network = MLP.load(folder / "model" / "network.npz")
    np.testing.assert_array_equal(network.params[0], iris.result.model.params[iris.result.final.best_replica])
    raw = iris.cell.source.read().inputs
    scaled = Scaler.load(folder / "model" / "scaler.npz")(raw, network.params.dtype)
    np.testing.assert_array_equal(scaled, iris.dataset.scaler(raw, network.params.dtype))
    names = json.loads((folder / "model" / "names.json").read_text())
    assert names["features"] == list(iris.dataset.feature_names)


def test_what_is_no_number_survives(mixed, tmp_path):
    read = record.read(mixed.write(tmp_path))
    table, history = read.replicas().set_index("seed"), read.history().set_index(["seed", "epoch"])
    assert list(table["status"]) == ["finished", "diverged", "finished"]
    assert np.isposinf(table["val/target_epoch"]).all()
    assert np.isposinf(table["time/target_seconds"]).all()
    assert math.isnan(table.loc[1, "test/loss"])
    assert table.loc[1, "test/accuracy"] == 1 / 3  # chance level, not nothing
    assert history.loc[1, "train/loss"].isna().all()
    assert history.loc[[0, 2], "train/loss"].notna().all()
    assert read.confusion().to_numpy().sum() == 2 * len(mixed.dataset.test)


def test_cell_that_diverged_as_a_whole_has_a_record_without_a_model(diverged, tmp_path):
    read = record.read(diverged.write(tmp_path))
    assert read.status == "diverged"
    assert not (read.folder / "model").exists()
    assert read.confusion().to_numpy().sum() == 0


def test_record_has_the_counts_of_its_splits_and_of_images_some_of_each_class(digits, iris, tmp_path):
    read = record.read(digits.write(tmp_path / "images"))
    for split, counts in read.cell["dataset"]["counts"].items():
        assert counts == np.bincount(getattr(digits.dataset, split).labels).tolist()
    samples = read.samples()
    np.testing.assert_array_equal(np.bincount(samples.labels), [8] * 10)
    assert (samples.images.dtype, samples.images.shape) == (np.uint8, (80, 8, 8))
    assert (samples.images.min(), samples.images.max()) == (0, 255)

    table = record.read(iris.write(tmp_path / "table"))
    assert table.cell["dataset"]["counts"]["train"] == [40, 40, 40]
    assert len(table.samples().images) == 0
    assert not (table.folder / record.SAMPLES).exists()


def test_record_from_before_samples_were_kept_has_none(digits, tmp_path):
    read = record.read(digits.write(tmp_path))
    (read.folder / record.SAMPLES).unlink()
    samples = read.samples()
    assert len(samples.images) == len(samples.labels) == 0


@pytest.mark.parametrize(("num_classes", "expected"), [(2, 2 * 8), (12, 12 * 8), (20, 20 * 5), (300, 25 * 4)])
def test_samples_of_many_classes_are_bounded(digits, num_classes, expected):
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(num_classes)] * 9)
    train = Split(rng.random((len(labels), 64)).astype(np.float32), labels)
    names = tuple(map(str, range(num_classes)))
    images, kept = sample_images(replace(digits.dataset, train=train, class_names=names))
    assert len(images) == len(kept) == expected
    assert list(kept) == sorted(kept)


def test_failed_cell_has_settings_error_and_traceback(tmp_path):
    read = record.read(write_failure(tmp_path, error="it broke"))
    assert read.status == "failed"
    assert read.cell["error"] == "RuntimeError: it broke"
    assert (read.folder / record.ERROR_LOG).read_text() == "traceback"
    assert read.config["optimizer"]["learning_rate"] == 0.5
    assert read.replicas().empty
    assert read.history().empty
    assert read.confusion().empty


def test_interrupted_cell_has_settings_and_how_far_it_was(iris, tmp_path):
    read = record.read(write_interruption(tmp_path, iris, reason="stopped by SIGTERM at epoch 2 of 3"))
    assert (read.status, read.cell["error"]) == ("interrupted", "stopped by SIGTERM at epoch 2 of 3")
    assert read.identity == iris.identity()
    assert read.config == iris.job.config
    assert not (read.folder / record.ERROR_LOG).exists()
    assert read.replicas().empty
    assert read.history().empty
    assert read.confusion().empty


def test_experiment_is_that_of_the_configuration_or_the_study_and_none_where_nothing_is_tracked(iris, tmp_path):
    def experiment(tracking, settings):
        job = replace(
            iris.job,
            choices={**iris.job.choices, "tracking": tracking},
            config={**iris.job.config, "tracking": settings},
        )
        return record.read(replace(iris, job=job).write(tmp_path / "job", study="a study")).experiment

    assert experiment("mlflow", {"uri": None, "experiment": "a name"}) == "a name"
    assert experiment("mlflow", {"uri": None, "experiment": None}) == "a study"
    assert experiment("none", {}) is None


def test_class_names_stay_what_they_are_in_every_file(iris, tmp_path):
    names = ('=1+1, "<b>"', "NA\nsecond line", "001")
    read = record.read(replace(iris, dataset=replace(iris.dataset, class_names=names)).write(tmp_path))
    assert tuple(read.confusion().index) == tuple(read.confusion().columns) == names
    assert tuple(read.cell["dataset"]["classes"]) == names
    with (read.folder / "classes.csv").open(newline="") as file:
        assert tuple(row["class"] for row in csv.DictReader(file))[:3] == names


def test_records_are_found_oldest_first_and_damage_does_not_hide_the_others(iris, tmp_path):
    first = iris.write(tmp_path / "multirun" / "z" / "0")
    second = iris.write(tmp_path / "outputs" / "a")
    (tmp_path / "multirun" / "z" / "1" / f"{record.FOLDER}.1.tmp").mkdir(parents=True)  # of a killed process
    assert record.find(tmp_path) == [first, second]
    (first / "cell.json").write_text("")
    assert record.find(tmp_path) == [first, second]
    (second.parent / record.PUBLISHED).write_text("{}")
    assert list(record.unpublished(tmp_path)) == [first]


def test_folder_that_another_command_renames_meanwhile_is_left_out(tmp_path):
    (tmp_path / "multirun" / "done" / record.FOLDER).mkdir(parents=True)
    (tmp_path / "multirun" / "done" / record.FOLDER / record.MANIFEST).write_text("{}")
    job = tmp_path / "multirun" / "begun"
    ended = threading.Event()

    def work():
        while not ended.wait(0.0005):
            with record.new_folder(job) as folder:
                (folder / record.MODEL).mkdir()

    other = threading.Thread(target=work)
    other.start()
    try:
        for _ in range(2000):
            assert tmp_path / "multirun" / "done" / record.FOLDER in record.find(tmp_path)
    finally:
        ended.set()
        other.join()


@pytest.mark.parametrize("content", ["[]", "{}", '{"identity": 5}', '{"identity": {"sweep": 1}}', "[" * 100_000])
def test_whole_folder_that_is_no_record_is_named_as_such(content, tmp_path):
    with record.new_folder(tmp_path) as folder:  # of another program, or of another time
        (folder / record.CELL).write_text(content)
        (folder / "config.yaml").write_text("choices: {}")
    with pytest.raises(record.DamagedError, match="is not a whole record"):
        record.read(tmp_path / record.FOLDER)
