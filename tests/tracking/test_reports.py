"""Reports in MLflow: one run for each, replaced by the next, and no cell to anyone."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tracking_cases import artifacts, rows

from nnbench.tracking import publish, read, reports, store

STUDY = "../a 'study' <b>"


@pytest.fixture
def files(tmp_path):
    """A page, a notebook and a folder of tables."""
    (tmp_path / "made" / "tables").mkdir(parents=True)
    for name in ("report.html", "report.ipynb", "tables/a.csv", "tables/b.csv"):
        (tmp_path / "made" / name).write_text(f"first {name}")
    return [tmp_path / "made" / name for name in ("report.html", "report.ipynb", "tables")]


@pytest.fixture
def made(new_store):
    made = new_store()
    store.prepare(made.uri, STUDY)
    return made


def contents(made, run_id):
    folder = artifacts(made.database, run_id)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def note(made):
    query = (
        "SELECT t.value FROM experiment_tags t JOIN experiments e USING (experiment_id) WHERE e.name = ? AND key = ?"
    )
    ((text,),) = rows(made.database, query, STUDY, reports.NOTE)
    return text


def test_a_report_is_kept_whole_in_a_closed_run(made, files):
    run_id = reports.log(made.uri, STUDY, None, files)
    assert contents(made, run_id) == {
        name: f"first {name}" for name in ("report.html", "report.ipynb", "tables/a.csv", "tables/b.csv")
    }
    assert rows(made.database, "SELECT run_uuid, status, name FROM runs") == [(run_id, "FINISHED", "report")]


def test_the_next_report_takes_its_place_and_nothing_of_the_old_one_is_left(made, files):
    first = reports.log(made.uri, STUDY, None, files)
    (files[2] / "a.csv").unlink()
    files[0].write_text("second")
    assert reports.log(made.uri, STUDY, None, [files[0], files[2]]) == first
    assert contents(made, first) == {"report.html": "second", "tables/b.csv": "first tables/b.csv"}
    assert rows(made.database, "SELECT count(*) FROM runs") == [(1,)]


def test_each_sweep_has_a_report_of_its_own(made, files):
    sweeps = [None, "one", "two", "' OR '1' = '1"]
    run_ids = [reports.log(made.uri, STUDY, sweep, files) for sweep in sweeps]
    assert len(set(run_ids)) == 4
    assert [reports.log(made.uri, STUDY, sweep, files) for sweep in sweeps] == run_ids
    assert rows(made.database, "SELECT name FROM runs ORDER BY start_time, name")[0] == ("report",)


def test_after_its_run_was_deleted_there_is_another(made, files):
    first = reports.log(made.uri, STUDY, None, files)
    store.client(made.uri).delete_run(first)
    second = reports.log(made.uri, STUDY, None, files)
    assert second != first
    assert len(contents(made, second)) == 4
    assert f"/runs/{second}/" in note(made)
    assert first not in note(made)


def test_a_report_of_a_run_whose_artifacts_were_deleted_is_whole_again(made, files):
    run_id = reports.log(made.uri, STUDY, None, files)
    store.artifacts(made.uri, artifacts(made.database, run_id).as_uri()).delete_artifacts()
    assert reports.log(made.uri, STUDY, None, files) == run_id
    assert len(contents(made, run_id)) == 4


def test_the_experiment_links_to_the_newest_report_first_and_keeps_its_words(made, files):
    before = note(made)
    client, number = store.client(made.uri), store.experiment_id(made.uri, STUDY)
    client.set_experiment_tag(number, reports.NOTE, f"{before}\n\nMy own words.")
    reports.log(made.uri, STUDY, None, files)
    newest = reports.log(made.uri, STUDY, "a-sweep", files)
    link = f"#/experiments/{number}/runs/{newest}/artifacts/report.html?workflowType=machine_learning"
    assert note(made) == f"[Newest report]({link}).\n\n{before}\n\nMy own words."

    client.set_experiment_tag(number, reports.NOTE, "x" * reports.LONGEST_NOTE)
    reports.log(made.uri, STUDY, None, files)
    assert note(made) == "x" * reports.LONGEST_NOTE  # there is no room for the link


def test_a_report_that_was_cut_off_is_not_taken_for_whole(made, files, monkeypatch):
    class Stop(BaseException):
        pass

    def stop(*arguments):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(reports, "_names", stop)
        with pytest.raises(Stop):
            reports.log(made.uri, STUDY, None, files)
    assert rows(made.database, "SELECT status FROM runs") == [("FAILED",)]
    assert "Newest report" not in note(made)
    reports.log(made.uri, STUDY, None, files)
    assert rows(made.database, "SELECT status FROM runs") == [("FINISHED",)]


def test_a_report_is_no_cell(made, files, tmp_path):
    reports.log(made.uri, STUDY, None, files)
    reports.log(made.uri, STUDY, "a-sweep", files)
    assert read.attempts(made.uri, STUDY) == []
    assert read.finished_cells(made.uri, STUDY) == {}
    assert read.fetch_newest(made.uri, STUDY, tmp_path / "fetched") == ({}, {})
    assert read.fingerprints_of(made.uri, STUDY, "a-sweep") == []
    number = store.experiment_id(made.uri, STUDY)
    assert store.runs(made.uri, number, store.VIEW_STATE["searchFilter"]) == []
    publish.close_abandoned(made.uri, STUDY)
    assert rows(made.database, "SELECT DISTINCT status FROM runs") == [("FINISHED",)]


def test_a_report_of_a_deleted_study_is_refused(made, files):
    number = store.experiment_id(made.uri, "gone")
    store.client(made.uri).delete_experiment(number)
    store.experiment_id.cache_clear()
    with pytest.raises(store.StoreError, match="the experiment gone is deleted; restore it"):
        reports.log(made.uri, "gone", None, files)


def test_reports_that_are_made_at_once_are_one_run(made, files):
    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(lambda _: reports.log(made.uri, STUDY, None, files), range(4)))
    assert len(ids) == 1
    assert rows(made.database, "SELECT run_uuid, status FROM runs") == [(*ids, "FINISHED")]
    assert len(contents(made, *ids)) == 4


def test_runs_of_a_report_that_are_there_twice_become_one_and_one_that_is_being_written_is_left(made, files):
    client, number = store.client(made.uri), store.experiment_id(made.uri, STUDY)
    doubles = [client.create_run(number, tags={"nnbench.kind": "report"}).info.run_id for _ in range(3)]
    for run_id in doubles[:2]:
        client.set_terminated(run_id)
    kept = reports.log(made.uri, STUDY, None, files)
    left = rows(made.database, "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'")
    assert sorted(run_id for (run_id,) in left) == sorted({kept, doubles[2]})
    client.set_terminated(doubles[2])
    assert reports.log(made.uri, STUDY, None, files) == kept
    assert rows(made.database, "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'") == [(kept,)]
