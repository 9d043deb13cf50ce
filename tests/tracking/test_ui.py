"""`nnbench ui`: MLflow's page on the right store, for this machine alone."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from nnbench.commands import commands
from nnbench.tracking import store


@pytest.fixture
def page(new_store):
    """The port of a running page, its process, the file of its output and the store's experiment."""
    made = new_store()
    store.prepare(made.uri, "a study")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "nnbench", "ui", "--tracking-uri", made.uri, "--port", str(port)]
    output = made.database.with_name("output.txt")
    with (
        output.open("w") as file,
        subprocess.Popen(command, start_new_session=True, stdout=file, stderr=subprocess.STDOUT) as server,
    ):
        try:
            for _ in range(240):
                try:
                    if ask(port, "/health")[0] == 200:
                        break
                except OSError:
                    assert server.poll() is None, output.read_text()
                    time.sleep(0.25)
            yield port, server, output, store.experiment_id(made.uri, "a study")
        finally:
            server.terminate()


def ask(port: int, path: str, host: str = "127.0.0.1", method: str = "GET", body: str | None = None):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, body, {"Host": f"{host}:{port}", "Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def listening(port: int) -> set[str]:
    """The addresses on which something listens at that port, as hexadecimal digits."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with Path(table).open() as lines:
            entries = [line.split() for line in lines][1:]
        found |= {entry[1].split(":")[0] for entry in entries if entry[1].endswith(f":{port:04X}") and entry[3] == "0A"}
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks into Linux's table of sockets")
def test_page_shows_the_store_to_this_machine_alone_and_ends_with_its_command(page):
    port, server, output, experiment_id = page
    assert listening(port) == {"0100007F"}  # 127.0.0.1, and nothing else
    search = ("/api/2.0/mlflow/experiments/search", "127.0.0.1", "POST", '{"max_results": 9}')
    status, body = ask(port, *search)
    assert status == 200
    assert "a study" in {experiment["name"] for experiment in json.loads(body)["experiments"]}
    for host in ("evil.example", "192.168.0.7", "127.0.0.1.evil.example"):
        assert ask(port, search[0], host, *search[2:])[0] == 403
        assert ask(port, "/", host)[0] == 403
    assert f"a study: http://127.0.0.1:{port}/#/experiments/{experiment_id}/runs" in output.read_text()

    server.send_signal(signal.SIGHUP)  # its terminal is closed; SIGTERM has the same handler
    assert server.wait(60) == 128 + signal.SIGHUP
    for _ in range(240):
        if not listening(port):
            break
        time.sleep(0.25)
    assert listening(port) == set()  # nothing that was started outlives the command


def test_without_a_store_there_is_one_line_and_no_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(commands, ["ui"])
    assert outcome.exit_code != 0
    assert outcome.output.count("\n") == 1
    assert str(tmp_path / "mlflow.db") in outcome.output
    assert list(tmp_path.iterdir()) == []


def test_store_on_a_server_has_its_own_page():
    outcome = CliRunner().invoke(commands, ["ui", "--tracking-uri", "http://team:5000"])
    assert (outcome.exit_code, outcome.output) == (0, "the store is a server; open http://team:5000\n")
