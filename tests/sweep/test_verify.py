"""A run that is trained again: identical where nothing has changed, and whatever has changed is named.

Most commands are given in this process; those that must not find loaded modules or data have a process of their own.
"""

import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnbench.__main__ import in_this_process
from nnbench.tracking import record

# Replicas whose first weight is positive diverge at their first step; which ones is a matter of the seed alone.
ERRATIC = """
import numpy as np

from nnbench.nn.optimizers import GD


class Sometimes(GD):
    def step(self, grads, factor=1.0):
        super().step(grads, factor)
        self.params[self.params[:, 0] > 0] = np.inf


class Broken(GD):
    def step(self, grads, factor=1.0):
        raise RuntimeError("the update rule is wrong")
"""
QUICK = "_target_: nnbench.protocol.LearningRateGrid\nnum_trials: 3\nseeds: 2\nmax_extensions: 1\n"
BENT = "_target_: nnbench.nn.LeakyReLU\nnegative_slope: 0.3\n"
PLAIN, TUNED, LAYERED = "gd relu none", "gd relu quick", "sometimes tanh+bent"
SHORT = ("seeds=4", "num_epochs=8", "batch_size=8", "progress=false", "report=false")


@dataclass(frozen=True)
class Ended:
    """What a command has left: exit status, and what it wrote to both streams."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Workplace:
    """A folder with a store, and its runs by name."""

    folder: Path

    def run_id(self, name: str, status: str = "FINISHED") -> str:
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as database:
            ((run_id,),) = database.execute(
                "SELECT run_uuid FROM runs WHERE name = ? AND status = ?", [name, status]
            ).fetchall()
        return run_id

    def record(self, name: str) -> record.Record:
        """Return the record that a cell left on the disk."""
        cells = [record.read(folder) for folder in record.find(self.folder)]
        (cell,) = [cell for cell in cells if cell.identity.label == name]
        return cell

    def artifacts(self, name: str) -> Path:
        return self.folder / "mlartifacts" / "nnbench" / self.run_id(name) / "artifacts"

    def network(self, name: str) -> Path:
        """Return the file of the network that a cell's run has logged."""
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as database:
            ((model_id,),) = database.execute(
                "SELECT model_id FROM logged_models WHERE source_run_id = ?", [self.run_id(name)]
            ).fetchall()
        (path,) = self.folder.glob(f"mlartifacts/nnbench/models/{model_id}/**/network.npz")
        return path

    def contents(self) -> dict[str, str]:
        """Return the hash of every file but those that Python itself writes."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workplace:
    """Cells that are plain, tuned, and of several activations with diverged replicas, and one that failed."""
    folder = tmp_path_factory.mktemp("workplace")
    files = {"erratic.py": ERRATIC, "own/tuning/quick.yaml": QUICK, "own/activation/bent.yaml": BENT}
    for name in ("Sometimes", "Broken"):
        files[f"own/optimizer/{name.lower()}.yaml"] = f"_target_: erratic.{name}\nlearning_rate: 0.1\n"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.standard_normal((120, 2)).round(3), columns=["x", "y"])
    table.assign(kind=np.where(table["x"] > table["y"], "a", "b")).to_csv(folder / "table.csv", index=False)

    place = Workplace(folder)
    moons = ("dataset=moons", "dataset.num_points=200", "hidden=[4]", "patience=2", "optimizer=gd")
    assert give(place, "-m", "--config-dir=own", "tuning=none,quick", *moons, *SHORT) == 0
    csv = ("dataset=csv", "dataset.path=table.csv", "dataset.target=kind", "hidden=[4,4]")
    own = ("--config-dir=own", "plugins=[erratic]", "layer_activations=[tanh,bent]", "optimizer=sometimes,broken")
    assert give(place, "-m", *own, *csv, *SHORT) == 1
    return place


def give(place: Workplace, *arguments: str) -> int:
    """Give a command line in this process; return the exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.folder)
        patch.syspath_prepend(place.folder)
        patch.setattr(sys, "argv", ["nnbench", *arguments])
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        try:
            return in_this_process()
        except SystemExit as stop:
            return int(stop.code or 0)


def give_anew(folder: Path, *arguments: str) -> Ended:
    """Give a command line in a process of its own."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "NNBENCH"))}
    ended = subprocess.run(
        [sys.executable, "-m", "nnbench", *arguments], cwd=folder, env=variables, capture_output=True, encoding="utf-8"
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def verify(place, capfd) -> Callable[..., Ended]:
    """Return a function that verifies a run of the workplace in this process."""

    def verify(run_id: str, *options: str) -> Ended:
        capfd.readouterr()
        status = give(place, "verify", run_id, *options)
        return Ended(status, *capfd.readouterr())

    return verify


@contextmanager
def changed(path: Path, change: Callable[[Path], None]) -> Iterator[None]:
    """Change a file; if it is of a record, adapt the manifest. Both are as they were in the end."""
    manifest = path.with_name(record.MANIFEST)
    before = {file: file.read_bytes() for file in (path, manifest) if file.exists()}
    change(path)
    if manifest.exists() and path.exists():
        content = path.read_bytes()
        entries = json.loads(manifest.read_text())
        entries[path.name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest.write_text(json.dumps(entries))
    try:
        yield
    finally:
        for file, content in before.items():
            file.write_bytes(content)


def next_number_in_csv(column: str, row: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table.loc[row, column] = repr(float(np.nextafter(float(table.loc[row, column]), np.inf)))
        table.to_csv(path, index=False)

    return change


def next_number_in_parquet(column: str, row: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        table = pd.read_parquet(path)
        table.loc[row, column] = np.nextafter(table.loc[row, column], np.inf)
        table.to_parquet(path, index=False)

    return change


def count(ended: Ended) -> int:
    """Return how many numbers were found identical."""
    return int(re.match(r"identical: (\d+) numbers of ", ended.out)[1])


def test_the_cells_of_these_tests_have_replicas_that_stopped_diverged_and_were_tuned(place):
    plain, tuned, layered = (place.record(name) for name in (PLAIN, TUNED, LAYERED))
    assert len(plain.replicas()["train/stopped_epoch"].drop_duplicates()) > 1
    assert tuned.cell["tuning"]["chosen"]["learning_rate"] != tuned.config["optimizer"]["learning_rate"]
    assert set(layered.replicas()["status"]) == {"finished", "diverged"}


def test_a_cell_is_identical_and_nothing_is_written(place):
    before = place.contents()

    ended = give_anew(place.folder, "verify", place.run_id(PLAIN))

    assert ended.status == 0, ended.err
    assert re.fullmatch(r"identical: \d+ numbers of 4 seeds, trained again in \d+\.\d s\n", ended.out)
    assert place.contents() == before


@pytest.mark.parametrize("name", [TUNED, LAYERED])
def test_a_cell_that_was_tuned_or_has_diverged_replicas_is_identical(place, verify, name):
    ended = verify(place.run_id(name), "--config-dir", "own")

    assert ended.status == 0, ended.out + ended.err
    cell = place.record(name)
    tables = [cell.replicas(), cell.history(), cell.tuning(), cell.untuned()]
    numbers = sum(
        len(table)
        * sum(not metric.startswith("time/") and metric not in ("seed", "epoch", "trial") for metric in table)
        for table in tables
    )
    with np.load(place.network(name)) as network:
        assert count(ended) == numbers + network["params"].size


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", [PLAIN, TUNED, LAYERED])
def test_every_replica_is_identical_when_it_trains_alone(place, verify, name, seed):
    ended = verify(place.run_id(f"{name} seed {seed}"), "--config-dir", "own")

    assert ended.status == 0, ended.out + ended.err
    assert " numbers of 1 seed, trained again in " in ended.out
    best = place.record(name).cell["best_seed"]
    assert (f"the network of the best seed, {best}, alone" in ended.out) == (seed != best)


def test_a_replica_of_a_tuned_cell_is_trained_without_tuning(place, verify):
    whole, replica = (verify(place.run_id(name)) for name in (TUNED, f"{TUNED} seed 1"))

    assert "tuning.csv" not in replica.out
    assert count(replica) < count(whole) / 3


def test_the_first_digits_of_an_id_are_enough(place, verify):
    ended = verify(place.run_id(PLAIN)[:12])

    assert ended.status == 0, ended.err


def test_a_run_of_another_folders_store_is_verified_by_its_uri(place, tmp_path, monkeypatch, capfd):
    elsewhere = Workplace(tmp_path)

    status = give(
        elsewhere, "verify", place.run_id(f"{PLAIN} seed 0"), "--tracking-uri", f"sqlite:///{place.folder}/mlflow.db"
    )

    assert status == 0, capfd.readouterr()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "file", "change", "place_of_it"),
    [
        (PLAIN, "replicas.csv", next_number_in_csv("test/loss", 2), "2 test/loss"),
        (PLAIN, "history.parquet", next_number_in_parquet("val/loss", 5), "0 6 val/loss"),
        (f"{PLAIN} seed 2", "replicas.csv", next_number_in_csv("test/loss", 2), "2 test/loss"),
        (f"{PLAIN} seed 0", "history.parquet", next_number_in_parquet("val/loss", 5), "0 6 val/loss"),
        (TUNED, "tuning.csv", next_number_in_csv("val/selected_loss", 3), "1000001 val/selected_loss of trial 1"),
        (TUNED, "untuned.csv", next_number_in_csv("test/loss", 0), "0 test/loss"),
    ],
)
def test_a_stored_number_with_another_bit_is_found_and_named(place, verify, name, file, change, place_of_it):
    cell = name.partition(" seed")[0]
    with changed(place.artifacts(cell) / file, change):
        ended = verify(place.run_id(name))

    assert ended.status == 1, ended.err
    assert ended.out.startswith("different: 1 of ")
    header, row = ended.out.splitlines()[1:3]
    assert header.split() == ["table", "seed", "epoch", "metric", "stored", "now"]
    *where, stored, now = row.split()
    assert " ".join(where) == f"{file} {place_of_it}"
    assert float(stored) == np.nextafter(float(now), np.inf)
    assert "the environment has not changed" in ended.out


def test_a_changed_number_of_another_replica_is_none_of_a_replica(place, verify):
    with changed(place.artifacts(PLAIN) / "replicas.csv", next_number_in_csv("test/loss", 2)):
        assert verify(place.run_id(f"{PLAIN} seed 1")).status == 0


def test_a_changed_environment_stands_beside_the_differences(place, verify):
    def older(path: Path) -> None:
        content = json.loads(path.read_text())
        content["packages"]["numpy"] = "1.0"
        path.write_text(json.dumps({**content, "cpu": "another one"}))

    folder = place.artifacts(PLAIN)
    with changed(folder / "environment.json", older):
        assert verify(place.run_id(f"{PLAIN} seed 2")).status == 0
        with changed(folder / "replicas.csv", next_number_in_csv("test/loss", 2)):
            ended = verify(place.run_id(f"{PLAIN} seed 2"))

    assert ended.status == 1
    lines = ended.out.partition("the environment has changed")[2].splitlines()
    assert {line.split()[0]: line.split()[1] for line in lines[2:4]} == {"cpu": "another", "numpy": "1.0"}


def test_a_stored_network_with_another_bit_is_found(place, verify):
    def change(path: Path) -> None:
        with np.load(path) as file:
            arrays = dict(file)
        arrays["params"][0, 7] = np.nextafter(arrays["params"][0, 7], np.float32(np.inf))
        np.savez(path, **arrays)

    best = place.record(PLAIN).cell["best_seed"]
    with changed(place.network(PLAIN), change):
        ended = verify(place.run_id(f"{PLAIN} seed {best}"))

    assert ended.status == 1
    assert ended.out.splitlines()[2].split()[:4] == ["network", str(best), "parameter", "7"]


def test_a_network_that_is_not_in_the_store_is_reported(place, verify):
    whole = count(verify(place.run_id(PLAIN)))
    with changed(place.network(PLAIN), Path.unlink):
        ended = verify(place.run_id(PLAIN))

    assert ended.status == 0
    assert "the network cannot be had from the store" in ended.out
    assert count(ended) < whole


def test_data_that_changed_are_named_before_anything_is_trained(place):
    def change(path: Path) -> None:
        path.write_text(path.read_text().replace(",a\n", ",b\n", 1))

    with changed(place.folder / "table.csv", change):
        ended = give_anew(place.folder, "verify", place.run_id(LAYERED), "--config-dir", "own")

    assert ended.status == 1
    assert ended.out.startswith("the data has changed: the digest of table was ")
    assert ended.err == ""


@pytest.mark.parametrize(
    ("file", "named"), [("erratic.py", "the plugin erratic"), ("own/activation/bent.yaml", "the activation bent")]
)
def test_code_and_choices_that_changed_are_named(place, verify, file, named):
    def change(path: Path) -> None:
        path.write_text(path.read_text().replace("0.3", "0.4") + "# another version\n")

    with changed(place.folder / file, change):
        ended = verify(place.run_id(LAYERED), "--config-dir", "own")

    assert ended.status == 1
    assert named in ended.out
    assert ended.err == ""


def test_another_protocol_is_named(place, verify, monkeypatch):
    for module in ("nnbench.protocol.fingerprint", "nnbench.sweep.verify"):
        monkeypatch.setattr(f"{module}.PROTOCOL_VERSION", -1)

    ended = verify(place.run_id(PLAIN))

    assert ended.status == 1
    assert ended.out.startswith("the protocol has changed from version 3 to -1: ")
    assert ended.err == ""


def problem(ended: Ended) -> str:
    """Return the only line with which a command was refused."""
    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    return line.removeprefix("error: ")


@pytest.mark.parametrize(
    ("run_id", "said"),
    [
        ("0" * 32, r"mlflow.db has no run 0+; give another id, or the run's store with --tracking-uri$"),
        ("adam relu", "'adam relu' is no run id; it has 32 of the digits 0 to 9 and a to f$"),
        ("", "'' is no run id"),
        ("%", "'%' is no run id"),
    ],
)
def test_an_id_that_no_run_has_is_refused(verify, run_id, said):
    assert re.search(said, problem(verify(run_id)))


def test_an_id_that_several_runs_begin_with_is_refused(place, verify):
    with closing(sqlite3.connect(place.folder / "mlflow.db")) as database:
        first = [run_id[0] for (run_id,) in database.execute("SELECT run_uuid FROM runs")]
    shared = max(first, key=first.count)

    assert f"has several runs whose id starts with {shared}" in problem(verify(shared))


def test_a_sweep_is_no_run_to_train(place, verify):
    with closing(sqlite3.connect(place.folder / "mlflow.db")) as database:
        ((run_id,), *_) = database.execute("SELECT run_uuid FROM tags WHERE value = 'sweep'").fetchall()

    assert "is of the kind sweep; give the id of a cell or of a replica" in problem(verify(run_id))


def test_a_run_that_failed_is_refused_with_its_reason(place, verify):
    said = problem(verify(place.run_id("broken tanh+bent", "FAILED")))

    assert said.startswith("broken tanh+bent failed (RuntimeError: the update rule is wrong), so there is no result")
    assert "train it first, with python -m nnbench -m --config-dir=own" in said


@pytest.mark.parametrize(("status", "said"), [("KILLED", "was interrupted"), ("RUNNING", "is still in training")])
@pytest.mark.parametrize("name", [PLAIN, f"{PLAIN} seed 0"])
def test_a_run_without_a_result_is_refused(place, verify, name, status, said):
    run_id, cell = place.run_id(name), place.run_id(PLAIN)
    with closing(sqlite3.connect(place.folder / "mlflow.db")) as database:
        database.execute("UPDATE runs SET status = ? WHERE run_uuid = ?", [status, cell])
        database.commit()
        try:
            assert problem(verify(run_id)).startswith(f"{PLAIN} {said}")
        finally:
            database.execute("UPDATE runs SET status = 'FINISHED' WHERE run_uuid = ?", [cell])
            database.commit()


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("change", [half, Path.unlink])
@pytest.mark.parametrize("file", ["replicas.csv", "history.parquet", "config.yaml", "cell.json", "manifest.json"])
def test_a_record_that_is_damaged_or_gone_is_refused(place, verify, file, change):
    path = place.artifacts(PLAIN) / file
    before = path.read_bytes()
    change(path)
    try:
        said = problem(verify(place.run_id(PLAIN)))
    finally:
        path.write_bytes(before)

    assert said.startswith(f"the record of {PLAIN} cannot be used: {file} ")


@pytest.mark.parametrize("file", ["replicas.csv", "history.parquet", "config.yaml", "cell.json", "environment.json"])
def test_a_record_that_is_whole_but_senseless_is_refused(place, verify, file):
    with changed(place.artifacts(PLAIN) / file, half):
        assert f"the record of {PLAIN} cannot be used: " in problem(verify(place.run_id(PLAIN)))


def test_a_plugin_and_data_that_are_not_there_are_refused_with_the_command_of_the_training(place, tmp_path):
    uri = f"sqlite:///{place.folder}/mlflow.db"
    run = ("verify", place.run_id(LAYERED), "--tracking-uri", uri, "--config-dir", str(place.folder / "own"))

    ended = give_anew(tmp_path, *run)
    assert "plugins has erratic, which cannot be imported: ModuleNotFoundError" in ended.err
    assert "of its training, python -m nnbench -m --config-dir=own 'plugins=[erratic]'" in ended.err
    assert ended.status == 2
    assert "Traceback" not in ended.err

    (tmp_path / "erratic.py").write_text(ERRATIC)
    said = problem(give_anew(tmp_path, *run))
    assert said.startswith(f"its data cannot be loaded: {tmp_path}/table.csv does not exist")


def test_an_own_activation_is_asked_for_where_its_folder_is_not_given(place, verify):
    assert "layer_activations has 'bent', which is not an activation" in problem(verify(place.run_id(LAYERED)))


def test_a_store_that_is_not_there_or_is_none_is_refused(verify, tmp_path):
    assert "there is no store at " in problem(verify("0" * 32, "--tracking-uri", f"sqlite:///{tmp_path}/none.db"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "text.db").write_text("not a database" * 1000)
    assert "text.db cannot be read: " in problem(verify("0" * 32, "--tracking-uri", f"sqlite:///{tmp_path}/text.db"))


def test_a_server_that_does_not_answer_is_refused(verify, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    assert problem(verify("0" * 32, "--tracking-uri", "http://127.0.0.1:9")).startswith("http://127.0.0.1:9 cannot be ")
