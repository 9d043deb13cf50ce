"""A replica whose validation grows no better is stopped: exactly then, alone, and without a trace on the others."""

import numpy as np
import pytest
from nn_cases import (
    UNBOUNDED,
    assert_same_bits,
    blobs,
    build_training,
    outcome,
    replicas_of,
    side_by_side,
)

from nnbench import nn

TRAIN, VALIDATION = blobs(23), blobs(9, seed=1)
NUM_EPOCHS = 20
SETTINGS = {"num_epochs": NUM_EPOCHS, "patience": 4, "options": {"learning_rate": 0.03}, "diagnostics": "full"}
BY_SELECTION = pytest.mark.parametrize("selection", ["best", "last"])


def run(seeds=range(8), **settings):
    training = build_training("adam", seeds, **SETTINGS | settings)
    training.run(TRAIN, VALIDATION)
    return training


def stop_by_hand(accuracies, losses, patience):
    """Return the epoch after which a training stops, None if it does not, and the best epoch until then."""
    best, best_epoch, waited = (-1.0, 0.0), 0, 0
    for epoch, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True), start=1):
        if (accuracy, -loss) > best:
            best, best_epoch, waited = (accuracy, -loss), epoch, 0
        else:
            waited += 1
        if waited == patience:
            return epoch, best_epoch
    return None, best_epoch


@BY_SELECTION
@pytest.mark.parametrize("patience", [1, 2, 3, 5])
def test_training_stops_after_that_many_epochs_without_improvement(monkeypatch, patience, selection):
    # Three levels of each, so that the loss often has to decide, and often cannot.
    accuracies, losses = np.random.default_rng(patience).integers(1, 4, size=(2, NUM_EPOCHS, 40)) / 4
    losses[:, 0] = np.linspace(1, 0.1, NUM_EPOCHS)  # always better, by its loss
    accuracies[:, 0] = 0.5
    losses[:, 1], accuracies[:, 1] = 0.5, 0.5  # never better
    losses[:, 2], accuracies[:, 2] = np.linspace(0.1, 1, NUM_EPOCHS), np.linspace(0.1, 1, NUM_EPOCHS)
    training = build_training(
        "gd", range(40), num_epochs=NUM_EPOCHS, patience=patience, selection=selection, diagnostics="none"
    )

    def planted(model, samples):
        if samples is VALIDATION:
            return losses[training.epoch - 1, training.active], accuracies[training.epoch - 1, training.active]
        return nn.evaluate(model, samples)

    monkeypatch.setattr("nnbench.nn.training.evaluate", planted)
    training.run(TRAIN, VALIDATION)

    by_hand = [stop_by_hand(*curves, patience) for curves in zip(accuracies.T, losses.T, strict=True)]
    assert training.stopped_epoch.tolist() == [stop or -1 for stop, _ in by_hand]
    assert training.stopped_epoch[[0, 1, 2]].tolist() == [-1, patience + 1, -1]
    ends = [stop or NUM_EPOCHS for stop, _ in by_hand]
    selected = [best for _, best in by_hand] if selection == "best" else ends
    assert training.selected_epoch.tolist() == selected
    assert training.history["train/gradient_evaluations"][-1].tolist() == [5 * end for end in ends]
    assert not training.diverged.any()


def test_curves_of_a_stopped_replica_stay_level_and_all_have_one_value_for_each_epoch():
    training = run()
    assert len(set(training.stopped_epoch)) >= 3
    for name, values in training.history.items():
        assert values.shape == (training.epoch, 8), name
        for replica, stop in enumerate(training.stopped_epoch):
            if stop >= 0:
                level = np.full(training.epoch - stop, values[stop - 1, replica])
                np.testing.assert_array_equal(values[stop:, replica], level, err_msg=name)


def test_training_ends_when_every_replica_has_stopped():
    training = run()
    assert training.epoch == training.stopped_epoch.max() < NUM_EPOCHS
    assert training.finished
    assert training.num_replica_steps == 5 * training.stopped_epoch.sum()


@BY_SELECTION
def test_stack_equals_training_alone_with_patience(selection):
    stack = outcome(run(selection=selection))
    assert_same_bits(stack, side_by_side([outcome(run([seed], selection=selection)) for seed in range(8)]))


def test_stopped_neighbour_changes_nothing_for_those_that_go_on():
    patient = outcome(run(patience=8))
    going_on = np.flatnonzero(patient["stopped_epoch"] < 0)
    assert 0 < len(going_on) < 8
    without = replicas_of(outcome(run(patience=None)), going_on)
    assert_same_bits(replicas_of(patient, going_on), without)


def test_patience_that_is_never_lost_changes_no_bit():
    assert_same_bits(outcome(run(patience=NUM_EPOCHS)), outcome(run(patience=None)))


def test_last_parameters_are_those_of_the_epoch_of_the_stop():
    training = run(selection="last")
    for replica, stop in enumerate(training.stopped_epoch):
        cut_short = build_training("adam", [replica], **SETTINGS | {"patience": None})
        cut_short.run(TRAIN, VALIDATION, num_epochs=int(stop))
        np.testing.assert_array_equal(training.selected_params[replica], cut_short.model.params[0])


@BY_SELECTION
@pytest.mark.parametrize("diagnostics", ["none", "basic", "full"])
def test_stopping_and_continuing_equals_going_through_with_patience(tmp_path, selection, diagnostics):
    settings = SETTINGS | {"selection": selection, "diagnostics": diagnostics}
    through = run(**settings)
    in_between = through.stopped_epoch.min() + 1  # some have stopped, some have not
    assert in_between < through.epoch
    for stop in (1, int(in_between), through.epoch):
        saved, continued = (build_training("adam", range(8), **settings) for _ in range(2))
        saved.run(TRAIN, VALIDATION, num_epochs=stop)
        saved.save(tmp_path / "state.npz")
        continued.model.params[:] = 7
        continued.restore(tmp_path / "state.npz")
        continued.run(TRAIN, VALIDATION)
        assert_same_bits(outcome(continued), outcome(through))
        assert continued.num_steps == through.num_steps
        assert continued.num_replica_steps == through.num_replica_steps


@pytest.mark.parametrize("diagnostics", ["none", "basic", "full"])
def test_stopped_replica_stays_level_where_the_last_other_one_diverges(monkeypatch, diagnostics):
    settings = {"num_epochs": NUM_EPOCHS, "patience": 1, "diagnostics": diagnostics, **UNBOUNDED}
    training = build_training("gd", [0, 1], **settings)

    def planted(model, samples):  # the first replica never improves on its first epoch, the second always does
        if samples is VALIDATION:
            return np.array([1.0, 1.0 / training.epoch])[training.active], np.full(len(training.active), 0.5)
        return nn.evaluate(model, samples)

    def overflow_after_four_epochs(training):
        if training.epoch == 4:
            training.model.params *= 1e30

    monkeypatch.setattr("nnbench.nn.training.evaluate", planted)
    training.run(TRAIN, VALIDATION, on_epoch=overflow_after_four_epochs)
    assert training.stopped_epoch.tolist() == [2, -1]
    assert training.diverged_step.tolist() == [-1, 20]
    assert training.epoch == 5
    for name, values in training.history.items():
        assert len(values) == 5, name
        assert (values[2:, 0] == values[1, 0]).all(), name
        assert np.isfinite(values[:4, 1]).all(), name
        assert np.isnan(values[4, 1]), name
