"""Training: the order of the batches, what the history shows, selection, clipping, and what can be learnt."""

import math

import numpy as np
import pytest
from nn_cases import (
    ACTIVATIONS,
    INITIALIZERS,
    OPTIMIZERS,
    SOFTMAX_CROSS_ENTROPY,
    UNBOUNDED,
    Samples,
    blobs,
    build_training,
    family,
)

from nnbench import nn
from nnbench.nn.diagnostics import watched_steps

TRAIN, VALIDATION = blobs(23), blobs(9, seed=1)


# The order of the batches. The label of a sample is its place, so that the loss sees which samples make a batch.


class Watching:
    """A loss that notes the labels of every batch that is trained on, (replicas, batch)."""

    def __init__(self):
        self.batches = []

    def num_outputs(self, num_classes):
        return 1

    def __call__(self, logits, labels, delta):
        if labels.ndim == 2:  # evaluation sees each split once, for all replicas
            self.batches.append(labels.copy())
        delta.fill(0.01)
        return np.zeros(len(logits))

    def predict(self, logits):
        return np.zeros(logits.shape[:-1], dtype=int)


def orders(seeds, *, optimizer="gd", num_epochs=3, order_rngs=None, **settings):
    """Return the order in which each replica saw 20 samples, 6 at a time, (replicas, epochs, samples)."""
    loss = Watching()
    training = build_training(
        optimizer,
        seeds,
        layer_sizes=(2, 3, 1),
        loss=loss,
        num_epochs=num_epochs,
        batch_size=6,
        **{"activations": [nn.Tanh()]} | settings,
    )
    training.rngs = order_rngs or training.rngs
    samples = Samples(np.zeros((20, 2), np.float32), np.arange(20))
    training.run(samples, samples)
    assert [batch.shape[-1] for batch in loss.batches] == [6, 6, 6, 2] * num_epochs
    return np.concatenate(loss.batches, axis=-1).reshape(len(seeds), num_epochs, 20)


def check_shuffling(seen, again):
    assert (np.sort(seen, axis=-1) == np.arange(20)).all()  # every epoch sees every sample once
    rows = {tuple(order) for epochs in seen for order in epochs}
    assert len(rows) == seen.shape[0] * seen.shape[1]  # no order comes twice, neither by epoch nor by seed
    np.testing.assert_array_equal(again, seen)


def test_every_epoch_and_seed_has_its_own_order_and_the_same_one_again():
    check_shuffling(orders([0, 1, 2]), orders([0, 1, 2]))


class Unshuffled:
    def permutation(self, num_samples):
        return np.arange(num_samples)


class InOrderOfCompletion:
    """What threads that fetch batches make of an order: whatever the machine was doing at the time."""

    def permutation(self, num_samples):
        return np.random.default_rng().permutation(num_samples)


class SameOrderEachEpoch:
    def permutation(self, num_samples):
        return np.random.default_rng(42).permutation(num_samples)


@pytest.mark.parametrize("mistaken", [Unshuffled, InOrderOfCompletion, SameOrderEachEpoch])
def test_mistaken_orders_are_revealed(mistaken):
    seen, again = (orders([0, 1], order_rngs=[mistaken(), mistaken()]) for _ in range(2))
    with pytest.raises(AssertionError):
        check_shuffling(seen, again)


def test_order_of_a_seed_is_the_same_for_every_optimizer_activation_and_initializer():
    wanted = orders([4, 5])
    for optimizer in OPTIMIZERS:
        np.testing.assert_array_equal(orders([4, 5], optimizer=optimizer), wanted)
    for activation in ACTIVATIONS.values():
        np.testing.assert_array_equal(orders([4, 5], activations=[activation]), wanted)
    for initializer in INITIALIZERS.values():
        np.testing.assert_array_equal(orders([4, 5], initializer=initializer), wanted)


def test_order_follows_the_seed_not_the_place_in_the_stack():
    np.testing.assert_array_equal(orders([8, 4, 5])[1:], orders([4, 5]))


def test_streams_for_parameters_and_batches_are_apart():
    initial, order = nn.spawn_rngs(0)
    assert initial.integers(2**60) != order.integers(2**60)
    assert nn.spawn_rngs(0)[0].integers(2**60) == nn.spawn_rngs(0)[0].integers(2**60)
    assert nn.spawn_rngs(0)[0].integers(2**60) != nn.spawn_rngs(1)[0].integers(2**60)


def test_full_batch_is_one_step_an_epoch():
    training = build_training("gd", [0, 1], batch_size="full", num_epochs=4)
    training.run(TRAIN, VALIDATION)
    assert training.optimizer.num_steps == 4


def test_batch_larger_than_the_split_is_the_whole_split():
    whole = build_training("gd", [0], batch_size="full", dtype=np.float64)
    large = build_training("gd", [0], batch_size=1000, dtype=np.float64)
    samples = blobs(23, dtype=np.float64)
    for training in (whole, large):
        training.run(samples, VALIDATION)
    np.testing.assert_allclose(large.model.params, whole.model.params, rtol=1e-12)


# What the history shows.


def objective_by_hand(model, samples, weight_decay):
    """Cross-entropy by its formula, and half the decay times every squared weight."""
    logits = model.logits(samples.inputs).astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    of_labels = probabilities[:, np.arange(len(samples.labels)), samples.labels]
    squares = sum(np.sum(weights.astype(np.float64) ** 2, axis=(1, 2)) for weights in model.weights)
    return -np.log(of_labels).mean(axis=-1) + weight_decay / 2 * squares


def check_shown_cost_is_the_cost_trained(name, weight_decay=0.1):
    by_hand = []
    training = build_training("momentum", [0, 1], num_epochs=3, weight_decay=weight_decay)
    training.run(
        TRAIN, VALIDATION, on_epoch=lambda done: by_hand.append(objective_by_hand(done.model, TRAIN, weight_decay))
    )
    np.testing.assert_allclose(training.history[name], by_hand, rtol=1e-5)


def test_objective_in_the_history_has_the_penalty():
    check_shown_cost_is_the_cost_trained("train/objective")


def test_shown_cost_without_the_penalty_is_revealed():
    with pytest.raises(AssertionError):
        check_shown_cost_is_the_cost_trained("train/loss")


def test_loss_and_accuracy_in_the_history_are_those_of_the_whole_splits_after_the_epoch():
    seen = []
    training = build_training("adam", [0, 1, 2], num_epochs=4)
    training.run(TRAIN, VALIDATION, on_epoch=lambda done: seen.append((done.model.params.copy(), done.epoch)))
    assert [epoch for _, epoch in seen] == [1, 2, 3, 4]
    for row, (params, _) in enumerate(seen):
        model = nn.MLP.from_architecture(training.model.architecture(), params)
        for split, samples in (("train", TRAIN), ("val", VALIDATION)):
            np.testing.assert_allclose(
                training.history[f"{split}/loss"][row], objective_by_hand(model, samples, 0), rtol=1e-5
            )
            hits = model.predict(samples.inputs) == samples.labels
            np.testing.assert_array_equal(training.history[f"{split}/accuracy"][row], hits.mean(axis=-1))


@pytest.mark.parametrize("batch_size", [1, 2, 5, "full"])
def test_gradient_norms_in_the_history_are_means_over_the_watched_steps(batch_size):
    norms = []
    training = build_training("gd", [0, 1], num_epochs=1, weight_decay=0.1, dtype=np.float64, batch_size=batch_size)
    take_step = training.optimizer.step

    def note(grads, factor):
        # 5-7-4-3 with biases: 42, 32 and 15 parameters
        parts = [grads[:, :42], grads[:, 42:74], grads[:, 74:], grads]
        norms.append([np.linalg.norm(part, axis=-1) for part in parts])
        take_step(grads, factor)

    training.optimizer.step = note
    training.run(blobs(69, dtype=np.float64), blobs(9, seed=1, dtype=np.float64))
    steps = sorted(watched_steps(len(norms)))
    assert steps == {1: [0], 14: [13], 35: [16, 34], 69: [16, 33, 50, 68]}[len(norms)]
    names = [*(f"layer{layer}/grad_norm" for layer in (1, 2, 3)), "train/grad_norm"]
    for name, wanted in zip(names, np.mean([norms[step] for step in steps], axis=0), strict=True):
        np.testing.assert_allclose(training.history[name][0], wanted, rtol=1e-12)


def test_clock_goes_on_and_stands_in_the_history():
    training = build_training("gd", [0, 1], num_epochs=3)
    training.run(TRAIN, VALIDATION)
    seconds = training.history["time/train_seconds"]
    assert (np.diff(seconds, axis=0) > 0).all()
    assert (seconds[-1] == training.train_seconds).all()


def test_clock_does_not_count_evaluation(monkeypatch):
    now = [0.0]
    for module in ("training", "diagnostics"):
        monkeypatch.setattr(f"nnbench.nn.{module}.perf_counter", lambda: now[0])

    def slow_evaluation(model, samples):
        now[0] += 1000
        return nn.evaluate(model, samples)

    monkeypatch.setattr("nnbench.nn.training.evaluate", slow_evaluation)
    training = build_training("gd", [0], num_epochs=3)
    take_step = training.optimizer.step

    def step_of_one_second(grads, factor):
        now[0] += 1
        take_step(grads, factor)

    training.optimizer.step = step_of_one_second
    training.run(TRAIN, VALIDATION, on_epoch=lambda _: now.__setitem__(0, now[0] + 500))
    assert training.history["time/train_seconds"].ravel().tolist() == [5, 10, 15]


# Selection, on planted histories: (accuracy, loss) of the validation split, epoch by epoch and replica by replica.

PLANTED = np.array(
    [
        # rises, then falls    equal, lower loss   equal all through     best at the end
        [[0.5, 0.9], [0.6, 0.9], [0.7, 0.4], [0.1, 0.1]],
        [[0.8, 0.7], [0.8, 0.5], [0.7, 0.4], [0.2, 0.5]],
        [[0.9, 0.9], [0.8, 0.3], [0.7, 0.4], [0.3, 0.9]],
        [[0.7, 0.1], [0.8, 0.4], [0.7, 0.4], [0.4, 1.5]],
    ]
)


@pytest.mark.parametrize(("selection", "epochs"), [("best", [3, 3, 1, 4]), ("last", [4, 4, 4, 4])])
def test_selection_chooses_the_right_epochs_parameters(monkeypatch, selection, epochs):
    training = build_training("gd", range(4), num_epochs=4, selection=selection)

    def planted(model, samples):
        if samples is VALIDATION:
            return PLANTED[training.epoch - 1, :, 1], PLANTED[training.epoch - 1, :, 0]
        return nn.evaluate(model, samples)

    monkeypatch.setattr("nnbench.nn.training.evaluate", planted)
    params_by_epoch = []
    training.run(TRAIN, VALIDATION, on_epoch=lambda done: params_by_epoch.append(done.model.params.copy()))
    assert training.selected_epoch.tolist() == epochs
    for replica, epoch in enumerate(epochs):
        np.testing.assert_array_equal(training.selected_params[replica], params_by_epoch[epoch - 1][replica])
    np.testing.assert_array_equal(training.selected_model().params, training.selected_params)
    assert (params_by_epoch[0] != params_by_epoch[-1]).any()


# Clipping.


def first_grads(clip_norm, *, scales=(1.0, 1.0, 1.0), weight_decay=0.0):
    """Return the gradients of the first step, (replicas, num_params), from initial weights times `scales`."""
    seen = []
    training = build_training(
        "gd", [0, 1, 2], num_epochs=1, clip_norm=clip_norm, weight_decay=weight_decay, **UNBOUNDED
    )
    training.model.params[:] *= np.array(scales).reshape(3, 1)
    training.optimizer.step = lambda grads, factor: seen.append(grads.copy())
    training.run(TRAIN, VALIDATION)
    return seen[0]


def test_clipping_bounds_the_norm_of_each_replica_and_leaves_smaller_ones_alone():
    free = first_grads(None, scales=(0.1, 1, 3))
    norms = np.linalg.norm(free, axis=-1)
    bound = float(norms[1] * 0.99)
    assert norms[0] < bound < norms[1] < norms[2]
    clipped = first_grads(bound, scales=(0.1, 1, 3))
    np.testing.assert_array_equal(clipped[0], free[0])
    np.testing.assert_allclose(np.linalg.norm(clipped[1:], axis=-1), bound, rtol=1e-5)
    np.testing.assert_allclose(clipped[1:], free[1:] * (bound / norms[1:, np.newaxis]), rtol=1e-5)


def test_clipping_counts_the_penalty():
    clipped = first_grads(0.01, weight_decay=10.0)
    np.testing.assert_allclose(np.linalg.norm(clipped, axis=-1), 0.01, rtol=1e-5)


def test_clipping_leaves_a_zero_gradient_at_zero():
    training = build_training("gd", [0], num_epochs=1, clip_norm=1.0, **UNBOUNDED)
    training.model.params[:] = 0
    training.run(Samples(np.zeros((4, 5), np.float32), np.zeros(4, dtype=int)), VALIDATION)
    assert np.isfinite(training.model.params).all()


# Gradients are means: the learning rate means the same for every batch size.


def test_full_batch_step_of_equal_samples_does_not_depend_on_their_number():
    one = Samples(np.ones((1, 5), np.float64), np.array([1]))
    many = Samples(np.ones((64, 5), np.float64), np.ones(64, dtype=int))
    ends = []
    for samples in (one, many):
        training = build_training("gd", [0], batch_size="full", num_epochs=5, dtype=np.float64)
        training.run(samples, samples)
        ends.append(training.model.params)
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-12)


# What can be learnt.

XOR = Samples(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0]))


def xor_accuracies(hidden):
    """Train on 3,000 pairs with leaky rectifiers all through; return the accuracy on the four corners."""
    draws = np.random.default_rng(0).integers(4, size=3000)
    training = build_training(
        "nesterov",
        range(10),
        layer_sizes=(2, *hidden, 1),
        activations=[nn.LeakyReLU(negative_slope=0.1)] * len(hidden),
        loss=nn.MeanSquaredError(output="leaky_relu", negative_slope=0.1),
        initializer=nn.Auto(),
        options={"learning_rate": 0.1, "momentum": 0.9},
        num_epochs=30,
        batch_size=200,
    )
    training.run(Samples(XOR.inputs[draws], XOR.labels[draws]), XOR)
    return nn.evaluate(training.selected_model(), XOR)[1]


def test_xor_is_learnt_by_a_hidden_layer_and_by_no_linear_model():
    assert (xor_accuracies([8]) == 1).all()
    assert (xor_accuracies([]) <= 0.75).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(optimizer):
    samples = blobs(120)
    rate = {"learning_rate": max(0.01, family("optimizer")[optimizer].options["learning_rate"])}
    training = build_training(optimizer, [0, 1, 2], num_epochs=60, batch_size="full", options=rate)
    before = nn.evaluate(training.model, samples)[0]
    training.run(samples, VALIDATION)
    assert (nn.evaluate(training.model, samples)[0] < 0.9 * before).all()


# Errors.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be an integer of at least 1, or 'full'"),
        ({"batch_size": "half"}, "batch_size is 'half'; it must be"),
        ({"batch_size": 2.5}, "batch_size is 2.5; it must be"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1; it must be a finite number of at least 0"),
        ({"weight_decay": math.nan}, "weight_decay is nan; it must be"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0; it must be above 0, or None"),
        ({"clip_norm": -1.0}, "clip_norm is -1.0; it must be"),
        ({"selection": "first"}, "selection is 'first'; it must be best or last"),
        ({"patience": 0}, "patience is 0; it must be at least 1 epoch, or None"),
        ({"diagnostics": "all"}, "diagnostics is 'all'; it must be none, basic or full"),
    ],
)
def test_setting_out_of_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build_training("gd", [0], **settings)


def test_wrong_number_of_generators_is_refused():
    model = nn.MLP((2, 2), activations=[], loss=SOFTMAX_CROSS_ENTROPY, num_replicas=3)
    with pytest.raises(ValueError, match="there are 1 generators for 3 replicas; give one for each"):
        nn.Training(model, nn.GD(model.params), [np.random.default_rng()], num_epochs=1)
