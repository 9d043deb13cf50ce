"""Whether a process still writes a run: sure where it is sure, and never of another machine."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nnbench.tracking import process

HOST = socket.gethostname()
TELL = "import time; from nnbench.tracking import process; print(process.mark(), flush=True); time.sleep(60)"


@pytest.fixture
def child():
    """A process of this machine with its mark; its parent waits for it only in the end."""
    with subprocess.Popen([sys.executable, "-c", TELL], stdout=subprocess.PIPE, text=True) as running:
        yield running, running.stdout.readline().strip()
        running.kill()


def test_this_process_is_not_gone():
    host, number, start = process.mark().rsplit(" ", 2)
    assert (host, number) == (HOST, str(os.getpid()))
    assert start.isdecimal()
    assert process.mark() == process.mark()
    assert not process.is_gone(process.mark())


def test_process_is_gone_once_it_has_ended_whether_or_not_its_parent_knows(child):
    running, mark = child
    assert not process.is_gone(mark)
    running.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)  # has ended, and is still in the table
    assert Path(f"/proc/{running.pid}").exists()
    assert process.is_gone(mark)
    running.wait()
    assert process.is_gone(mark)


def test_another_process_with_the_same_number_is_another_process():
    assert process.is_gone(f"{HOST} {os.getpid()} 1")


def test_number_that_no_process_has_is_gone():
    assert process.is_gone(f"{HOST} 99999999 5")
    assert process.is_gone(f"{HOST} {10**30} 5")


@pytest.mark.parametrize("number", [os.getpid(), 99999999], ids=["mine", "of nobody"])
def test_of_another_machine_nothing_is_sure(number):
    assert not process.is_gone(f"another.{HOST} {number} 5")


@pytest.mark.parametrize(
    "text", ["", " ", "-", "unknown", HOST, f"{HOST} 12", f"{HOST} x 5", f"{HOST} -1 5", "a b c d"]
)
def test_what_is_no_mark_is_not_gone(text):
    assert not process.is_gone(text)


def test_without_a_table_of_processes_the_number_decides(child, monkeypatch):
    running, _ = child
    monkeypatch.setattr(process, "Path", lambda _: Path("nowhere"))
    assert process.mark() == f"{HOST} {os.getpid()} unknown"
    mark = f"{HOST} {running.pid} unknown"
    assert not process.is_gone(process.mark())
    assert not process.is_gone(mark)
    running.kill()
    running.wait()
    assert process.is_gone(mark)
