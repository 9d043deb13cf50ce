"""A sweep that is killed again and again ends as one that was left alone."""

import random
import signal
import time
from collections import Counter
from itertools import cycle

import pytest
from command_line import assert_same, histories, newest_sweep, results, run
from trouble import (
    OWN,
    QUICK,
    ask,
    cell_runs,
    descendants,
    is_running,
    send,
    start,
    wait_for_a_cell,
    wait_for_a_result,
    wait_until,
    write_rules,
)

RATES = ",".join(f"{rate / 100:.2f}" for rate in range(1, 6))
SWEEP = (*OWN, "optimizer=slow", "activation=relu,tanh", f"optimizer.learning_rate={RATES}", "num_epochs=10")
NUM_CELLS = 10  # of a fifth of a second each, and then as much again until MLflow has it
LEAST_DONE = 5  # cells that are to be finished between two kills, and not by the command that is left alone
PARALLEL = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
# Of a result: MLflow is being told of it.
MOMENTS = ("its start", "a result", "its start", "its start", "a result", "a cell")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
# 128 + the signal, or the signal itself, where Python has not come as far as our own words.
STATUSES = {
    signal.SIGINT: {130, -signal.SIGINT},
    signal.SIGTERM: {143, -signal.SIGTERM},
    signal.SIGKILL: {-signal.SIGKILL},
}
CHILD_KILLED = 128 + signal.SIGKILL  # the command's own status where its child was killed before it began


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = write_rules(tmp_path_factory.mktemp("undisturbed"))
    assert run(folder, *SWEEP, "tracking=none", **QUICK).status == 0
    return newest_sweep(folder)


def disturb(folder, arguments, moment, draw):
    """Start a command and kill it, or first a process that works for it, about that moment; check how it ended."""
    command = start(folder, *arguments)
    if moment == "its start":
        time.sleep(draw.uniform(0.3, 2.5))
    else:
        (wait_for_a_cell if moment == "a cell" else wait_for_a_result)(folder, command)
        time.sleep(draw.uniform(0, 0.4))
    family = descendants(command.pid)
    allowed = set()
    if draw.random() < 0.25 and family:
        send(draw.choice(family), signal.SIGKILL)
        allowed.add(CHILD_KILLED)
        time.sleep(draw.uniform(0, 0.5))
    last = draw.choice(SIGNALS)
    family += descendants(command.pid)
    if command.poll() is None:
        send(command.pid, last)
        allowed |= STATUSES[last]
    status = command.wait(timeout=60)
    wait_until(lambda: not any(map(is_running, family)), "the end of all that worked for it", seconds=10)
    if status == 0:  # then the signal came too late, and was not lost
        assert num_finished(folder) == NUM_CELLS
    else:
        assert status in allowed, (folder / "words").read_text()[-3000:]


def assert_as_undisturbed(folder, undisturbed, arguments):
    ended = run(folder, *arguments, **QUICK)

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
    done = [0]
    for _, moment in zip(range(num_rounds), cycle(MOMENTS), strict=False):
        if done[-1] == NUM_CELLS:
            break
        disturb(folder, arguments, moment, draw)
        done.append(num_finished(folder))
    assert done == sorted(done), "a round has lost a result"
    assert done[-1] >= LEAST_DONE, done
    assert_as_undisturbed(folder, undisturbed, arguments)


def num_finished(folder):
    """Return how many cells have a finished run; none before there is a store."""
    runs = cell_runs(folder) if (folder / "mlflow.db").exists() else []
    return len({name for name, status in runs if status == "FINISHED"})


def test_sweep_that_is_killed_twenty_times_ends_as_one_that_was_left_alone(tmp_path, undisturbed):
    rounds(write_rules(tmp_path), undisturbed, seed=6, num_rounds=20, arguments=SWEEP)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("launcher", [(), PARALLEL], ids=["serial", "parallel"])
def test_sweep_that_is_killed_for_long_ends_as_one_that_was_left_alone(tmp_path, undisturbed, launcher, seed):
    rounds(write_rules(tmp_path), undisturbed, seed=seed, num_rounds=60, arguments=(*SWEEP, *launcher))
