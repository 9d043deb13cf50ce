"""Three clocks: gradient evaluations, epochs, and the seconds of training alone."""

import numpy as np
import pytest
from nn_cases import OPTIMIZERS, UNBOUNDED, blobs, build_training, outcome

from nnbench import nn
from nnbench.nn.optimizers import Optimizer

TRAIN, VALIDATION = blobs(23), blobs(9, seed=1)


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 23), (5, 5), (22, 2), (23, 1), (100, 1), ("full", 1)])
def test_every_epoch_evaluates_one_gradient_for_each_batch(batch_size, steps):
    training = build_training("gd", [0, 1], num_epochs=3, batch_size=batch_size)
    training.run(TRAIN, VALIDATION)
    assert training.history["train/gradient_evaluations"].tolist() == [[steps] * 2, [2 * steps] * 2, [3 * steps] * 2]
    assert training.num_steps == 3 * steps
    assert training.num_replica_steps == 2 * 3 * steps


class Forgetful(Optimizer):
    """Gradient descent of someone who did not read that steps are counted."""

    def step(self, grads, factor=1.0):
        self.params -= self.cast(self.learning_rate * factor) * grads


def test_clock_of_an_optimizer_that_counts_no_steps_is_right():
    rates = np.array([[0.01], [1.3]])
    careful, forgetful = (
        build_training("gd", [0, 1], options={"learning_rate": rates}, num_epochs=8, **UNBOUNDED) for _ in range(2)
    )
    forgetful.optimizer = Forgetful(forgetful.model.params, learning_rate=rates)
    for training in (careful, forgetful):
        training.run(TRAIN, VALIDATION)
    assert forgetful.optimizer.num_steps == 0
    assert careful.diverged_step[1] > 0
    np.testing.assert_array_equal(forgetful.diverged_step, careful.diverged_step)
    for name, values in outcome(careful).items():
        np.testing.assert_array_equal(outcome(forgetful)[name], values, err_msg=name)


def test_steps_of_a_diverged_replica_are_counted_until_it_left():
    rates = np.array([[0.01], [1.3], [30.0]])
    training = build_training("gd", [0, 1, 2], options={"learning_rate": rates}, num_epochs=8, **UNBOUNDED)
    training.run(TRAIN, VALIDATION)
    assert training.diverged.tolist() == [False, True, True]
    assert training.num_steps == 8 * 5
    assert training.num_replica_steps == 8 * 5 + training.diverged_step[1:].sum()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("diagnostics", ["none", "full"])
def test_seconds_of_the_optimizer_are_a_part_of_those_of_training(optimizer, diagnostics):
    training = build_training(optimizer, [0, 1, 2], diagnostics=diagnostics)
    training.run(TRAIN, VALIDATION)
    assert 0 < training.optimizer_seconds < training.train_seconds


class Clock:
    """Time that passes only where it is told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        self.monkeypatch = monkeypatch
        for module in ("training", "diagnostics"):
            monkeypatch.setattr(f"nnbench.nn.{module}.perf_counter", lambda: self.now)

    def slow(self, owner, name, seconds):
        """Make a function take so many seconds."""
        function = getattr(owner, name)

        def slowed(*args, **options):
            self.now += seconds
            return function(*args, **options)

        self.monkeypatch.setattr(owner, name, slowed)


def test_optimizer_and_training_have_their_own_seconds(monkeypatch):
    clock = Clock(monkeypatch)
    training = build_training("gd", [0, 1], num_epochs=2)
    clock.slow(training.optimizer, "step", 1)
    clock.slow(training.model, "backward", 10)
    training.run(TRAIN, VALIDATION)
    assert training.optimizer_seconds == 2 * 5
    assert training.train_seconds == 2 * 5 * (1 + 10)


def test_diagnostics_have_seconds_of_their_own(monkeypatch):
    from nnbench.nn import diagnostics

    clock = Clock(monkeypatch)
    clock.slow(diagnostics, "norms_by_layer", 100)
    clock.slow(diagnostics, "largest_eigenvalue", 1000)
    clock.slow(diagnostics, "gradient_signal_to_noise", 10_000)
    training = build_training("gd", [0, 1], num_epochs=3, diagnostics="full", clip_norm=1.0)
    clock.slow(training.optimizer, "step", 1)
    training.run(TRAIN, VALIDATION)
    assert training.history["time/train_seconds"].tolist() == [[5.0] * 2, [10.0] * 2, [15.0] * 2]
    assert training.optimizer_seconds == 15
    # One of the five steps is watched, with two norms; at the end of the epoch two more, and the landscape.
    assert training.watch.seconds == 3 * (4 * 100 + 11_000)


def test_training_without_diagnostics_spends_nothing_on_them():
    assert build_training("gd", [0], diagnostics="none").watch is None


def test_steps_go_on_counting_after_a_restart(tmp_path):
    saved, continued = (build_training("gd", [0, 1], num_epochs=4) for _ in range(2))
    saved.run(TRAIN, VALIDATION, num_epochs=2)
    saved.save(tmp_path / "state.npz")
    continued.restore(tmp_path / "state.npz")
    assert continued.optimizer_seconds == saved.optimizer_seconds > 0
    continued.run(TRAIN, VALIDATION)
    assert continued.history["train/gradient_evaluations"][:, 0].tolist() == [5, 10, 15, 20]
    assert continued.num_replica_steps == 40


def test_schedule_counts_epochs_of_the_plan_whatever_the_patience():
    factors = []

    def noting(epoch, num_epochs):
        factors.append((epoch, num_epochs))
        return 1.0

    training = build_training("gd", [0], num_epochs=2, patience=1, schedule=noting, batch_size=10)
    training.run(TRAIN, VALIDATION)
    np.testing.assert_allclose(factors, [(e + start / 23, 2) for e in (0, 1) for start in (0, 10, 20)])
    assert isinstance(training, nn.Training)
