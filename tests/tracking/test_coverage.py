"""Coverage: each cell is counted once, with the state that a person would give it by hand."""

import pandas as pd
import pytest
from store_cases import BASELINES, COMMAND, NETWORKS, STUDY, plant

from nnbench.tracking import coverage, read, record, reports, store
from nnbench.tracking.coverage import Coverage

BY_HAND = {  # state, seeds, diverged, duplicates
    "three times": ("done", 2, 0, 2),
    "partly": ("done", 3, 1, 0),
    "diverged": ("diverged", 1, 1, 0),
    "damaged": ("damaged", 0, 0, 0),
    "gone": ("damaged", 0, 0, 0),
    "deleted": ("missing", 0, 0, 0),
    "failed later": ("done", 2, 0, 0),
    "running": ("running", 0, 0, 0),
    "killed": ("interrupted", 0, 0, 0),
    "stopped": ("interrupted", 0, 0, 0),
    "failed": ("failed", 0, 0, 0),
    "missing": ("missing", 0, 0, 0),
    "knn": ("done", 1, 0, 0),  # one fit stands for both seeds
    "svm": ("missing", 0, 0, 0),
}
OTHERS = {"of another sweep": ("done", 2, 0, 0), "dummy": ("done", 1, 0, 0)}


def counted(found: Coverage) -> dict[str, tuple]:
    return {
        row.fingerprint: (row.state, row.seeds, row.diverged, row.duplicates)
        for row in found.cells.itertuples(index=False)
    }


@pytest.fixture(scope="module")
def planted(empty_database, iris, mixed, diverged, tmp_path_factory):
    """A store with a cell of every fate, and a report, which is no cell."""
    folder = tmp_path_factory.mktemp("planted")
    database = folder / "mlflow.db"
    database.write_bytes(empty_database.read_bytes())
    made = plant(database, folder, whole=iris, partly=mixed, diverged=diverged)
    (folder / "report.html").write_text("<p>all is well")
    reports.log(made.uri, STUDY, None, [folder / "report.html"])
    reports.log(made.uri, STUDY, "planned", [folder / "report.html"])
    return made


@pytest.fixture(scope="module")
def fetched(planted, tmp_path_factory):
    return read.fetch_newest(planted.uri, STUDY, tmp_path_factory.mktemp("fetched"))


def test_every_cell_of_a_sweep_is_counted_as_by_hand(planted, fetched):
    found = coverage.of_sweep(planted.uri, STUDY, damaged=fetched[1])
    assert counted(found) == BY_HAND
    assert list(found.cells["fingerprint"]) == [*NETWORKS, *BASELINES]
    assert (found.sweep, found.command, found.num_others) == ("planned", COMMAND, 2)
    assert found.num_duplicates == 2
    assert not found.complete
    assert found.counts() == {
        "done": 4, "diverged": 1, "running": 1, "interrupted": 2, "failed": 1, "damaged": 2, "missing": 3,
    }  # fmt: skip


def test_a_study_has_the_newest_plan_and_every_other_cell(planted, fetched):
    found = coverage.of_study(planted.uri, STUDY, damaged=fetched[1])
    assert counted(found) == BY_HAND | OTHERS
    assert list(found.cells["fingerprint"]) == [*NETWORKS, *BASELINES, *OTHERS]
    assert (found.sweep, found.num_others) == (None, 0)


def test_a_command_is_that_of_the_cells_of_the_newest_plan_alone(planted, fetched):
    found = coverage.of_study(planted.uri, STUDY, damaged=fetched[1])
    assert found.planned == {*BY_HAND}


def test_every_record_that_is_there_is_read_and_the_damaged_are_named(planted, fetched):
    records, damaged = fetched
    assert list(damaged) == [planted.run_ids["damaged"], planted.run_ids["gone"]]
    by_fingerprint = {found.identity.fingerprint: found for found in records.values()}
    assert set(by_fingerprint) == {
        *("three times", "partly", "diverged", "failed later", "failed", "of another sweep", "knn", "dummy"),
    }
    assert by_fingerprint["failed later"].status == "finished"  # what failed after it takes nothing back
    assert by_fingerprint["knn"].is_baseline
    assert records[planted.run_ids["three times"]] is by_fingerprint["three times"]  # the last of them
    with_result = coverage.of_study(planted.uri, STUDY, damaged=damaged).cells
    assert set(with_result["run_id"]) - {""} == set(records) - {planted.run_ids["failed: attempt"]}


def test_reasons_tell_why_there_is_no_result(planted, fetched):
    cells = coverage.of_sweep(planted.uri, STUDY, damaged=fetched[1]).cells.set_index("fingerprint")
    assert cells["reason"].to_dict() == {
        **dict.fromkeys(("three times", "failed later", "running", "knn"), ""),
        "partly": "1 of 3 seeds diverged",
        "diverged": "1 of 1 seeds diverged",
        "damaged": "its record in the store is damaged or gone: replicas.csv is damaged: it is not what was written",
        "gone": "its record in the store is damaged or gone: manifest.json cannot be read "
        "(FileNotFoundError(2, 'No such file or directory'))",
        **dict.fromkeys(("deleted", "missing", "svm"), "not trained yet"),
        "killed": "its process is gone",
        "stopped": "stopped",
        "failed": "RuntimeError: no luck",
    }


def test_networks_are_in_the_matrix_and_baselines_beside_it(planted, fetched):
    found = coverage.of_study(planted.uri, STUDY, damaged=fetched[1])
    (words,) = found.matrix().loc["adam"]
    assert words == "3 done, 1 partly diverged, 1 diverged, 1 running, 2 interrupted, 1 failed, 2 damaged, 2 missing"
    assert found.baselines() == {"knn": "done", "svm": "missing", "dummy": "done"}


def test_a_study_of_baselines_alone_has_no_matrix():
    row = {"cell": "knn", "model": "knn", "optimizer": "", "activation": "", "state": "done", "diverged": 0}
    found = Coverage("a study", None, "", pd.DataFrame([row]))
    assert found.matrix().empty
    assert found.baselines() == {"knn": "done"}


def test_a_record_that_waits_makes_up_for_one_that_is_damaged_or_missing(planted, fetched, iris, tmp_path):
    waiting = {name: [record.read(iris.write(tmp_path / name))] for name in ("damaged", "missing", "three times")}
    found = coverage.of_sweep(planted.uri, STUDY, waiting=waiting, damaged=fetched[1])
    expected = BY_HAND | dict.fromkeys(("damaged", "missing"), ("done", 2, 0, 0))
    assert counted(found) == expected
    told = found.cells.set_index("fingerprint")["reason"]
    assert told["missing"] == told["damaged"] == "not in MLflow yet; python -m nnbench sync publishes it"
    assert told["three times"] == ""


def test_nothing_is_known_of_another_study_or_sweep(planted, new_store):
    assert coverage.of_study(planted.uri, "another") is None
    assert coverage.of_sweep(planted.uri, STUDY, "no such sweep") is None
    made = new_store()
    store.prepare(made.uri, STUDY)
    assert coverage.of_study(made.uri, STUDY) is None
    assert coverage.of_sweep(made.uri, STUDY) is None


def test_cells_without_a_sweep_are_told_by_their_runs(planted):
    found = coverage.of_sweep(planted.uri, STUDY, "another")
    assert counted(found) == {"of another sweep": ("done", 2, 0, 0)}
    assert list(found.cells["model"]) == ["mlp"]


def test_reading_leaves_the_store_as_it_is(planted, fetched, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in planted.folder.rglob("*") if "mlartifacts" in path.parts}
    records, _ = read.fetch_newest(planted.uri, STUDY, tmp_path / "unused")
    for found in records.values():
        found.replicas()
    coverage.of_study(planted.uri, STUDY)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not (tmp_path / "unused").exists()  # records on this machine are not copied
