"""A replica has the same bits alone and in a stack, whatever its neighbours do."""

import numpy as np
import pytest
from nn_cases import (
    ACTIVATIONS,
    LOSSES,
    LOSSES_AND_CLASSES,
    OPTIMIZERS,
    UNBOUNDED,
    assert_same_bits,
    blobs,
    build_training,
    family,
    outcome,
    replicas_of,
    side_by_side,
)

from nnbench import nn

SEEDS = range(10)
BY_OPTIMIZER = pytest.mark.parametrize("optimizer", OPTIMIZERS)
BY_DTYPE = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def trained(optimizer, seeds=SEEDS, *, num_samples=23, num_classes=3, num_features=5, dtype=np.float32, **options):
    """Train on 23 samples, five at a time unless told, so that the last batch has three, and return what came of it."""
    training = build_training(optimizer, seeds, dtype=dtype, **options)
    shape = {"num_features": num_features, "num_classes": num_classes, "dtype": dtype}
    training.run(blobs(num_samples, **shape), blobs(9, seed=1, **shape))
    return outcome(training)


def assert_stack_equals_training_alone(optimizer, seeds=SEEDS, **options):
    stack = trained(optimizer, seeds, **options)
    assert_same_bits(stack, side_by_side([trained(optimizer, [seed], **options) for seed in seeds]))
    assert np.isfinite(stack["params"]).all()
    assert len(np.unique(stack["train/loss"][-1])) == len(seeds)


@BY_OPTIMIZER
@BY_DTYPE
@pytest.mark.parametrize("batch_size", [1, 5, 22, "full"])
def test_stack_equals_training_alone_for_every_optimizer(optimizer, dtype, batch_size):
    num_epochs = 2 if batch_size == 1 else 4
    assert_stack_equals_training_alone(
        optimizer, dtype=dtype, batch_size=batch_size, num_epochs=num_epochs, weight_decay=0.01, clip_norm=1.0
    )


@BY_DTYPE
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_stack_equals_training_alone_for_every_activation(activation, dtype):
    assert_stack_equals_training_alone("adam", activations=[ACTIVATIONS[activation]] * 2, dtype=dtype)


@BY_DTYPE
@pytest.mark.parametrize(("loss", "num_classes"), LOSSES_AND_CLASSES)
def test_stack_equals_training_alone_for_every_loss(loss, num_classes, dtype):
    loss = LOSSES[loss]
    layer_sizes = (5, 7, 4, loss.num_outputs(num_classes))
    assert_stack_equals_training_alone("adam", loss=loss, layer_sizes=layer_sizes, num_classes=num_classes, dtype=dtype)


@BY_DTYPE
@pytest.mark.parametrize("batch_size", [1, 3, "full"])
@pytest.mark.parametrize(
    "layer_sizes",
    [(5, 3), (5, 1, 3), (1, 1, 2), (1, 4, 2), (5, 17, 2), (5, 16, 33, 2)],
    ids=lambda sizes: "-".join(map(str, sizes)),
)
def test_stack_equals_training_alone_for_odd_sizes(layer_sizes, batch_size, dtype):
    assert_stack_equals_training_alone(
        "momentum",
        range(4),
        layer_sizes=layer_sizes,
        activations=[nn.Tanh()] * (len(layer_sizes) - 2),
        num_classes=layer_sizes[-1],
        num_features=layer_sizes[0],
        batch_size=batch_size,
        dtype=dtype,
    )


@BY_DTYPE
def test_stack_equals_training_alone_at_the_size_of_digits(dtype):
    assert_stack_equals_training_alone(
        "adam",
        range(5),
        layer_sizes=(64, 32, 10),
        activations=[nn.ReLU()],
        num_samples=1100,
        num_features=64,
        num_classes=10,
        batch_size=32,
        num_epochs=2,
        dtype=dtype,
    )


@BY_OPTIMIZER
def test_order_of_the_replicas_changes_nothing(optimizer):
    stack, reversed_stack = trained(optimizer), trained(optimizer, SEEDS[::-1])
    assert_same_bits(reversed_stack, replicas_of(stack, SEEDS[::-1]))


@BY_OPTIMIZER
def test_training_twice_gives_the_same_bits(optimizer):
    assert_same_bits(trained(optimizer), trained(optimizer))


@BY_OPTIMIZER
@BY_DTYPE
def test_learning_rate_of_each_replica_equals_training_alone_with_it(optimizer, dtype):
    rates = family("optimizer")[optimizer].options["learning_rate"] * np.array([0.3, 1.0, 3.1])
    settings = {"dtype": dtype, "schedule": nn.Cosine(final=0.1), "num_epochs": 4}
    stack = trained(optimizer, [5, 5, 6], options={"learning_rate": rates.reshape(3, 1)}, **settings)
    alone = [
        trained(optimizer, [seed], options={"learning_rate": rate}, **settings)
        for seed, rate in zip([5, 5, 6], rates.tolist(), strict=True)
    ]
    assert_same_bits(stack, side_by_side(alone))
    assert (stack["params"][:, 0] != stack["params"][:, 1]).any()


# Divergence.


@BY_DTYPE
@pytest.mark.parametrize("batch_size", [5, "full"])
@pytest.mark.parametrize("optimizer", ["gd", "momentum", "nesterov", "adam"])
def test_neighbour_with_a_wild_learning_rate_changes_nothing_for_the_others(optimizer, batch_size, dtype):
    rates = np.full((4, 1), 1e-3)
    rates[2] = 1e10 if dtype == np.float32 else 1e80
    settings = {"dtype": dtype, "batch_size": batch_size, "num_epochs": 6, **UNBOUNDED}
    stack = trained(optimizer, range(4), options={"learning_rate": rates}, **settings)
    calm = trained(optimizer, [0, 1, 3], options={"learning_rate": 1e-3}, **settings)
    wild = trained(optimizer, [2], options={"learning_rate": rates[2].item()}, **settings)
    assert_same_bits(replicas_of(stack, [0, 1, 3]), calm)
    assert_same_bits(replicas_of(stack, [2]), wild)
    assert (calm["diverged_step"] == -1).all()
    assert wild["diverged_step"] > 0


def overflow(model, replica=1):
    """Make the first forward pass of a replica overflow."""
    model.params[replica] *= np.sqrt(np.finfo(model.params.dtype).max)


@BY_OPTIMIZER
@BY_DTYPE
@pytest.mark.parametrize("batch_size", [5, "full"])
def test_diverging_neighbour_changes_nothing_for_the_others(optimizer, batch_size, dtype):
    settings = {"dtype": dtype, "batch_size": batch_size, "weight_decay": 0.01, "clip_norm": 1.0, **UNBOUNDED}
    stack = trained(optimizer, range(4), prepare=overflow, **settings)
    assert_same_bits(replicas_of(stack, [0, 2, 3]), trained(optimizer, [0, 2, 3], **settings))
    assert stack["diverged_step"].tolist() == [-1, 0, -1, -1]


def first_step_of_infinite_loss(seed, learning_rate, samples, *, num_epochs, batch_size):
    """Count the steps of gradient descent up to the first batch of non-finite loss, by a loop of its own.

    Returns that count and the parameters there, (1, num_params).
    """
    training = build_training("gd", [seed], **UNBOUNDED)
    model, order_rng = training.model, nn.spawn_rngs(seed)[1]
    num_steps = 0
    with np.errstate(all="ignore"):
        for _ in range(num_epochs):
            order = order_rng.permutation(len(samples.labels))
            for begin in range(0, len(order), batch_size):
                batch = order[begin : begin + batch_size]
                logits = model.forward(samples.inputs[batch])
                delta = np.empty_like(logits)
                if not np.isfinite(model.loss(logits, samples.labels[batch], delta)).all():
                    return num_steps, model.params
                model.backward(delta)
                model.params -= np.float32(learning_rate) * model.grads
                num_steps += 1
    raise AssertionError("the loss stayed finite")


@pytest.mark.parametrize("learning_rate", [1.3, 1.5, 30.0])
def test_divergence_is_marked_at_its_step_and_the_history_is_not_a_number_from_there_on(learning_rate):
    samples = blobs(23)
    rates = np.array([[0.01], [learning_rate]])
    training = build_training("gd", [0, 1], options={"learning_rate": rates}, num_epochs=8, batch_size=5, **UNBOUNDED)
    training.run(samples, blobs(9, seed=1))
    step, params = first_step_of_infinite_loss(1, learning_rate, samples, num_epochs=8, batch_size=5)
    assert step > 0
    assert training.diverged_step.tolist() == [-1, step]
    assert training.diverged.tolist() == [False, True]
    assert training.active.tolist() == [0]
    for name, values in training.history.items():
        assert np.isfinite(values[:, 0]).all(), name
        assert np.isnan(values[step // 5 :, 1]).all(), name
        assert np.isfinite(values[: step // 5, 1]).all(), name
    assert training.selected_epoch[1] == step // 5
    np.testing.assert_array_equal(training.selected_model().params[[1]], params)


def test_replica_that_is_finite_in_training_but_not_on_the_validation_split_has_diverged():
    training = build_training(
        "gd", [0, 1], options={"learning_rate": 1e-30}, batch_size="full", num_epochs=2, **UNBOUNDED
    )
    training.model.params[0] *= 0.01
    training.model.params[1] *= 10
    train, far_away = blobs(12), blobs(6, seed=1)
    far_away.inputs[:] *= 1e38
    training.run(train, far_away)
    assert training.diverged_step.tolist() == [-1, 1]
    assert np.isnan(training.history["train/loss"][:, 1]).all()


def test_training_ends_when_every_replica_has_diverged():
    training = build_training("adam", [0, 1], num_epochs=5, prepare=lambda model: overflow(model, [0, 1]), **UNBOUNDED)
    training.run(blobs(23), blobs(9, seed=1))
    assert training.finished
    assert training.epoch == 1
    assert training.diverged_step.tolist() == [0, 0]
    assert np.isnan(training.history["val/accuracy"]).all()
    assert training.selected_model().num_replicas == 2
