"""A store on a server: what goes there comes back, what is damaged there is named, and its troubles cost no result."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from gate_cases import Gate, seconds_of
from hydra._internal.utils import get_args_parser
from tracking_cases import STARTED, rows

from nnbench import grid
from nnbench.__main__ import in_this_process
from nnbench.sweep import outbox, preparation, sweep_file
from nnbench.sweep.attempt import Attempt
from nnbench.tracking import coverage, credentials, process, read, record, reports, store, sweeps, trouble
from nnbench.tracking import publish as publishing
from nnbench.tracking.publish import Publisher, publish, publish_all, publish_in_time

STUDY = "../a 'study' <b>"


@dataclass(frozen=True)
class Server:
    """A running server and the folder of its artifacts."""

    uri: str
    folder: Path

    def artifacts(self, run_id: str) -> Path:
        (found,) = self.folder.glob(f"*/{run_id}/artifacts")
        return found

    @property
    def database(self) -> Path:
        return self.folder.parent / "mlflow.db"

    def runs(self, study: str) -> Counter:
        """How many runs of each place, status and life a study has."""
        query = (
            "SELECT t.value, r.status, r.lifecycle_stage FROM runs r JOIN tags t USING (run_uuid) JOIN experiments e "
            "USING (experiment_id) WHERE t.key = 'nnbench.place' AND e.name = ?"
        )
        return Counter(rows(self.database, query, study))


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


# Trouble: a gate stands in front of the server.

ONCE = Counter({(place, "FINISHED", "active"): 1 for place in ("cell", "seed 3", "seed 5")})


@pytest.fixture
def gate(server, monkeypatch):
    """A gate that is open, and patience that is short enough for a test."""
    made = Gate(server.uri)
    made.open()
    monkeypatch.setenv(trouble.TIMEOUT, "1")
    monkeypatch.setattr(publishing, "PAUSES", (0.1,) * 5)
    yield made
    made.close()
    trouble.wake(made.uri)


def test_server_that_is_down_is_given_some_seconds_and_then_a_rest(server, gate, iris, tmp_path):
    folder = iris.write(tmp_path / "0")
    gate.close()
    seconds, error = seconds_of(publish_in_time, folder, gate.uri, "down")
    assert seconds < 5
    assert error.kind == "outage"
    assert str(error) == f"{gate.uri} does not answer (Connection refused); see whether it runs, and tracking.uri"
    gate.open()
    again, same = seconds_of(publish_in_time, folder, gate.uri, "down")
    assert again < 0.05
    assert str(same) == str(error)
    assert gate.calls.total() == 0
    assert not (tmp_path / "0" / record.PUBLISHED).exists()

    trouble.wake(gate.uri)  # as at the end of a sweep
    publish_in_time(folder, gate.uri, "down")
    assert server.runs("down") == ONCE
    assert (tmp_path / "0" / record.PUBLISHED).exists()


def test_records_behind_an_outage_cost_nothing(gate, iris, tmp_path):
    folders = [iris.write(tmp_path / str(number), number=number) for number in range(5)]
    gate.hangs = True
    started = time.perf_counter()
    outcomes = publish_all(folders, gate.uri)
    assert time.perf_counter() - started < 5
    assert gate.calls.total() == 1
    assert len({str(error) for _, error in outcomes}) == 1
    assert f"nothing in 1 s, see {trouble.TIMEOUT}" in str(outcomes[0][1])


def test_hanging_server_gets_a_call_once_unless_the_user_wants_more(gate, monkeypatch):
    gate.hangs = True
    seconds, error = seconds_of(store.client(gate.uri).get_experiment_by_name, "x")
    assert error.kind == "outage"
    assert 1 <= seconds < 4
    assert gate.calls.total() == 1
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    seconds_of(store.client(gate.uri).get_experiment_by_name, "x")
    assert gate.calls.total() == 3


def test_settings_of_the_user_stay(gate, monkeypatch):
    monkeypatch.delenv(trouble.TIMEOUT)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    store.client.__wrapped__(gate.uri)  # the function without its memory
    assert os.environ[trouble.TIMEOUT] == "10"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "7"


def test_run_whose_answer_comes_too_late_is_found_and_not_made_again(server, gate, iris, tmp_path):
    store.prepare(gate.uri, "late")
    gate.calls.clear()
    gate.late = {"runs/create": 3.0}
    publish_in_time(iris.write(tmp_path / "0"), gate.uri, "late")
    assert gate.calls["runs/create"] == 3
    assert server.runs("late") == ONCE


def test_run_that_is_made_after_all_is_counted_once_and_deleted_by_the_next_publication(server, gate, iris, tmp_path):
    folder = iris.write(tmp_path / "0")
    store.prepare(gate.uri, "after all")
    gate.held = {"runs/create": 2.0}
    publish_in_time(folder, gate.uri, "after all")
    for _ in range(100):
        if server.runs("after all").total() == 4:
            break
        time.sleep(0.1)
    assert server.runs("after all") == ONCE + Counter({("cell", "RUNNING", "active"): 1})
    assert len(read.cell_runs(gate.uri, "after all")) == 1
    assert [attempt.state for attempt in read.attempts(gate.uri, "after all")] == ["done"]
    assert len(read.fetch_newest(gate.uri, "after all", tmp_path / "fetched")[0]) == 1

    publish(folder, gate.uri, "after all")
    assert server.runs("after all") == ONCE + Counter({("cell", "RUNNING", "deleted"): 1})


def test_slow_server_is_left_after_a_time_and_goes_on_where_it_was(server, gate, iris, tmp_path, monkeypatch):
    monkeypatch.setattr(publishing, "MOST_SECONDS", 2.0)
    folder = iris.write(tmp_path / "0")
    gate.slow = 0.3
    seconds, error = seconds_of(publish_in_time, folder, gate.uri, "slow")
    assert seconds < 4
    assert str(error) == f"{gate.uri} is slow; what is left is sent later"
    gate.slow = 0
    trouble.wake(gate.uri)
    created = gate.calls["runs/create"]
    publish_in_time(folder, gate.uri, "slow")
    assert created > 0
    assert gate.calls["runs/create"] == 3
    assert server.runs("slow") == ONCE


def test_server_that_drips_is_left_at_the_deadline(gate, iris, tmp_path, monkeypatch):
    folders = [iris.write(tmp_path / str(number), number=number) for number in range(3)]
    gate.drips = 0.1  # seconds; each of them is within MLflow's time-out
    started = time.perf_counter()
    outcomes = publish_all(folders, gate.uri, seconds=0.5)
    assert time.perf_counter() - started < 1
    assert gate.calls.total() == 1
    assert {(str(error), error.kind) for _, error in outcomes} == {
        (f"{gate.uri} is slow; what is left is sent later", "outage")
    }
    monkeypatch.setattr(trouble, "LONGEST_CALL", 0.5)
    seconds, error = seconds_of(store.check, gate.uri)  # nobody waits for it but a person
    assert seconds < 1
    assert (str(error), error.kind) == (f"{gate.uri} is slow: an answer has not come to its end in 0.5 s", "outage")


def test_sweep_begins_although_its_server_drips(gate, iris, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outbox, "MOST_SECONDS", 0.5)
    words = ["dataset=iris", "hidden=[4]", "seeds=2", f"tracking.uri={gate.uri}", "tracking.experiment=drips"]
    plan = grid.expand(get_args_parser().parse_args(["-m", *words]))
    gate.drips = 0.1
    started = time.perf_counter()
    sweep = preparation.prepare(plan, [iris.dataset])
    assert time.perf_counter() - started < 2
    assert sweep.missing() == [0]
    assert "is slow; what is left is sent later; training goes on" in capfd.readouterr().err


def test_server_that_restarts_is_waited_for(server, gate, iris, tmp_path, monkeypatch):
    monkeypatch.setattr(publishing, "PAUSES", (0.3, 1.0, 2.0))
    gate.close()
    threading.Timer(1.0, gate.open).start()
    publish_in_time(iris.write(tmp_path / "0"), gate.uri, "restarted")
    assert server.runs("restarted") == ONCE


def test_curves_of_a_training_cell_wait_for_a_hanging_server_once(gate, iris, tmp_path):
    tracking = {"uri": gate.uri, "experiment": "curves"}
    training = replace(iris.job, config={**iris.job.config, "tracking": tracking})
    attempt = Attempt(training, iris.identity(), tmp_path, None)
    attempt.started = 1000.0  # as the points of `iris` say
    attempt._flush(iris.history())
    assert gate.calls["runs/log-batch"] == 1
    gate.hangs = True
    started = time.perf_counter()
    for _ in range(10):
        attempt._flush(iris.history())
    assert time.perf_counter() - started < 3


REFUSALS = {
    "password": (401, b"You are not authenticated.", "refusal", "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSW"),
    "rights": (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', "refusal", "MLFLOW_TRACKING_TOKEN"),
    "host": (403, b"Invalid Host header - possible DNS rebinding attack detected", "refusal", "--allowed-hosts"),
    "no MLflow": (404, b"<html>Not Found", "refusal", "see tracking.uri"),
    "another page": (200, b"<html>Welcome", "refusal", "see tracking.uri"),
    "busy": (503, b"busy", "outage", "(it says 503)"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_is_one_line_that_names_the_setting_and_no_call_is_repeated(gate, iris, tmp_path, name):
    *answer, kind, said = REFUSALS[name]
    gate.refuses = tuple(answer)
    _, error = seconds_of(publish_in_time, iris.write(tmp_path / "0"), gate.uri, "refused")
    assert (error.kind, gate.calls.total()) == (kind, 1 if kind == "refusal" else 6)
    assert said in str(error)
    assert str(error).startswith(gate.uri)
    assert "\n" not in str(error)


def test_report_does_not_take_an_outage_for_a_damaged_record(gate, run_ids, tmp_path, monkeypatch):
    monkeypatch.setattr(read, "PAUSES", (0.1, 0.1))
    assert len(read.cell_runs(gate.uri, STUDY)) == 3
    brought = read._brought

    def bring(*arguments):
        gate.hangs = True
        return brought(*arguments)

    monkeypatch.setattr(read, "_brought", bring)
    with pytest.raises(store.StoreError, match="does not answer"):
        read.fetch_newest(gate.uri, STUDY, tmp_path / "fetched")


def test_duplicate_of_a_process_that_is_gone_is_deleted_with_what_it_left_open(server, iris, tmp_path, monkeypatch):
    folder = iris.write(tmp_path / "0")
    publish(folder, server.uri, "left open")
    double = Publisher(server.uri, "left open", iris.identity())
    double.run_by_place.clear()
    monkeypatch.setattr(process, "mark", lambda: f"{process.socket.gethostname()} 99999999 1")
    for place in ("cell", "seed 3"):
        double._run("cell", place, "a double", STARTED)
    publishing.close_abandoned(server.uri, "left open")
    doubles = Counter({(place, "RUNNING", "deleted"): 1 for place in ("cell", "seed 3")})
    assert server.runs("left open") == ONCE + doubles


def test_reports_that_are_made_at_once_become_one(server, tmp_path):
    (tmp_path / "report.html").write_text("a report")
    store.prepare(server.uri, "reported")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: reports.log(server.uri, "reported", None, [tmp_path / "report.html"]), range(3)))
    last = reports.log(server.uri, "reported", None, [tmp_path / "report.html"])
    query = (
        "SELECT r.run_uuid FROM runs r JOIN experiments e USING (experiment_id) WHERE e.name = 'reported' "
        "AND r.lifecycle_stage = 'active'"
    )
    assert rows(server.database, query) == [(last,)]


# Whole commands.

SWEEP = ("-m", "dataset=iris", "hidden=[4]", "seeds=2", "num_epochs=2", "report=false")


@pytest.fixture
def give(tmp_path, monkeypatch, capfd):
    """A function that gives a command line in this process; it returns the exit status and what was written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(credentials.KEPT, "{}")

    def command(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["nnbench", *arguments])
            patch.setenv("NNBENCH_SWEEP", "of a command")  # which it replaces
            try:
                status = in_this_process()
            except SystemExit as stop:
                status = int(stop.code or 0)
        return status, "".join(capfd.readouterr())

    return command


def test_server_that_goes_down_in_the_middle_of_a_sweep_costs_no_result_and_sync_publishes_each_once(
    server, gate, give, tmp_path
):
    rates = "optimizer.learning_rate=0.001,0.002,0.003,0.004"

    def close_after_two():
        while len(list(tmp_path.glob(f"multirun/*/*/{record.PUBLISHED}"))) < 2:
            time.sleep(0.01)
        gate.close()

    closing = threading.Thread(target=close_after_two)
    closing.start()
    status, said = give(*SWEEP, rates, f"tracking.uri={gate.uri}", "tracking.experiment=in the middle")
    closing.join()
    assert status == 0
    assert said.count("test accuracy") == 4
    assert said.count("does not answer (Connection refused)") <= 2  # when it happens, and in the end
    assert len(record.find(tmp_path)) == 4
    assert len(list(record.unpublished(tmp_path))) in (1, 2)

    gate.open()
    trouble.wake(gate.uri)
    status, said = give("sync")
    assert (status, said.splitlines()[-1][-15:]) == (0, "0 still waiting")
    assert give("sync") == (0, "0 published, 0 still waiting\n")
    assert server.runs("in the middle") == Counter(
        {(place, "FINISHED", "active"): 4 for place in ("cell", "seed 0", "seed 1")}
    )


def test_end_of_a_sweep_brings_what_the_store_could_not_be_told(server, gate, iris, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = ["dataset=iris", "hidden=[4]", "seeds=2", f"tracking.uri={gate.uri}", "tracking.experiment=at the end"]
    plan = grid.expand(get_args_parser().parse_args(["-m", *words]))
    gate.close()
    sweep = preparation.prepare(plan, [iris.dataset])
    assert (sweep.finished, sweep.waiting) == ({}, {})
    tracking = {"uri": gate.uri, "experiment": "at the end"}
    trained = replace(iris, job=replace(iris.job, config={**iris.job.config, "tracking": tracking}))
    trained.write(plan.folder / "0", sweep=plan.sweep, fingerprint=sweep.fingerprints[0])
    (plan.folder / sweep_file.NAME).unlink()  # as a later command finds it, in a folder of its own
    assert preparation.prepare(plan, [iris.dataset]).waiting == {
        sweep.fingerprints[0]: str(plan.folder / "0" / record.FOLDER)
    }
    assert outbox.publish_rest(plan) == 1
    assert "1 record waits for the store" in capfd.readouterr().err

    gate.open()  # in the middle of its rest
    assert outbox.publish_rest(plan) == 0
    assert "1 record published after the training that had waited for the store" in capfd.readouterr().err
    assert server.runs("at the end") == ONCE
    assert sweeps.known(gate.uri, "at the end") == [plan.sweep]
    found = coverage.of_sweep(gate.uri, "at the end")
    assert (found.sweep, found.command, found.counts()) == (plan.sweep, plan.command, {"done": 1})
    created = gate.calls["runs/create"]
    assert outbox.publish_rest(plan) == 0
    assert gate.calls["runs/create"] == created
    assert capfd.readouterr().err == ""


def test_password_is_in_nothing_that_is_written(server, gate, give, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "c4nary-two")
    (tmp_path / "asking.py").write_text(
        "from nnbench.nn import GD\nfrom nnbench.tracking import store\n\n\nclass Asking(GD):\n"
        "    def step(self, grads, factor=1.0):\n"
        "        store.client(store.resolve(None)).get_run('0' * 32)  # and fails\n"
    )
    (tmp_path / "own" / "optimizer").mkdir(parents=True)
    (tmp_path / "own" / "optimizer" / "asking.yaml").write_text("_target_: asking.Asking\nlearning_rate: 0.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    address = gate.uri.replace("://", "://me:c4nary-one@")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    own = ("--config-dir=own", *SWEEP[1:], "plugins=[asking]", f"tracking.uri={address}", "tracking.experiment=secret")
    said = []

    def say(*words):
        status, text = give(*words)
        said.append(text)
        return status

    assert say("-m", *own, "optimizer=adam,asking") == 1
    assert say("status", "secret", "--tracking-uri", address) == 1
    assert say(*own) == 0
    assert say("report", "secret", "--tracking-uri", address) == 0
    run_id = read.cell_runs(store.resolve(None), "secret")[-1].info.run_id
    for words in (["predict", run_id], ["ui"]):
        say(*words)
    for gate.refuses in ((401, b"no"), (500, b"oops")):
        for words in (["status", "secret"], ["verify", run_id], ["studies"], ["sync"], own):
            say(*words)
        trouble.wake(gate.uri)
    assert "StoreError" in "".join(path.read_text() for path in tmp_path.rglob(record.ERROR_LOG))
    everything = "".join(said).encode() + server.database.read_bytes()
    for folder in (tmp_path, server.folder):
        everything += b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert gate.uri.encode() in everything
    assert re.findall(rb".{0,60}c4nary.{0,60}", everything) == []


def test_password_in_a_file_of_the_configuration_is_refused(give, tmp_path):
    (tmp_path / "own" / "tracking").mkdir(parents=True)
    (tmp_path / "own" / "tracking" / "team.yaml").write_text("uri: http://me:c4nary@team\nexperiment: null\n")
    status, said = give("--config-dir=own", *SWEEP, "tracking=team")
    assert status == 1
    assert "MLFLOW_TRACKING_PASSWORD" in said
    assert "c4nary" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
