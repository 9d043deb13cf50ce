"""The store: made once however many start at once or are killed, and nothing written outside its folder."""

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from urllib.parse import unquote

import pytest
from click.testing import CliRunner
from tracking_cases import rows

from nnbench.commands import commands
from nnbench.tracking import read, store

# Real processes, forked from one that has imported MLflow and nothing else, so that they start at the same moment.
RACE = """
import multiprocessing, sys
import mlflow, mlflow.store.tracking.sqlalchemy_store
from nnbench.tracking import store

def start(barrier):
    barrier.wait()
    store.prepare(None, "raced")
    uri = store.resolve(None)
    run = store.client(uri).create_run(store.experiment_id(uri, "raced"))
    store.client(uri).set_terminated(run.info.run_id)

fork = multiprocessing.get_context("fork")
barrier = fork.Barrier(8)
processes = [fork.Process(target=start, args=(barrier,)) for _ in range(8)]
for process in processes: process.start()
for process in processes: process.join()
print([process.exitcode for process in processes])
"""

# Each process is killed when the unfinished database has reached a size; the litter stays for the next one.
KILLS = """
import multiprocessing, os, signal, sys, time
from pathlib import Path
import mlflow, mlflow.store.tracking.sqlalchemy_store
from nnbench.tracking import store

def start():
    store.prepare(None, "after a kill")

def size():
    try:
        return sum(path.stat().st_size for path in Path().glob("mlflow.db.*tmp*"))
    except FileNotFoundError:  # SQLite's journal comes and goes
        return 0

fork = multiprocessing.get_context("fork")
for most in (0, 20_000, 60_000, 100_000, 200_000, 300_000, 400_000, 550_000, 700_000, 850_000):
    for path in Path().glob("mlflow.db.*tmp*"):
        os.truncate(path, 0)  # so that it can be seen growing; a torn database is litter as well
    process = fork.Process(target=start)
    process.start()
    while size() <= most and process.is_alive():
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    print(process.exitcode, Path("mlflow.db").exists(), size() > 0)
process = fork.Process(target=start)
process.start()
process.join()
print(process.exitcode, Path("mlflow.db").exists(), size() > 0)
"""


def output_of(script: str, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_eight_processes_at_once_make_one_store(tmp_path):
    assert output_of(RACE, tmp_path) == f"{[0] * 8}\n"
    database = tmp_path / "mlflow.db"
    assert rows(database, "SELECT count(*) FROM experiments WHERE name = 'raced'") == [(1,)]
    assert rows(database, "SELECT status, count(*) FROM runs GROUP BY status") == [("FINISHED", 8)]
    assert rows(database, "PRAGMA integrity_check") == [("ok",)]
    assert names_in(tmp_path) <= {"mlflow.db", "mlflow.db.lock", "mlartifacts"}


def test_start_after_kills_in_the_middle_of_creation_finds_nothing_in_its_way(tmp_path):
    *killed, last = output_of(KILLS, tmp_path).splitlines()
    assert killed == ["-9 False True"] * 10
    assert last == "0 True False"
    assert rows(tmp_path / "mlflow.db", "SELECT count(*) FROM experiments WHERE name = 'after a kill'") == [(1,)]


@pytest.mark.parametrize("name", ["mlflow.db", "my[1].db"])
def test_only_litter_of_the_creation_itself_is_deleted(tmp_path, name):
    for kind in (".tmp", ".tmp-journal", ".tmp_backup"):
        (tmp_path / f"{name}{kind}").write_bytes(b"no database at all, or somebody's own file")
    store.prepare(f"sqlite:///{tmp_path}/{name}", "Default")
    assert names_in(tmp_path) == {name, f"{name}.lock", f"{name}.tmp_backup"}


def test_journal_of_a_store_that_is_gone_is_named_kept_and_damages_no_new_one(tmp_path):
    journal = tmp_path / "mlflow.db-journal"  # of a writer that was killed; SQLite would roll the new file back to it
    journal.write_bytes(b"the pages that a writer has changed")
    with pytest.raises(
        store.StoreError, match=r"mlflow.db-journal belongs to a store that is gone.*move it.*delete it"
    ):
        store.prepare(f"sqlite:///{tmp_path}/mlflow.db", "Default")
    assert journal.read_bytes() == b"the pages that a writer has changed"
    assert not (tmp_path / "mlflow.db").exists()
    journal.unlink()
    store.prepare(f"sqlite:///{tmp_path}/mlflow.db", "Default")
    assert rows(tmp_path / "mlflow.db", "PRAGMA integrity_check") == [("ok",)]


def test_path_that_is_too_long_for_a_database_is_refused_at_once(tmp_path):
    folder = tmp_path.joinpath(*["a" * 200] * 4)
    folder.mkdir(parents=True)
    with pytest.raises(store.StoreError, match="unable to open database file"):
        store.prepare(f"sqlite:///{folder}/mlflow.db", "Default")


def test_store_that_is_there_is_left_as_it_is(new_store):
    made = new_store()
    content = made.database.read_bytes()
    store.prepare(made.uri, "Default")
    assert made.database.read_bytes() == content


def test_default_store_is_below_the_current_folder_with_an_absolute_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert store.resolve(None) == f"sqlite:///{tmp_path}/mlflow.db"
    assert store.resolve("sqlite:///sub/other.db") == f"sqlite:///{tmp_path}/sub/other.db"
    assert store.resolve(f"sqlite:///{tmp_path}/other.db") == f"sqlite:///{tmp_path}/other.db"
    assert store.resolve("http://localhost:1") == "http://localhost:1"


def test_environment_names_the_store_unless_the_configuration_does(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/team.db")
    assert store.resolve(None) == f"sqlite:///{tmp_path}/team.db"
    assert store.resolve("http://localhost:1") == "http://localhost:1"


def test_only_a_local_store_can_be_missing(tmp_path, new_store):
    assert not store.exists(f"sqlite:///{tmp_path}/mlflow.db")
    assert store.exists(new_store().uri)
    assert store.exists("http://localhost:1")


ODD_NAMES = [
    "../../x",
    "/etc/x",
    "a b",
    "📈 naïve",
    "x" * 300,
    "..",
    "<script>alert(1)</script>",
    "'; DROP TABLE runs;",
]


def test_artifacts_stay_below_mlartifacts_whatever_the_experiment_is_called(new_store, tmp_path):
    made = new_store("a place with # and ü")
    artifacts = made.database.parent / "mlartifacts"
    for name in ODD_NAMES:
        store.prepare(made.uri, name)
        run = store.client(made.uri).create_run(store.experiment_id(made.uri, name))
        (tmp_path / "note.txt").write_text(name, encoding="utf-8")
        store.client(made.uri).log_artifact(run.info.run_id, str(tmp_path / "note.txt"))

    (tmp_path / "note.txt").unlink()
    assert sorted(path.read_text(encoding="utf-8") for path in tmp_path.rglob("note.txt")) == sorted(ODD_NAMES)
    assert all(path.is_relative_to(artifacts) for path in tmp_path.rglob("note.txt"))
    assert names_in(tmp_path) == {made.database.parent.name}
    places = {unquote(place) for (place,) in rows(made.database, "SELECT artifact_location FROM experiments")}
    assert len(places) == len(rows(made.database, "SELECT 1 FROM experiments"))


@pytest.mark.parametrize("name", [*ODD_NAMES, "nnbench", "a/b", "a_b", ""])
def test_safe_names_are_parts_of_a_path_and_stay_different(name):
    safe = store.file_name(name)
    assert Path(safe).name == safe
    assert safe.isascii()
    assert len(safe) < 100
    assert [other for other in [*ODD_NAMES, "nnbench", "a/b", "a_b", ""] if store.file_name(other) == safe] == [name]


def test_experiment_is_made_once_by_threads_that_race(new_store):
    made = new_store()
    together = Barrier(6)

    def ask(_):
        together.wait()
        return store.experiment_id.__wrapped__(made.uri, "raced")  # the function without its memory

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, range(6)))
    assert len(set(found)) == 1
    assert rows(made.database, "SELECT count(*) FROM experiments WHERE name = 'raced'") == [(1,)]


def foreign(path: Path) -> None:
    """Write the database of another program."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE runs (distance REAL)")
        database.commit()


def changed(*statements: str):
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    return change


def scrambled(path: Path) -> None:
    """Let every page but the first two begin with nonsense."""
    content = bytearray(path.read_bytes())
    for place in range(2 * 4096, len(content), 4096):
        content[place : place + 100] = b"nonsense" * 12 + b"four"
    path.write_bytes(content)


# What may lie where the store should be: how it gets there, and what is said of it.
NO_STORES = {
    "empty": (lambda path: os.truncate(path, 0), "its creation was cut off"),
    "text": (lambda path: path.write_text("my thesis\n" * 100), "file is not a database"),
    "cut in half": (lambda path: os.truncate(path, path.stat().st_size // 2), "malformed"),
    "cut after a page": (lambda path: os.truncate(path, 4096), "malformed"),
    "cut in the header": (lambda path: os.truncate(path, 60), "no store that can be used"),
    "scrambled": (scrambled, "malformed"),
    "a folder": (lambda path: path.unlink() or path.mkdir(), "is a folder"),
    "of another program": (lambda path: path.unlink() or foreign(path), "no store of MLflow's"),
    "half made": (changed("DROP TABLE logged_models", "DROP TABLE alembic_version"), "its creation was cut off"),
    "of an older MLflow": (changed("UPDATE alembic_version SET version_num = '451aebb31d03'"), "mlflow db upgrade"),
    "of a newer MLflow": (changed("UPDATE alembic_version SET version_num = 'ffffffffffff'"), "is ffffffffffff"),
    "with a table less": (changed("DROP TABLE latest_metrics"), "it has no table latest_metrics"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_STORES)
def test_what_is_no_store_is_named_in_a_line_with_the_way_out_and_left_as_it_is(new_store, kind):
    made = new_store(kind)
    make, said = NO_STORES[kind]
    make(made.database)
    before = made.database.read_bytes() if made.database.is_file() else None
    for ask in (
        lambda: store.prepare(made.uri, "x"),
        lambda: store.check(made.uri),
        lambda: read.cell_runs(made.uri, "nnbench"),
    ):
        with pytest.raises(store.StoreError) as raised:
            ask()
        assert str(raised.value).startswith(f"{made.database} ")
        assert said in str(raised.value)
        assert "another one" in str(raised.value) or "move it away" in str(raised.value)
        assert "\n" not in str(raised.value)
        assert raised.value.kind == "refusal"
    assert names_in(made.database.parent) == {"mlflow.db"}
    assert before is None or made.database.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [["status"], ["ui"], ["report"], ["verify", "0" * 32], ["predict", "0" * 32], ["studies"], ["sync"]],
    ids=lambda words: words[0],
)
def test_each_command_says_in_one_line_what_is_wrong_with_a_damaged_store(new_store, iris, monkeypatch, capfd, words):
    made = new_store()
    NO_STORES["cut in half"][0](made.database)
    monkeypatch.chdir(made.database.parent)
    iris.write(made.database.parent / "outputs" / "x")  # waits for `sync`
    before = made.database.read_bytes()
    outcome = CliRunner().invoke(commands, words)
    assert isinstance(outcome.exception, SystemExit)
    assert outcome.exit_code in (1, 2)
    written = outcome.output + "".join(capfd.readouterr())
    (line,) = [line for line in written.splitlines() if "mlflow.db" in line]
    assert "malformed" in line
    assert "move it away" in line
    assert len(written.splitlines()) == (2 if words == ["sync"] else 1)
    assert made.database.read_bytes() == before


def test_file_that_is_removed_under_way_is_not_made_again_behind_its_back(new_store):
    made = new_store()
    store.prepare(made.uri, "x")
    made.database.unlink()
    with pytest.raises(store.StoreError, match="has been removed or replaced"):
        store.client(made.uri).create_experiment("y")
    assert not made.database.exists()


def test_file_that_is_replaced_under_way_is_known_though_its_number_may_be_given_again(new_store):
    made = new_store()
    store.prepare(made.uri, "x")
    known = store.client(made.uri)
    content = made.database.read_bytes()
    for _ in range(3):  # a file system may give the new file the number of the last one that is gone
        made.database.unlink()
        made.database.write_bytes(content)
        with pytest.raises(store.StoreError, match="has been removed or replaced"):
            known.search_experiments()


def test_disk_that_machines_share_is_known_by_the_kind_of_its_file_system(tmp_path, monkeypatch):
    kind = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True).stdout.strip()
    found = store.file_system(tmp_path)
    assert found
    assert found[:3] in (kind[:3], *(["ove"] if "overlay" in kind else []))
    assert store.file_system(Path("/proc/self")) == "proc"
    assert store.warning_of_disk(f"sqlite:///{tmp_path}/mlflow.db") == ""
    monkeypatch.setattr(store, "SHARED", {found})
    assert f"{tmp_path}/mlflow.db is on {found}" in store.warning_of_disk(f"sqlite:///{tmp_path}/mlflow.db")
    assert store.warning_of_disk("http://team") == ""


@pytest.mark.parametrize("name", ["what?", "100%41"])
def test_a_folder_whose_name_means_something_in_a_uri_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="work in another folder"):
        store.prepare(f"sqlite:///{tmp_path / name / 'mlflow.db'}", "nnbench")
    assert list((tmp_path / name).iterdir()) == []


def test_a_deleted_experiment_is_refused_with_the_way_to_restore_it(new_store):
    made = new_store()
    number = store.experiment_id(made.uri, "gone")
    store.client(made.uri).delete_experiment(number)
    with pytest.raises(
        store.StoreError, match=f"gone is deleted; restore it with mlflow experiments restore -x {number}, or"
    ):
        store.experiment_id.__wrapped__(made.uri, "gone")  # the function without its memory
