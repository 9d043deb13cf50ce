"""Scores of trained replicas against loops written out: the anytime score, the clocks, time to target."""

from dataclasses import replace

import numpy as np
import pytest
from protocol_cases import MOONS, Seldom, cell, scores_of, trained

from nnbench.protocol.selection import accuracy_area, clocks, time_to_target

NAN = np.nan
# Five planned epochs, of which the last was not needed: every replica had stopped, diverged, or both had happened.
CURVES = np.array(
    [
        # stopped   diverged    diverged  stopped
        # in 3      in 2        at once   in 4
        [0.5, 0.9, NAN, 0.1],
        [0.7, NAN, NAN, 0.2],
        [0.6, NAN, NAN, 0.9],
        [0.6, NAN, NAN, 0.8],
    ]
)
PLANTED = replace(
    trained(cell(seeds=(0, 1, 2, 3), num_epochs=1)),
    stopped_epoch=np.array([3, -1, -1, 4]),
    diverged_step=np.array([-1, 17, 0, -1]),
    history={
        "val/accuracy": CURVES,
        "train/gradient_evaluations": np.array([[10.0] * 4, [20.0] * 4, [30.0] * 4, [30, NAN, NAN, 40]]),
        "time/train_seconds": np.array([[1.0] * 4, [2.5] * 4, [4.0] * 4, [4, NAN, NAN, 6]]),
    },
)


def area_by_hand(curve, *, num_epochs, stopped, num_classes):
    """Sum what the validation accuracy is after each planned epoch."""
    total = 0.0
    for epoch in range(num_epochs):
        value = curve[min(epoch, len(curve) - 1)] if epoch < len(curve) or stopped else NAN
        total += 1 / num_classes if np.isnan(value) else value
    return total / num_epochs


@pytest.mark.parametrize("num_epochs", [4, 5, 30])
def test_area_counts_stopped_replicas_as_level_and_diverged_ones_at_chance(num_epochs):
    area = accuracy_area(PLANTED, num_epochs, num_classes=4)
    stopped = [True, False, False, True]
    wanted = [
        area_by_hand(curve, num_epochs=num_epochs, stopped=stop, num_classes=4)
        for curve, stop in zip(CURVES.T, stopped, strict=True)
    ]
    np.testing.assert_allclose(area, wanted, rtol=1e-14)
    assert area[2] == 0.25


def test_area_of_five_epochs_worked_by_hand():
    np.testing.assert_allclose(
        accuracy_area(PLANTED, 5, num_classes=2),
        [(0.5 + 0.7 + 3 * 0.6) / 5, (0.9 + 4 * 0.5) / 5, 0.5, (0.1 + 0.2 + 0.9 + 2 * 0.8) / 5],
    )


def test_area_of_a_real_cell_agrees_with_the_loop():
    tested = cell(seeds=tuple(range(7)), num_epochs=14, patience=3, new_optimizer=Seldom)
    scores = scores_of(tested)
    run = scores.trained
    assert {(stop >= 0, bad) for stop, bad in zip(run.stopped_epoch, run.diverged, strict=True)} == {
        (True, False),
        (False, True),
        (False, False),
    }
    for replica, area in enumerate(scores.summary["val/accuracy_area"]):
        curve = run.history["val/accuracy"][:, replica]
        stopped = run.stopped_epoch[replica] >= 0
        assert area == pytest.approx(area_by_hand(curve, num_epochs=14, stopped=stopped, num_classes=2), rel=1e-14)


def test_area_of_a_cell_that_stopped_early_covers_the_plan():
    tested = cell(seeds=(0, 1), num_epochs=400, patience=2)
    scores = scores_of(tested)
    num_epochs = len(scores.trained.history["val/accuracy"])
    assert num_epochs < 400
    for replica, area in enumerate(scores.summary["val/accuracy_area"]):
        curve = scores.trained.history["val/accuracy"][:, replica]
        assert area == pytest.approx((curve.sum() + (400 - num_epochs) * curve[-1]) / 400)


def test_time_to_target_is_told_on_three_clocks():
    times = time_to_target(PLANTED, 0.7)
    np.testing.assert_array_equal(times["val/target_epoch"], [2, 1, np.inf, 3])
    np.testing.assert_array_equal(times["val/target_gradient_evaluations"], [20, 10, np.inf, 30])
    np.testing.assert_array_equal(times["time/target_seconds"], [2.5, 1, np.inf, 4])


def test_target_that_nobody_meets_is_an_infinite_time_on_every_clock():
    times = time_to_target(PLANTED, 0.95)
    assert len(times) == 3
    for values in times.values():
        np.testing.assert_array_equal(values, [np.inf] * 4)


@pytest.mark.parametrize("target_accuracy", [0.6, 0.8, 0.9, 1.0])
def test_time_to_target_of_a_real_cell_agrees_with_a_loop(target_accuracy):
    run = trained(cell(seeds=tuple(range(7)), num_epochs=14, patience=3, new_optimizer=Seldom))
    times = time_to_target(run, target_accuracy)
    for replica in range(7):
        epoch, evaluations, seconds = np.inf, np.inf, np.inf
        for row, accuracy in reversed(list(enumerate(run.history["val/accuracy"][:, replica]))):
            if accuracy >= target_accuracy:
                epoch, evaluations = row + 1, (row + 1) * 10
                seconds = run.history["time/train_seconds"][row, replica]
        assert times["val/target_epoch"][replica] == epoch
        assert times["val/target_gradient_evaluations"][replica] == evaluations
        assert times["time/target_seconds"][replica] == seconds


def test_clocks_tell_where_each_replica_ended():
    times = clocks(PLANTED)
    np.testing.assert_array_equal(times["train/gradient_evaluations"], [30, 17, 0, 40])
    np.testing.assert_array_equal(times["train/stopped_epoch"], [3, NAN, NAN, 4])
    np.testing.assert_array_equal(times["train/diverged_step"], [NAN, 17, 0, NAN])


def test_gradient_evaluations_of_a_real_cell_are_steps_until_it_ended():
    scores = scores_of(cell(seeds=tuple(range(7)), num_epochs=14, patience=3, new_optimizer=Seldom))
    run = scores.trained
    steps = 10  # 320 samples, 32 at a time
    assert cell().steps_per_epoch(len(MOONS.train)) == steps
    for replica, evaluations in enumerate(scores.summary["train/gradient_evaluations"]):
        if run.diverged[replica]:
            assert evaluations == run.diverged_step[replica]
        elif run.stopped_epoch[replica] >= 0:
            assert evaluations == steps * run.stopped_epoch[replica]
        else:
            assert evaluations == steps * 14
