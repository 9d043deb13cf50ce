"""Reading back: the newest finished result of each setting, whole, from a store of any size."""

import sqlite3
from contextlib import closing

import pytest
from store_cases import write_baseline
from tracking_cases import artifacts, cell_run, rows, write_failure

from nnbench.tracking import coverage, read, record, store
from nnbench.tracking.publish import Publisher, publish

STUDY = "a study"


def test_record_comes_back_as_it_went(mixed, new_store, tmp_path):
    made = new_store()
    written = mixed.write(tmp_path / "trained")
    run_id = publish(written, made.uri, STUDY)
    fetched = read.fetch(made.uri, run_id, tmp_path / "fetched")
    assert fetched == tmp_path / "fetched" / record.FOLDER
    before, after = record.read(written), record.read(fetched)
    assert (after.identity, after.config, after.choices, after.cell) == (
        before.identity,
        before.config,
        before.choices,
        before.cell,
    )
    for table in ("replicas", "history", "confusion"):
        assert getattr(after, table)().equals(getattr(before, table)())
    assert list(record.unpublished(tmp_path)) == []
    assert [path.name for path in (tmp_path / "fetched").iterdir() if path.suffix == ".tmp"] == []


@pytest.mark.parametrize("name", ["replicas.csv", "history.parquet", "cell.json", "manifest.json"])
def test_artifact_that_was_damaged_or_lost_in_the_store_is_not_taken_for_a_record(iris, new_store, tmp_path, name):
    made = new_store()
    run_id = publish(iris.write(tmp_path / "trained"), made.uri, STUDY)
    path = artifacts(made.database, run_id) / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=name):
        read.fetch(made.uri, run_id, tmp_path / "fetched")
    path.unlink()
    with pytest.raises(ValueError, match=name):
        read.fetch(made.uri, run_id, tmp_path / "fetched")
    assert list((tmp_path / "fetched").iterdir()) == []
    records, damaged = read.fetch_newest(made.uri, STUDY, tmp_path / "all")
    assert records == {}
    assert [(run.name, run.fingerprint) for run in damaged.values()] == [("adam relu", iris.identity().fingerprint)]
    assert name in damaged[run_id].reason


def damages(content: bytes) -> dict[str, bytes]:
    """What a power cut or a bad disk makes of a file."""
    flipped = bytearray(content)
    flipped[len(content) // 3] ^= 4
    cuts = {0, 1, len(content) // 2, len(content.rstrip()) - 1}  # a line's end is no part of JSON
    return {f"cut at {place}": content[:place] for place in cuts} | {"a bit": bytes(flipped)}


def test_result_of_which_any_file_is_damaged_is_named_and_the_whole_one_before_it_counts(iris, new_store, tmp_path):
    made = new_store()
    older, newest = (
        publish(iris.write(tmp_path / str(number), number=number, started=1000 + number), made.uri, STUDY)
        for number in range(2)
    )
    mark = iris.identity().fingerprint
    assert read.finished_and_damaged(made.uri, STUDY) == ({mark: newest}, {})
    paths = sorted(artifacts(made.database, newest).iterdir())
    assert len(paths) > 8
    runs = read.cell_runs(made.uri, STUDY)
    for path in paths:
        content = path.read_bytes()
        for damage, damaged in damages(content).items():
            path.write_bytes(damaged)
            finished, named = read.whole_runs(runs)
            assert (finished, list(named)) == ({mark: older}, [newest]), f"{path.name} {damage}"
            assert path.name in named[newest].reason or path.name == record.MANIFEST  # which accuses what it describes
        records, lost = read.fetch_newest(made.uri, STUDY, tmp_path / "fetched")
        assert (list(records), lost) == ([older], named)
        (cell,) = coverage.of_sweep(made.uri, STUDY).cells.itertuples()
        assert (cell.state, cell.run_id, cell.damaged) == ("done", older, named[newest].reason)
        assert cell.reason == f"an older result, as the newest is damaged: {cell.damaged}"
        path.write_bytes(content)
    assert read.finished_cells(made.uri, STUDY) == {mark: newest}


def test_only_the_newest_result_of_each_setting_counts(iris, diverged, new_store, tmp_path):
    made = new_store()
    publish(iris.write(tmp_path / "0", number=0, started=1000), made.uri, STUDY)
    newest = publish(iris.write(tmp_path / "1", number=1, started=3000), made.uri, STUDY)
    publish(iris.write(tmp_path / "2", number=2, started=2000), made.uri, STUDY)
    other = publish(diverged.write(tmp_path / "3", number=3, started=1500), made.uri, STUDY)
    assert read.finished_cells(made.uri, STUDY) == {
        iris.identity().fingerprint: newest,
        diverged.identity().fingerprint: other,  # diverging is a result
    }
    records, damaged = read.fetch_newest(made.uri, STUDY, tmp_path / "fetched")
    assert list(records) == [other, newest]  # in the order of training
    assert damaged == {}
    chosen, _ = read.fetch_newest(made.uri, STUDY, tmp_path / "chosen", fingerprints=[diverged.identity().fingerprint])
    assert list(chosen) == [other]


def test_failed_running_and_killed_cells_are_not_finished(iris, new_store, tmp_path):
    made = new_store()
    failed = publish(write_failure(tmp_path / "failed"), made.uri, STUDY)
    for number, status in enumerate((None, "interrupted"), start=1):
        live = Publisher(made.uri, STUDY, iris.identity(number))
        live.flush(iris.job.config, iris.job.choices, iris.history(), 1000)
        if status:
            live.close(status)
    assert len(read.cell_runs(made.uri, STUDY)) == 3
    assert read.finished_cells(made.uri, STUDY) == {}
    records, damaged = read.fetch_newest(made.uri, STUDY, tmp_path / "fetched")
    assert list(records) == [failed]
    assert records[failed].status == "failed"
    assert damaged == {}


def test_unknown_experiment_has_no_cells(new_store, tmp_path):
    made = new_store()
    assert read.cell_runs(made.uri, "unknown") == []
    assert read.finished_cells(made.uri, "unknown") == {}
    assert read.fetch_newest(made.uri, "unknown", tmp_path) == ({}, {})


def test_cells_of_a_sweep_are_its_own_and_an_odd_name_has_none(iris, new_store, tmp_path):
    made = new_store()
    publish(iris.write(tmp_path / "0", sweep="one"), made.uri, STUDY)
    publish(iris.write(tmp_path / "1", sweep="two", fingerprint="2"), made.uri, STUDY)
    assert read.fingerprints_of(made.uri, STUDY, "one") == [iris.identity().fingerprint]
    assert read.fingerprints_of(made.uri, STUDY, "two") == ["2"]
    assert read.fingerprints_of(made.uri, STUDY, "' OR '1' = '1") == []


def test_more_than_a_thousand_cells_are_all_read(iris, new_store, tmp_path):
    made = new_store()
    publish(iris.write(tmp_path / "0"), made.uri, STUDY)
    model = cell_run(made.database, STUDY)
    with closing(sqlite3.connect(made.database)) as connection, connection:
        for table in ("runs", "tags"):
            names = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
            rows_of_model = connection.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (model,)).fetchall()
            copies = []
            for number in range(1000):
                for row in rows_of_model:
                    copy = {**dict(zip(names, row, strict=True)), "run_uuid": f"{number:032}"}
                    if copy.get("key") == "nnbench.fingerprint":
                        copy["value"] = f"setting {number}"
                    copies.append(tuple(copy.values()))
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})", copies)
    assert rows(made.database, "SELECT count(*) FROM tags WHERE key = 'nnbench.kind' AND value = 'cell'") == [(1001,)]
    assert len(read.cell_runs(made.uri, STUDY)) == 1001
    finished = read.finished_cells(made.uri, STUDY)
    assert len(finished) == 1001
    assert finished["setting 999"] == f"{999:032}"
    assert len(store.runs(made.uri, store.experiment_id(made.uri, STUDY), "")) == 1003


def test_page_that_shifts_while_it_is_read_gives_no_run_twice(iris, new_store, tmp_path, monkeypatch):
    made = new_store()
    for number in range(3):
        publish(iris.write(tmp_path / str(number), number=number, started=1000 + number), made.uri, STUDY)
    client = store.client(made.uri)
    search = client.search_runs
    to_come = [iris.write(tmp_path / "new", number=9, started=5000)]

    def search_while_another_begins(*arguments, **options):
        page = search(*arguments, **options)
        if to_come:
            publish(to_come.pop(), made.uri, STUDY)
        return page

    monkeypatch.setattr(store, "PAGE", 1)
    monkeypatch.setattr(client, "search_runs", search_while_another_begins)
    found = [run.info.start_time for run in read.cell_runs(made.uri, STUDY)]
    assert found == [1002000, 1001000, 1000000]


def test_baselines_are_cells(iris, new_store, tmp_path):
    made = new_store()
    network = publish(iris.write(tmp_path / "0", started=500, fingerprint="network"), made.uri, STUDY)
    baseline = publish(write_baseline(tmp_path / "1", "dummy", fingerprint="baseline"), made.uri, STUDY)
    assert read.finished_cells(made.uri, STUDY) == {"network": network, "baseline": baseline}
    assert read.fingerprints_of(made.uri, STUDY, "planned") == ["baseline"]
    told = {attempt.run_id: (attempt.state, attempt.choices) for attempt in read.attempts(made.uri, STUDY)}
    assert told == {
        network: ("done", {"model": "mlp", "optimizer": "adam", "activation": "relu"}),
        baseline: ("done", {"model": "dummy"}),
    }
    records, damaged = read.fetch_newest(made.uri, STUDY, tmp_path / "fetched")
    assert [found.is_baseline for found in records.values()] == [False, True]
    assert len(records[baseline].replicas()) == 2
    assert damaged == {}


def test_failure_after_a_result_takes_nothing_back(iris, new_store, tmp_path):
    made = new_store()
    failure = record.read(write_failure(tmp_path / "failed"))  # started in 2023
    mark = failure.identity.fingerprint
    finished = publish(iris.write(tmp_path / "0", number=1, fingerprint=mark, started=1000), made.uri, STUDY)
    publish(failure.folder, made.uri, STUDY)
    records, _ = read.fetch_newest(made.uri, STUDY, tmp_path / "fetched")
    assert list(records) == [finished]


def test_local_artifacts_are_told_from_those_elsewhere(tmp_path):
    odd = tmp_path / "a place with # % and ü"
    assert store.local_folder(odd.as_uri()) == odd
    assert store.local_folder(str(odd)) == odd
    assert store.local_folder(f"file://localhost{odd.as_posix().split('a place')[0]}x") == tmp_path / "x"
    for elsewhere in ("mlflow-artifacts:/1/x/artifacts", "s3://bucket/x", "http://team/x", "file://team/x", "x"):
        assert store.local_folder(elsewhere) is None
