"""A sweep that is killed again and again ends as one that was left alone."""

import random
import signal
import time
from collections import Counter

import pytest
from command_line import assert_same, histories, newest_sweep, results, run
from trouble import (
    OWN,
    ask,
    cell_runs,
    children,
    descendants,
    is_running,
    send,
    start,
    wait_for_a_cell,
    wait_until,
    write_rules,
)

RATES = ",".join(f"{rate / 100:.2f}" for rate in range(1, 9))
SWEEP = (*OWN, "optimizer=slow", "activation=relu,tanh", f"optimizer.learning_rate={RATES}", "num_epochs=20")
NUM_CELLS = 16  # of half a second each
PARALLEL = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
STATUSES = {signal.SIGINT: {130}, signal.SIGTERM: {143}, signal.SIGKILL: {-signal.SIGKILL}}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = write_rules(tmp_path_factory.mktemp("undisturbed"))
    assert run(folder, *SWEEP).status == 0
    return newest_sweep(folder)


def disturb(folder, arguments, draw):
    """Start a command and kill it, or first a process that works for it, at a random moment; return how it ended."""
    command = start(folder, *arguments)
    if draw.random() < 0.5:
        wait_for_a_cell(folder, command)
        time.sleep(draw.uniform(0, 1))
    else:
        time.sleep(draw.uniform(0.05, 3))  # while it starts
    family = descendants(command.pid)
    if draw.random() < 0.5 and (workers := [number for child in children(command.pid) for number in children(child)]):
        send(draw.choice(workers), signal.SIGKILL)
        time.sleep(draw.uniform(0, 1))
    elif draw.random() < 0.3 and family:
        send(family[0], signal.SIGKILL)
        time.sleep(draw.uniform(0, 1))
    last = draw.choice(SIGNALS)
    family += descendants(command.pid)
    ended_before = command.poll() is not None
    send(command.pid, last)
    status = command.wait(timeout=60)
    wait_until(lambda: not any(map(is_running, family)), "the end of all that worked for it", seconds=10)
    if not ended_before:
        assert status in STATUSES[last] | {0, 137}, (folder / "words").read_text()[-3000:]
    return status


def assert_as_undisturbed(folder, undisturbed, arguments):
    ended = run(folder, *arguments)

    assert ended.status == 0, ended.err
    last = newest_sweep(folder)
    assert_same(results(last), results(undisturbed))
    assert_same(histories(last), histories(undisturbed))
    statuses = Counter(status for _, status in cell_runs(folder))
    assert statuses["FINISHED"] == NUM_CELLS == len({name for name, _ in cell_runs(folder)})
    assert set(statuses) <= {"FINISHED", "KILLED"}  # none is open, none has failed
    replicas = "SELECT status, count(*) FROM runs WHERE name LIKE '% seed %' GROUP BY status"
    assert dict(ask(folder, replicas))["FINISHED"] == 2 * NUM_CELLS
    repeated = "SELECT run_uuid FROM metrics WHERE key = 'val/loss' GROUP BY run_uuid, step HAVING count(*) > 1"
    assert ask(folder, repeated) == []


def rounds(folder, undisturbed, *, seed, num_rounds, arguments):
    draw = random.Random(seed)
    done = 0
    for number in range(num_rounds):
        disturb(folder, arguments, draw)
        before, done = done, len({name for name, status in finished(folder) if status == "FINISHED"})
        assert done >= before, f"round {number} lost a result"
        if done == NUM_CELLS:
            break
    assert_as_undisturbed(folder, undisturbed, arguments)


def finished(folder):
    """Return the runs of cells; none before there is a store."""
    return cell_runs(folder) if (folder / "mlflow.db").exists() else []


def test_sweep_that_is_killed_twenty_times_ends_as_one_that_was_left_alone(tmp_path, undisturbed):
    rounds(write_rules(tmp_path), undisturbed, seed=6, num_rounds=20, arguments=SWEEP)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("launcher", [(), PARALLEL], ids=["serial", "parallel"])
def test_sweep_that_is_killed_for_long_ends_as_one_that_was_left_alone(tmp_path, undisturbed, launcher, seed):
    rounds(write_rules(tmp_path), undisturbed, seed=seed, num_rounds=60, arguments=(*SWEEP, *launcher))
