"""A cell that is stopped at any moment continues from its checkpoint and comes to the same result, bit for bit."""

import itertools
import os
import random
import resource
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial

import killed_cell
import numpy as np
import pytest
from protocol_cases import ALL_DIVERGE, MOONS, Seldom, all_bits, assert_same_bits, cell, entries, part

from nnbench.nn import GD, Adam, Sigmoid, Tanh
from nnbench.protocol.checkpoint import Checkpoint
from nnbench.protocol.result import run
from nnbench.protocol.search import LearningRateGrid, RandomSearch, Range

NUM_KILLS = 12
RATES = {"learning_rate": Range(low=0.003, high=0.03)}  # the best one lies beyond
GRID = {
    "tuning": LearningRateGrid(num_trials=3, seeds=2, max_extensions=2),
    "space": RATES,
    "untuned": {"learning_rate": 0.1},
    "num_epochs": 4,
}
RANDOM = GRID | {
    "new_optimizer": Adam,
    "tuning": RandomSearch(num_trials=3, seeds=2),
    "space": {**RATES, "beta1": Range(low=0.5, high=0.95, scale="linear")},
    "untuned": {"learning_rate": 0.001, "beta1": 0.9},
}
MIXED = {"seeds": tuple(range(7)), "num_epochs": 14, "patience": 3, "new_optimizer": Seldom}
SETTINGS = {
    **{f"optimizer_{name}": {"new_optimizer": part(entry)} for name, entry in entries("optimizer").items()},
    **{f"schedule_{name}": {"schedule": part(entry)()} for name, entry in entries("schedule").items()},
    "float64": {"dtype": "float64"},
    "full_batch": {"batch_size": "full"},
    "last": {"selection": "last"},
    "diagnostics_none": {"diagnostics": "none"},
    "diagnostics_full": {"diagnostics": "full"},
    "penalty_and_clipping": {"weight_decay": 0.01, "clip_norm": 0.5, "target_accuracy": 0.8},
    "vary_init": {"vary": "init"},
    "vary_order": {"vary": "order"},
    "layer_activations": {"hidden": (8, 5), "activations": (Tanh(), Sigmoid())},
    "linear_model": {"hidden": (), "activations": ()},
    "mixed": MIXED,
    "mixed_last_full": MIXED | {"selection": "last", "diagnostics": "full"},
    "mixed_in_stacks": MIXED | {"stack_size": 3},
    "all_diverge": {"new_optimizer": ALL_DIVERGE},
    "grid": GRID | {"new_optimizer": GD},
    "grid_in_stacks": GRID | {"new_optimizer": Seldom, "stack_size": 4, "patience": 2},
    "random": RANDOM,
    "random_vary_order_in_stacks": RANDOM | {"vary": "order", "stack_size": 4},
}


class StoppedError(Exception):
    """Ends a run where a signal could have ended it."""


def stop_after(num_epochs):
    """Return a listener that lets so many epochs pass, and the list of those that it has heard of."""
    heard = []

    def on_epoch(stage, training):
        heard.append((stage, np.asarray(training.optimizer.learning_rate).tolist(), training.epoch))
        if len(heard) == num_epochs:
            raise StoppedError

    return on_epoch, heard


def in_parts(tested, folder, lengths, *, every=0.0, dataset=MOONS):
    """Run a cell, stopped after so many epochs each time; return its result and all epochs that were trained."""
    epochs = []
    for length in lengths:
        on_epoch, heard = stop_after(length)
        try:
            return run(tested, dataset, on_epoch=on_epoch, checkpoint=Checkpoint(folder, every=every)), epochs + heard
        except StoppedError:
            epochs += heard
    raise AssertionError("the cell has not come to its end")


def until_done(tested, on_epoch, folder, *, every):
    """Run a cell again and again until its listener does not stop it any more."""
    for _ in range(500):
        with suppress(StoppedError):
            return run(tested, MOONS, on_epoch=on_epoch, checkpoint=Checkpoint(folder, every=every))
    raise AssertionError("the cell has not come to its end")


def undisturbed(tested, dataset=MOONS):
    """Run a cell without a checkpoint; return all bits of its result and the epochs that were trained."""
    on_epoch, heard = stop_after(None)
    return all_bits(run(tested, dataset, on_epoch=on_epoch)), heard


@pytest.mark.parametrize("name", SETTINGS)
def test_cell_that_is_stopped_after_every_epoch_comes_to_the_same_result(tmp_path, name):
    tested = cell(**SETTINGS[name])
    wanted, epochs = undisturbed(tested)
    result, trained = in_parts(tested, tmp_path / "mark", itertools.repeat(1, 500))
    assert_same_bits(all_bits(result), wanted)
    assert trained == epochs  # every epoch once, and in the same order


def test_settings_have_extensions_divergence_patience_and_stacks_so_that_these_tests_say_something():
    grid, stacks, mixed = (run(cell(**SETTINGS[name]), MOONS) for name in ("grid", "grid_in_stacks", "mixed"))
    assert grid.tuning.num_extensions == 2
    assert stacks.tuning.num_extensions > 0
    assert grid.untuned is not grid.final
    assert "diverged" in stacks.tuning.table["status"]
    assert 0 < mixed.final.trained.diverged.sum() < 7
    assert 0 < (mixed.final.trained.stopped_epoch >= 0).sum() < 7


@pytest.mark.parametrize("name", ["mixed_in_stacks", "grid_in_stacks", "random"])
@pytest.mark.parametrize("seed", [0, 1])
def test_cell_that_is_stopped_at_random_comes_to_the_same_result(tmp_path, name, seed):
    tested, rng = cell(**SETTINGS[name]), random.Random(seed)
    wanted, epochs = undisturbed(tested)
    result, trained = in_parts(tested, tmp_path / "mark", (rng.randint(1, 9) for _ in range(500)))
    assert_same_bits(all_bits(result), wanted)
    assert trained == epochs


def test_seconds_before_and_after_a_stop_add_up(tmp_path):
    tested = cell(**SETTINGS["grid_in_stacks"])
    at_the_stops = []

    def on_epoch(stage, training):
        at_the_stops.append((stage, training.train_seconds, training.evaluation_seconds, training.watch.seconds))
        raise StoppedError

    trained = until_done(tested, on_epoch, tmp_path / "mark", every=0)
    final = trained.final.trained
    seconds = final.history["time/train_seconds"]
    assert (np.diff(seconds[:, ~final.diverged], axis=0) >= 0).all()
    of_final = [clocks[1:] for clocks in at_the_stops if clocks[0] == "final"]
    assert final.train_seconds == max(clocks[0] for clocks in of_final) > 0
    assert final.evaluation_seconds == max(clocks[1] for clocks in of_final) > 0
    assert final.diagnostics_seconds == max(clocks[2] for clocks in of_final) > 0
    assert trained.tuning.train_seconds > 0


def test_short_cell_writes_nothing(tmp_path):
    run(cell(), MOONS, checkpoint=Checkpoint(tmp_path / "mark", every=60))
    assert not list(tmp_path.iterdir())


LARGE_STACKS = cell(**GRID | {"num_epochs": 10}, new_optimizer=GD)
SMALL_STACKS = cell(seeds=tuple(range(25)), stack_size=1, num_epochs=2)


@pytest.mark.parametrize("tested", [LARGE_STACKS, SMALL_STACKS], ids=["large_stacks", "small_stacks"])
def test_stop_costs_the_epochs_since_the_last_save_and_no_more(tmp_path, tested):
    every, pause = 0.06, 0.02  # seconds
    wanted, epochs = undisturbed(tested)
    trained = []

    def on_epoch(stage, training):
        trained.append((stage, training.epoch))
        time.sleep(pause)  # an epoch takes at least so long
        if len(trained) == 45:
            raise StoppedError

    result = until_done(tested, on_epoch, tmp_path / "mark", every=every)
    assert_same_bits(all_bits(result), wanted)
    assert len(epochs) <= len(trained) <= len(epochs) + 2 * (every / pause + 1)  # about twice `every`


def test_cell_that_has_ended_trains_nothing_again_until_its_checkpoint_is_cleared(tmp_path):
    tested = cell(**SETTINGS["grid"])
    wanted, epochs = undisturbed(tested)
    (tmp_path / "other").mkdir()
    for expected in (epochs, [], []):
        result, trained = in_parts(tested, tmp_path / "mark", [None])
        assert trained == expected
        assert_same_bits(all_bits(result), wanted)
    (tmp_path / "mark" / "half.npz.tmp").write_bytes(b"left by a process that was killed")
    Checkpoint(tmp_path / "mark").clear()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    Checkpoint(tmp_path / "mark").clear()
    assert in_parts(tested, tmp_path / "mark", [None])[1] == epochs


def test_checkpoint_clears_its_own_files_alone(tmp_path):
    in_parts(cell(), tmp_path / "mark", [None])
    (tmp_path / "mark" / "notes.txt").write_text("mine")
    Checkpoint(tmp_path / "mark").clear()
    assert [path.name for path in (tmp_path / "mark").iterdir()] == ["notes.txt"]


# Files that are not to be believed.

TUNED = cell(**GRID, new_optimizer=GD)
DAMAGES = {
    "nothing": lambda content: b"",
    "one_byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "all_but_one": lambda content: content[:-1],
    "one_more": lambda content: content + b"0",
    "flipped_bit": lambda content: flipped(content, seed=0),
    "another_flipped_bit": lambda content: flipped(content, seed=1),
    "text": lambda content: b"not a checkpoint\n",
}


def flipped(content, *, seed):
    damaged, rng = bytearray(content), random.Random(seed)
    damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Return the folder of a cell that was stopped in its fourth stack, and all bits of its result."""
    folder = tmp_path_factory.mktemp("stopped") / "mark"
    with pytest.raises(AssertionError, match="has not come to its end"):
        in_parts(TUNED, folder, [14])
    assert len(list(folder.iterdir())) == 4
    return folder, undisturbed(TUNED)[0]


def copied(folder, tmp_path):
    """Return a copy of a checkpoint and its files, oldest first."""
    (tmp_path / "mark").mkdir()
    for path in folder.iterdir():
        (tmp_path / "mark" / path.name).write_bytes(path.read_bytes())
        os.utime(tmp_path / "mark" / path.name, ns=(path.stat().st_mtime_ns,) * 2)
    return tmp_path / "mark", sorted((tmp_path / "mark").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def goes_on(folder, wanted, num_epochs, *, told):
    """Check that so many epochs are trained, that the result is the wanted one, and how often that is told."""
    lines = []
    on_epoch, heard = stop_after(None)
    result = run(TUNED, MOONS, on_epoch=on_epoch, checkpoint=Checkpoint(folder, every=0, tell=lines.append))
    assert_same_bits(all_bits(result), wanted)
    assert len(heard) == num_epochs
    troubles = [line for line in lines if not line.startswith("goes on after epoch ")]
    assert len(troubles) == told
    return troubles


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("stack", [0, 3])
def test_damaged_checkpoint_is_as_good_as_none(tmp_path, stopped, damage, stack):
    folder, files = copied(stopped[0], tmp_path)
    files[stack].write_bytes(DAMAGES[damage](files[stack].read_bytes()))
    lost = [4, 4, 4, 2][stack]  # epochs that the file had
    (line,) = goes_on(folder, stopped[1], 20 - 14 + lost, told=1)
    assert line.startswith("a checkpoint cannot be used, so its epochs are trained again: ")
    assert str(files[stack]) in line
    goes_on(folder, stopped[1], 0, told=0)


def test_checkpoint_that_is_damaged_altogether_costs_the_training_alone(tmp_path, stopped):
    folder, files = copied(stopped[0], tmp_path)
    for file, damage in zip(files, DAMAGES.values(), strict=False):
        file.write_bytes(damage(file.read_bytes()))
    goes_on(folder, stopped[1], 20, told=4)


def test_file_of_another_stack_or_cell_is_not_believed(tmp_path, stopped):
    folder, files = copied(stopped[0], tmp_path)
    first, second = files[0].read_bytes(), files[1].read_bytes()
    in_parts(TUNED, tmp_path / "another cell", [4, None])
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    others = {path.stat().st_size: path for path in (tmp_path / "another cell").iterdir()}
    files[2].write_bytes(others.get(files[2].stat().st_size, next(iter(others.values()))).read_bytes())
    goes_on(folder, stopped[1], 6 + 12, told=3)


def test_folder_in_the_place_of_a_file_is_as_good_as_none(tmp_path, stopped):
    folder, files = copied(stopped[0], tmp_path)
    files[3].unlink()
    files[3].mkdir()
    lines = goes_on(folder, stopped[1], 8, told=2)  # it can be neither read nor replaced
    assert lines[1].startswith("no checkpoint can be saved, training goes on without (IsADirectoryError: ")


@pytest.mark.parametrize(
    "changed",
    ["nnbench.protocol.checkpoint.PROTOCOL_VERSION", "nnbench.protocol.checkpoint.__version__", "numpy.__version__"],
)
def test_checkpoint_of_another_version_is_not_believed(tmp_path, stopped, monkeypatch, changed):
    folder, _ = copied(stopped[0], tmp_path)
    monkeypatch.setattr(changed, "another")
    goes_on(folder, stopped[1], 20, told=0)


def test_checkpoint_of_a_processor_with_other_instructions_is_not_believed(tmp_path, stopped, monkeypatch):
    folder, _ = copied(stopped[0], tmp_path)
    config = np.show_config(mode="dicts")
    other = config | {"SIMD Extensions": {"baseline": ["NEON"]}}
    monkeypatch.setattr(np, "show_config", lambda mode: other)
    goes_on(folder, stopped[1], 20, told=0)


@pytest.mark.parametrize("stack_size", [1, 2, 4, None])
def test_stacks_of_another_size_have_checkpoints_of_their_own(tmp_path, stopped, stack_size):
    folder, _ = copied(stopped[0], tmp_path)
    result, _ = in_parts(replace(TUNED, stack_size=stack_size), folder, [3, 1, 2, None])
    assert_same_bits(all_bits(result), stopped[1])


# Trouble that costs no training.


def test_full_disk_costs_no_training(tmp_path):
    wanted, epochs = undisturbed(TUNED)
    folder, lines = tmp_path / "mark", []
    with pytest.raises(AssertionError):
        in_parts(TUNED, folder, [5])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    on_epoch, heard = stop_after(None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # bytes of a file, at most
    try:
        result = run(TUNED, MOONS, on_epoch=on_epoch, checkpoint=Checkpoint(folder, every=0, tell=lines.append))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_same_bits(all_bits(result), wanted)
    assert heard == epochs[5:]
    assert lines[0] == "goes on after epoch 1 of 4, where it was saved"
    assert len(lines) == 2
    assert lines[1].startswith("no checkpoint can be saved, training goes on without (OSError: [Errno 27] File too")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_folder_that_cannot_be_made_costs_no_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    lines = []
    result = run(TUNED, MOONS, checkpoint=Checkpoint(tmp_path / "file" / "mark", every=0, tell=lines.append))
    assert_same_bits(all_bits(result), undisturbed(TUNED)[0])
    assert len(lines) == 1
    assert "NotADirectoryError" in lines[0]
    Checkpoint(tmp_path / "file" / "mark").clear()
    run(TUNED, MOONS, checkpoint=Checkpoint(tmp_path / "file" / "mark", every=0))  # nobody has to listen


class Listing(GD):
    """An optimizer that remembers in a way that cannot be saved."""

    def step(self, grads, factor=1.0):
        self.past = [*getattr(self, "past", [])[-1:], grads.copy()]
        super().step(sum(self.past) if len(self.past[0]) == len(grads) else grads, factor)


class Momentous(GD):
    """An optimizer with state that it tells nobody of."""

    def step(self, grads, factor=1.0):
        self.calls = getattr(self, "calls", 0) + 1
        self.pulse = getattr(self, "pulse", 0) * np.float32(0.9) + grads
        super().step(self.pulse / self.calls, factor)


def test_cell_with_an_optimizer_that_cannot_be_saved_says_so_and_trains_all_again(tmp_path):
    tested, lines = cell(new_optimizer=Listing), []
    wanted, epochs = undisturbed(tested)
    with pytest.raises(AssertionError):
        in_parts(tested, tmp_path / "mark", [3])
    assert not any((tmp_path / "mark").iterdir())
    on_epoch, heard = stop_after(None)
    result = run(tested, MOONS, on_epoch=on_epoch, checkpoint=Checkpoint(tmp_path / "mark", every=0, tell=lines.append))
    assert_same_bits(all_bits(result), wanted)
    assert heard == epochs
    assert len(lines) == 1
    assert "Listing cannot be saved: past is a list" in lines[0]


def test_cell_with_an_optimizer_that_hides_its_state_continues_bit_for_bit(tmp_path):
    tested = cell(new_optimizer=partial(Momentous, learning_rate=0.3))
    wanted, epochs = undisturbed(tested)
    result, trained = in_parts(tested, tmp_path / "mark", itertools.repeat(1, 500))
    assert_same_bits(all_bits(result), wanted)
    assert trained == epochs


# Kills.


def test_cell_whose_process_is_killed_at_random_comes_to_the_same_result(tmp_path):
    command = [sys.executable, killed_cell.__file__, str(tmp_path), "0", str(NUM_KILLS)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    code, killed = map(int, done.stdout.split())
    assert code == 0
    assert killed >= 3

    with np.load(tmp_path / "result.npz", allow_pickle=False) as file:
        result = dict(file)
    wanted = run(killed_cell.CELL, MOONS)
    assert_same_bits(result, all_bits(wanted))
    epochs = (tmp_path / "epochs.txt").read_text().splitlines()
    _, undisturbed_epochs = undisturbed(killed_cell.CELL)
    assert len(set(epochs)) == len(epochs)  # none was trained again once it was safe
    assert len(undisturbed_epochs) - killed <= len(epochs) <= len(undisturbed_epochs)
