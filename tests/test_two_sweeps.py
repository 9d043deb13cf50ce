"""Several commands at once in one folder."""

import re
import signal

import pytest
from command_line import results, run
from trouble import (
    OWN,
    QUICK,
    cell_runs,
    descendants,
    is_running,
    send,
    start,
    wait_for_a_cell,
    wait_until,
    write_rules,
)

SAME = (*OWN, "optimizer=slow", "activation=relu,tanh,sigmoid,leaky_relu", "num_epochs=40")
LABELS = ["slow leaky_relu", "slow relu", "slow sigmoid", "slow tanh"]


@pytest.fixture
def folder(tmp_path):
    """A folder without a store."""
    return write_rules(tmp_path)


def sweeps(folder):
    return sorted((folder / "multirun").iterdir())


def test_same_sweep_started_twice_shares_the_work(tmp_path, empty_database):
    folder = write_rules(tmp_path, empty_database)
    commands = [start(folder, *SAME), start(folder, *SAME)]

    assert [command.wait(timeout=200) for command in commands] == [0, 0], (folder / "words").read_text()
    assert cell_runs(folder) == [(label, "FINISHED") for label in LABELS]  # each trained once
    one, other = sweeps(folder)
    assert results(one).keys() == results(other).keys()
    assert "was trained by another command meanwhile" in (folder / "words").read_text()


def test_other_command_takes_over_when_one_is_killed(folder):
    commands = [start(folder, *SAME, "tracking=none"), start(folder, *SAME, "tracking=none")]
    in_hands = re.compile("is in the hands of process ([0-9]+) on ")
    wait_until(lambda: in_hands.search((folder / "words").read_text()), "two commands at one cell")
    holder = int(in_hands.search((folder / "words").read_text())[1])
    (killed,) = [command for command in commands if holder in descendants(command.pid)]
    (other,) = [command for command in commands if command is not killed]
    send(killed.pid, signal.SIGKILL)

    assert killed.wait() == -signal.SIGKILL
    assert other.wait(timeout=200) == 0
    assert LABELS in [sorted(results(sweep)) for sweep in sweeps(folder)]


def test_four_sweeps_at_once_have_folders_of_their_own_and_one_store(folder):
    rates = [0.1, 0.2, 0.3, 0.4]
    quick = (*OWN, "optimizer=gd", "activation=relu,tanh", "num_epochs=3")
    commands = [start(folder, *quick, f"optimizer.learning_rate={rate}") for rate in rates]

    assert [command.wait(timeout=300) for command in commands] == [0] * 4, (folder / "words").read_text()
    assert len(sweeps(folder)) == 4
    assert [len(results(sweep)) for sweep in sweeps(folder)] == [2] * 4
    assert [status for _, status in cell_runs(folder)] == ["FINISHED"] * 8


def test_resume_false_asks_nobody(folder):
    quick = (*OWN, "optimizer=slow", "num_epochs=40", "resume=false", "tracking=none")
    commands = [start(folder, *quick), start(folder, *quick)]

    assert [command.wait(timeout=200) for command in commands] == [0, 0]
    assert "is in the hands of" not in (folder / "words").read_text()
    assert [list(results(sweep)) for sweep in sweeps(folder)] == [["slow relu"]] * 2


def test_claim_of_a_process_that_was_killed_is_free(folder):
    command = start(folder, *SAME, "tracking=none")
    wait_for_a_cell(folder, command)
    family = descendants(command.pid)
    command.kill()
    command.wait()
    wait_until(lambda: not any(map(is_running, family)), "the end of the one that trained", seconds=10)

    ended = run(folder, *SAME, "tracking=none", **QUICK)

    assert ended.status == 0
    assert "is in the hands of" not in ended.err
