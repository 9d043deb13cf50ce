"""A store on a server: records and reports go there and come back, and what is damaged there is named."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from nnbench.tracking import read, record, reports, store
from nnbench.tracking.publish import publish

STUDY = "../a 'study' <b>"


@dataclass(frozen=True)
class Server:
    """A running server and the folder of its artifacts."""

    uri: str
    folder: Path

    def artifacts(self, run_id: str) -> Path:
        (found,) = self.folder.glob(f"*/{run_id}/artifacts")
        return found


@pytest.fixture(scope="module")
def server(empty_database, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, **store.QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (
        (folder / "output.txt").open("w") as output,
        subprocess.Popen(
            [*command, "--workers", "1"], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):  # fmt: skip
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
                    break
                except OSError:
                    assert process.poll() is None, (folder / "output.txt").read_text()
                    time.sleep(0.25)
            yield Server(f"http://127.0.0.1:{port}", folder / "artifacts")
        finally:
            os.killpg(process.pid, signal.SIGTERM)


@pytest.fixture(scope="module")
def run_ids(server, iris, tmp_path_factory):
    """Three runs: whole, damaged and gone."""
    folder = tmp_path_factory.mktemp("written")
    published = {
        name: publish(iris.write(folder / name, number=number, fingerprint=name), server.uri, STUDY)
        for number, name in enumerate(("whole", "damaged", "gone"))
    }
    (server.artifacts(published["damaged"]) / "history.parquet").write_bytes(b"PAR1")
    shutil.rmtree(server.artifacts(published["gone"]))
    return published


def test_whole_records_are_brought_and_the_others_named(server, run_ids, iris, tmp_path):
    records, damaged = read.fetch_newest(server.uri, STUDY, tmp_path / "fetched")
    assert set(damaged) == {run_ids["damaged"], run_ids["gone"]}
    (found,) = records.values()
    assert found.folder.is_relative_to(tmp_path / "fetched" / run_ids["whole"])
    assert not (found.folder / record.MODEL).exists()  # large, and nobody reads it here
    assert found.replicas().equals(record.read(iris.write(tmp_path / "again")).replicas())


def test_record_comes_back_and_a_damaged_one_does_not(server, run_ids, tmp_path):
    fetched = read.fetch(server.uri, run_ids["whole"], tmp_path / "whole")
    assert record.read(fetched).identity.fingerprint == "whole"
    for name in ("damaged", "gone"):
        with pytest.raises(ValueError, match="train the cell again"):
            read.fetch(server.uri, run_ids[name], tmp_path / name)
        assert list((tmp_path / name).iterdir()) == []


def test_report_is_replaced_and_nothing_is_printed(server, run_ids, tmp_path, capfd):
    for name in ("report.html", "old.csv"):
        (tmp_path / name).write_text("first")
    first = reports.log(server.uri, STUDY, None, [tmp_path / "report.html", tmp_path / "old.csv"])
    (tmp_path / "report.html").write_text("second")
    assert reports.log(server.uri, STUDY, None, [tmp_path / "report.html"]) == first
    left = {path.name: path.read_text() for path in server.artifacts(first).iterdir()}
    assert left == {"report.html": "second"}
    assert capfd.readouterr().out == ""
    assert first not in {run.info.run_id for run in read.cell_runs(server.uri, STUDY)}
