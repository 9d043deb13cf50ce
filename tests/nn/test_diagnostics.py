"""What the layers show of themselves equals its definition, and looking changes nothing."""

from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
from nn_cases import (
    OPTIMIZERS,
    UNBOUNDED,
    Samples,
    assert_same_bits,
    blobs,
    build_training,
    outcome,
    replicas_of,
    side_by_side,
)

from nnbench import nn
from nnbench.nn.diagnostics import watched_steps

TRAIN, VALIDATION = blobs(23), blobs(9, seed=1)
DOUBLE_TRAIN, DOUBLE_VALIDATION = blobs(23, dtype=np.float64), blobs(9, seed=1, dtype=np.float64)
LAYERS = (slice(0, 42), slice(42, 74), slice(74, 89))  # 5-7-4-3 with biases
BY_DIAGNOSTICS = pytest.mark.parametrize("diagnostics", ["none", "basic", "full"])


def trained(optimizer, seeds=range(4), **settings):
    training = build_training(optimizer, seeds, **settings)
    training.run(TRAIN, VALIDATION)
    return training


# Which steps are watched.


@pytest.mark.parametrize(
    ("num_steps", "number"), [(1, 1), (2, 1), (15, 1), (31, 1), (32, 2), (45, 2), (48, 3), (64, 4), (100, 4), (1563, 4)]
)
def test_one_to_four_steps_are_watched_evenly_spread_with_the_last_among_them(num_steps, number):
    steps = sorted(watched_steps(num_steps))
    assert len(steps) == number
    assert steps[-1] == num_steps - 1
    gaps = [after - before for before, after in pairwise([-1, *steps])]
    assert max(gaps) - min(gaps) <= 1


# Steps, against notes taken at every one of them.


def notes_of(training):
    """Let a training note its gradients and its parameters before and after every step."""
    notes = []
    take_step = training.optimizer.step

    def note(grads, factor):
        before, noted = training.model.params.copy(), grads.copy()
        take_step(grads, factor)
        notes.append((noted, before, training.model.params.copy()))

    training.optimizer.step = note
    return notes


@pytest.mark.parametrize("optimizer", ["gd", "adam", "rprop"])
@pytest.mark.parametrize("batch_size", [1, 5, "full"])
def test_steps_of_each_layer_are_measured_as_defined(optimizer, batch_size):
    settings = {"num_epochs": 3, "weight_decay": 0.1, "dtype": np.float64, "batch_size": batch_size}
    training = build_training(optimizer, [0, 1], **settings)
    start = training.model.params.copy()
    notes = notes_of(training)
    training.run(blobs(69, dtype=np.float64), DOUBLE_VALIDATION)

    steps = len(notes) // 3
    for epoch in range(3):
        watched = [notes[epoch * steps + step] for step in watched_steps(steps)]
        end = notes[(epoch + 1) * steps - 1][2]
        for number, layer in enumerate(LAYERS, start=1):
            wanted = {
                "grad_norm": np.mean([np.linalg.norm(grads[:, layer], axis=-1) for grads, _, _ in watched], axis=0),
                "update_ratio": np.mean(
                    [np.linalg.norm((after - before)[:, layer], axis=-1) for _, before, after in watched], axis=0
                )
                / np.linalg.norm(end[:, layer], axis=-1),
                "distance_from_start": np.linalg.norm((end - start)[:, layer], axis=-1),
            }
            for name, values in wanted.items():
                shown = training.history[f"layer{number}/{name}"][epoch]
                np.testing.assert_allclose(shown, values, rtol=1e-10, err_msg=f"layer{number}/{name}")


def test_gradient_norm_is_that_before_clipping_and_update_ratio_that_after():
    settings = {"num_epochs": 1, "batch_size": "full", "weight_decay": 0.1}
    free, clipped = trained("gd", **settings), trained("gd", clip_norm=1e-3, **settings)
    for number in (1, 2, 3):
        name = f"layer{number}/grad_norm"
        np.testing.assert_array_equal(clipped.history[name], free.history[name])
        name = f"layer{number}/update_ratio"
        assert (clipped.history[name] < 0.1 * free.history[name]).all()
    assert (free.history["train/grad_norm"] > 1e-2).all()


def test_layer_whose_parameters_are_all_zero_has_no_update_ratio():
    def clear(model):  # without weights no gradient reaches the first two layers, which stay where they are
        model.params[:] = 0

    training = trained("gd", num_epochs=2, prepare=clear)
    assert np.isnan(training.history["layer1/update_ratio"]).all()
    assert np.isfinite(training.history["layer3/update_ratio"]).all()


def test_distance_goes_on_from_the_true_start_after_a_restart(tmp_path):
    through = trained("adam", num_epochs=4)
    saved, continued = (build_training("adam", range(4), num_epochs=4) for _ in range(2))
    saved.run(TRAIN, VALIDATION, num_epochs=2)
    saved.save(tmp_path / "state.npz")
    continued.watch.start_params[:] = 7
    continued.restore(tmp_path / "state.npz")
    continued.run(TRAIN, VALIDATION)
    assert_same_bits(outcome(continued), outcome(through))


# Units.


def units_by_hand(model, inputs, activations):
    """Return the pre-activations of each hidden layer, (replicas, samples, units)."""
    values, sums = inputs.astype(np.float64), []
    for weights, biases, activation in zip(model.weights, model.biases, activations, strict=False):
        sums.append(values @ weights.astype(np.float64) + biases.astype(np.float64))
        values = activation(sums[-1])
    return sums


def test_dead_units_are_those_that_no_validation_sample_reaches():
    # The first feature is never negative in the validation split alone: a unit that wants it negative is dead there.
    validation = Samples(np.abs(DOUBLE_VALIDATION.inputs), DOUBLE_VALIDATION.labels)

    def plant(model):
        model.biases[0][0, :, :3] = -1e6  # dead for good
        model.weights[0][1, :, 2] = [-1, 0, 0, 0, 0]
        model.biases[0][1, :, 2] = 0
        model.biases[1][2] = -1e6  # a whole layer, the second
        model.weights[0][3] = np.abs(model.weights[0][3])
        model.biases[0][3] = 100  # all alive

    seen = []
    training = build_training(
        "gd",
        range(4),
        activations=[nn.ReLU(), nn.ReLU()],
        num_epochs=4,
        options={"learning_rate": 1e-3},
        dtype=np.float64,
        prepare=plant,
    )
    training.run(
        DOUBLE_TRAIN,
        validation,
        on_epoch=lambda done: seen.append(
            [
                (z <= 0).all(axis=1).mean(axis=-1)
                for z in units_by_hand(done.model, validation.inputs, [lambda z: np.maximum(z, 0)] * 2)
            ]
        ),
    )
    for layer in (1, 2):
        shown = training.history[f"layer{layer}/dead_units"]
        np.testing.assert_array_equal(shown, np.array(seen)[:, layer - 1])
    assert (training.history["layer1/dead_units"][:, 0] >= 3 / 7).all()
    assert (training.history["layer1/dead_units"][:, 1] >= 1 / 7).all()
    assert (training.history["layer2/dead_units"][:, 2] == 1).all()
    assert (training.history["layer1/dead_units"][:, 3] == 0).all()
    assert not any("saturation" in name for name in training.history)


def test_unit_that_one_sample_reaches_is_not_dead():
    validation = Samples(np.zeros((9, 5)), DOUBLE_VALIDATION.labels)
    validation.inputs[4, 0] = 1

    def plant(model):
        model.weights[0][:] = 0
        model.biases[0][:] = -1
        model.weights[0][:, 0, :2] = 3  # these two fire for the fifth sample alone

    training = build_training(
        "gd",
        [0],
        activations=[nn.ReLU(), nn.ReLU()],
        num_epochs=1,
        options={"learning_rate": 1e-9},
        dtype=np.float64,
        prepare=plant,
    )
    training.run(DOUBLE_TRAIN, validation)
    assert training.history["layer1/dead_units"].tolist() == [[5 / 7]]


def test_leaky_units_cannot_die_and_linear_ones_show_nothing():
    def plant(model):
        model.biases[0][:] = -1e3

    history = trained("gd", activations=[nn.LeakyReLU(), nn.Identity()], prepare=plant, num_epochs=1).history
    assert (history["layer1/dead_units"] == 0).all()
    assert not any(name.startswith("layer2") and "_units" in name for name in history)
    assert not any("saturation" in name for name in history)


@pytest.mark.parametrize(
    ("activation", "value", "slope"),
    [
        (nn.Sigmoid(), lambda z: 1 / (1 + np.exp(-z)), lambda z: 4 / (np.exp(z / 2) + np.exp(-z / 2)) ** 2),
        (nn.Tanh(), np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    ],
    ids=["sigmoid", "tanh"],
)
def test_saturation_is_the_share_of_outputs_with_less_than_a_twentieth_of_the_largest_slope(activation, value, slope):
    def plant(model):
        model.params *= 2.5  # some here, some there
        model.biases[0][0, :, :3] = 60
        model.biases[0][0, :, 3:5] = -60

    seen = []
    training = build_training("gd", range(3), activations=[activation] * 2, dtype=np.float64, prepare=plant)
    training.run(
        DOUBLE_TRAIN,
        DOUBLE_VALIDATION,
        on_epoch=lambda done: seen.append(
            [
                (slope(z) < 0.05).mean(axis=(1, 2))
                for z in units_by_hand(done.model, DOUBLE_VALIDATION.inputs, [value] * 2)
            ]
        ),
    )
    for layer in (1, 2):
        np.testing.assert_array_equal(training.history[f"layer{layer}/saturation"], np.array(seen)[:, layer - 1])
    assert (training.history["layer1/saturation"][:, 0] >= 5 / 7).all()
    assert 0 < training.history["layer1/saturation"][0, 1] < 1
    assert not any("dead_units" in name for name in training.history)


# Full diagnostics.


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_landscape_is_seen_from_the_end_of_the_epoch(weight_decay):
    training = build_training(
        "adam", [0, 1], diagnostics="full", weight_decay=weight_decay, dtype=np.float64, num_epochs=3
    )
    rngs = deepcopy(training.rngs)

    def check(done):
        orders = np.stack([rng.permutation(23) for rng in rngs])
        batches = [orders[:, start : start + 5] for start in (0, 5, 10, 15)]  # the last has three samples only
        model = done.model.with_params(done.model.params.copy())
        sharpness = nn.largest_eigenvalue(model, DOUBLE_TRAIN.inputs, DOUBLE_TRAIN.labels, weight_decay=weight_decay)
        ratios = nn.gradient_signal_to_noise(
            model,
            [(DOUBLE_TRAIN.inputs[batch], DOUBLE_TRAIN.labels[batch]) for batch in batches],
            weight_decay=weight_decay,
        )
        np.testing.assert_array_equal(done.history["train/largest_eigenvalue"][-1], sharpness)
        names = [*(f"layer{number}/gradient_snr" for number in (1, 2, 3)), "train/gradient_snr"]
        for name, ratio in zip(names, ratios.T, strict=True):
            np.testing.assert_array_equal(done.history[name][-1], ratio)
        assert np.isfinite(sharpness).all()
        assert np.isfinite(ratios).all()

    training.run(DOUBLE_TRAIN, DOUBLE_VALIDATION, on_epoch=check)


def test_full_batch_has_curvature_but_no_noise():
    names = trained("gd", batch_size="full", diagnostics="full").history.keys()
    assert "train/largest_eigenvalue" in names
    assert not any("gradient_snr" in name for name in names)


def test_metric_that_could_not_be_measured_in_an_epoch_is_not_a_number_there(monkeypatch):
    training = build_training("gd", [0, 1], num_epochs=4, diagnostics="full")

    def sometimes(model, batches, *, weight_decay):
        ratios = nn.gradient_signal_to_noise(model, batches, weight_decay=weight_decay)
        return ratios * np.nan if training.epoch in (1, 3) else ratios

    monkeypatch.setattr("nnbench.nn.diagnostics.gradient_signal_to_noise", sometimes)
    training.run(TRAIN, VALIDATION)
    measured = np.isfinite(training.history["layer1/gradient_snr"])
    assert measured.tolist() == [[False] * 2, [True] * 2, [False] * 2, [True] * 2]


# Looking changes nothing.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [5, "full"])
def test_diagnostics_change_no_bit_of_the_training(optimizer, batch_size):
    settings = {"weight_decay": 0.01, "clip_norm": 1.0, "num_epochs": 4, "batch_size": batch_size, "patience": 2}
    plain = outcome(trained(optimizer, diagnostics="none", **settings))
    names_before = set(plain)
    for diagnostics in ("basic", "full"):
        looked_at = outcome(trained(optimizer, diagnostics=diagnostics, **settings))
        assert names_before < set(looked_at)
        assert_same_bits({name: looked_at[name] for name in plain}, plain)
        names_before = set(looked_at)


def test_without_diagnostics_no_layer_shows():
    names = trained("adam", diagnostics="none").history.keys()
    assert {name.partition("/")[0] for name in names} == {"train", "val", "time"}
    assert names == {
        *(f"{split}/{metric}" for split in ("train", "val") for metric in ("loss", "accuracy")),
        "train/gradient_evaluations",
        "time/train_seconds",
    }


# Stack equals alone.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "activations", [(nn.ReLU(), nn.Tanh()), (nn.Sigmoid(), nn.LeakyReLU())], ids=["relu-tanh", "sigmoid-leaky_relu"]
)
@pytest.mark.parametrize(
    ("dtype", "batch_size"), [(np.float32, 1), (np.float32, 5), (np.float64, 5), (np.float32, "full")]
)
def test_stack_equals_training_alone_for_every_diagnostic(optimizer, activations, dtype, batch_size):
    settings = {
        "activations": activations,
        "dtype": dtype,
        "batch_size": batch_size,
        "diagnostics": "full",
        "weight_decay": 0.01,
        "num_epochs": 2,
    }
    stack = outcome(trained(optimizer, range(4), **settings))
    assert_same_bits(stack, side_by_side([outcome(trained(optimizer, [seed], **settings)) for seed in range(4)]))
    assert sum("gradient_snr" in name for name in stack) == (0 if batch_size == "full" else 4)


@pytest.mark.parametrize("diagnostics", ["basic", "full"])
def test_neighbour_that_diverges_in_the_middle_of_an_epoch_changes_no_diagnostic(diagnostics):
    settings = {"num_epochs": 6, "diagnostics": diagnostics, **UNBOUNDED}
    rates = np.array([[0.01], [1.3], [0.02]])
    stack = outcome(trained("gd", range(3), options={"learning_rate": rates}, **settings))
    alone = [trained("gd", [seed], options={"learning_rate": rates[seed].item()}, **settings) for seed in range(3)]
    assert stack["diverged_step"][1] % 5 not in (0, -1)
    assert_same_bits(stack, side_by_side([outcome(training) for training in alone]))
    assert np.isfinite(replicas_of(stack, [0, 2])["layer4/distance_from_start"]).all()


@BY_DIAGNOSTICS
def test_every_metric_has_a_value_for_every_epoch_until_the_last_replica_diverged(diagnostics):
    training = build_training(
        "gd", [0, 1], options={"learning_rate": 1.3}, num_epochs=8, diagnostics=diagnostics, **UNBOUNDED
    )
    training.run(TRAIN, VALIDATION)
    assert training.diverged.all()
    assert training.diverged_step.max() > 5  # some epochs were measured
    assert {len(values) for values in training.history.values()} == {training.epoch}
