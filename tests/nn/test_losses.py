"""Losses: their values by naive formulas, their probabilities and predictions, and no overflow at any finite logit."""

from itertools import product

import numpy as np
import pytest
from nn_cases import LOSSES, LOSSES_AND_CLASSES

from nnbench import nn
from nnbench.nn.activations import sigmoid
from nnbench.nn.losses import softmax

BY_LOSS_AND_CLASSES = pytest.mark.parametrize(("loss", "num_classes"), LOSSES_AND_CLASSES)


def applied(loss, logits, labels):
    """Return the loss and its gradient, from a buffer that held something else before."""
    delta = np.full_like(logits, np.nan)
    return loss(logits, labels, delta), delta


def drawn(loss, num_classes, *, scale=3.0, dtype=np.float64):
    """Draw logits of 3 replicas and 11 samples, with labels."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=scale, size=(3, 11, loss.num_outputs(num_classes)))
    return logits.astype(dtype), rng.integers(num_classes, size=11)


# The formulas of the docstrings, sample by sample, without any care for overflow.


def naive_outputs(output, z, negative_slope):
    return {
        "sigmoid": 1 / (1 + np.exp(-z)),
        "softmax": np.exp(z) / np.exp(z).sum(),
        "leaky_relu": np.where(z > 0, z, negative_slope * z),
        "identity": z,
    }[output]


def naive_targets(loss, label, num_outputs):
    if num_outputs == 1:
        return np.array([loss.high if label == 1 else loss.low])
    return np.array([loss.high if label == output else loss.low for output in range(num_outputs)])


def naive_softmax_cross_entropy(loss, z, label):
    return -np.log(np.exp(z[label]) / np.exp(z).sum())


def naive_binary_cross_entropy(loss, z, label):
    a, t = 1 / (1 + np.exp(-z)), naive_targets(loss, label, len(z))
    return -(t * np.log(a) + (1 - t) * np.log(1 - a)).sum()


def naive_mean_squared_error(loss, z, label):
    a, t = naive_outputs(loss.output, z, loss.negative_slope), naive_targets(loss, label, len(z))
    return 0.5 * ((a - t) ** 2).sum()


NAIVE = {
    nn.SoftmaxCrossEntropy: naive_softmax_cross_entropy,
    nn.BinaryCrossEntropy: naive_binary_cross_entropy,
    nn.MeanSquaredError: naive_mean_squared_error,
}


@pytest.mark.parametrize(
    ("loss", "num_classes"), [case for case in LOSSES_AND_CLASSES if type(LOSSES[case[0]]) in NAIVE]
)
def test_loss_is_the_mean_of_the_formula_over_the_batch(loss, num_classes):
    loss = LOSSES[loss]
    logits, labels = drawn(loss, num_classes)
    wide = logits.astype(np.longdouble)
    wanted = [np.mean([NAIVE[type(loss)](loss, *pair) for pair in zip(rows, labels, strict=True)]) for rows in wide]
    np.testing.assert_allclose(applied(loss, logits, labels)[0], np.array(wanted, dtype=np.float64), rtol=1e-12)


@BY_LOSS_AND_CLASSES
def test_loss_in_float32_is_that_in_float64_nearly(loss, num_classes):
    loss = LOSSES[loss]
    logits, labels = drawn(loss, num_classes, dtype=np.float32)
    value, delta = applied(loss, logits, labels)
    wanted, wanted_delta = applied(loss, logits.astype(np.float64), labels)
    assert (value.dtype, delta.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_allclose(delta, wanted_delta, rtol=1e-5, atol=1e-7)


@BY_LOSS_AND_CLASSES
def test_each_replica_may_have_its_own_labels(loss, num_classes):
    loss = LOSSES[loss]
    logits, labels = drawn(loss, num_classes)
    own = np.stack([labels, (labels + 1) % num_classes, labels[::-1]])
    value, delta = applied(loss, logits, own)
    for replica in range(3):
        alone = applied(loss, logits[[replica]], own[replica])
        np.testing.assert_array_equal(value[[replica]], alone[0])
        np.testing.assert_array_equal(delta[[replica]], alone[1])


@pytest.mark.parametrize(
    ("dtype", "size"), [(np.float32, 1e4), (np.float32, 3e38), (np.float64, 1e4), (np.float64, 1e150)]
)
@BY_LOSS_AND_CLASSES
def test_any_finite_logit_gives_a_finite_loss_gradient_and_probability(loss, num_classes, dtype, size):
    loss = LOSSES[loss]
    rows = np.array(list(product([-size, 0, size], repeat=loss.num_outputs(num_classes))), dtype)[np.newaxis]
    for label in range(num_classes):
        value, delta = applied(loss, rows, np.full(rows.shape[1], label))
        assert np.isfinite(value).all()
        assert np.isfinite(delta).all()
    probabilities = loss.probabilities(rows)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert set(loss.predict(rows).flat) <= set(range(num_classes))


@BY_LOSS_AND_CLASSES
def test_logits_at_the_end_of_float64_give_a_finite_gradient_and_never_not_a_number(loss, num_classes):
    loss = LOSSES[loss]
    rows = np.array(list(product([-1e308, 0, 1e308], repeat=loss.num_outputs(num_classes))))[np.newaxis]
    with np.errstate(over="ignore"):  # the loss itself may be too large for float64
        value, delta = applied(loss, rows, np.zeros(rows.shape[1], dtype=int))
    assert not np.isnan(value).any()
    assert np.isfinite(delta).all()


def test_cross_entropy_far_out_is_the_distance_of_the_logits():
    logits = np.array([[[8e307, 0, -8e307]]])
    values = [applied(nn.SoftmaxCrossEntropy(), logits, np.array([label]))[0].item() for label in range(3)]
    assert values == [0, 8e307, 1.6e308]
    wide = np.array([[[1e308]]])
    assert [applied(nn.BinaryCrossEntropy(), wide, np.array([label]))[0].item() for label in (1, 0)] == [0, 1e308]


def test_small_cross_entropy_survives_large_logits():
    logits = np.array([[[1e6, 1e6 - 30]]])
    assert applied(nn.SoftmaxCrossEntropy(), logits, np.array([0]))[0].item() == pytest.approx(
        np.exp(-30), rel=1e-2, abs=0
    )


def test_half_squared_distance_by_hand():
    logits = np.array([[[1.0, 3.0], [-1.0, 0.0]]])
    value, delta = applied(nn.MeanSquaredError(output="identity"), logits, np.array([0, 1]))
    assert value == [((0 + 9) / 2 + (1 + 1) / 2) / 2]
    np.testing.assert_array_equal(delta, [[[0, 1.5], [-0.5, -0.5]]])


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_single_output_stands_for_the_second_of_two_classes(loss):
    if loss.num_outputs(2) != 1:
        assert loss.num_outputs(2) == 2
        return
    probabilities = loss.probabilities(np.array([[[-1.0], [0.0], [2.0]]]))
    assert probabilities.shape == (1, 3, 2)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1)
    assert (np.diff(probabilities[0, :, 1]) >= 0).all()
    assert probabilities[0, 2, 1] > 0.5


@pytest.mark.parametrize(
    ("loss", "threshold"),
    [
        (nn.BinaryCrossEntropy(), 0.0),
        (nn.BinaryCrossEntropy(low=0.0, high=0.5), np.log(1 / 3)),
        (nn.MeanSquaredError(output="sigmoid"), 0.0),
        (nn.MeanSquaredError(output="identity"), 0.5),
        (nn.MeanSquaredError(output="identity", low=-1.0, high=1.0), 0.0),
        (nn.MeanSquaredError(output="leaky_relu", negative_slope=0.5, low=-1.0, high=0.0), -1.0),
    ],
    ids=repr,
)
def test_single_output_is_read_by_its_nearer_target(loss, threshold):
    logits = np.array([[[threshold - 0.01], [threshold + 0.01]]])
    assert loss.predict(logits).tolist() == [[0, 1]]


@BY_LOSS_AND_CLASSES
def test_predicted_label_is_the_most_probable(loss, num_classes):
    loss = LOSSES[loss]
    logits, _ = drawn(loss, num_classes, scale=0.4)
    if hasattr(loss, "low"):
        logits = logits % 0.6 + 0.15  # within the targets, beyond which probabilities are clipped
    np.testing.assert_array_equal(loss.predict(logits), loss.probabilities(logits).argmax(axis=-1))


def test_outputs_are_read_as_probabilities_between_the_targets():
    loss = nn.MeanSquaredError(output="identity", low=-1.0, high=3.0)
    np.testing.assert_allclose(loss.probabilities(np.array([[[-5.0, -1.0, 1.0, 3.0, 9.0]]])), [[[0, 0, 0.5, 1, 1]]])
    loss = nn.BinaryCrossEntropy(low=0.1, high=0.8)
    logits = np.log(
        np.array([[[0.05], [0.24], [0.45], [0.66], [0.9]]]) / np.array([[[0.95], [0.76], [0.55], [0.34], [0.1]]])
    )
    np.testing.assert_allclose(loss.probabilities(logits)[0, :, 1], [0, 0.2, 0.5, 0.8, 1], atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", [nn.SoftmaxCrossEntropy(), nn.MeanSquaredError(output="softmax")], ids=repr)
def test_softmax_probabilities_sum_to_1(loss, dtype):
    logits = np.random.default_rng(0).normal(scale=100, size=(3, 50, 10)).astype(dtype)
    np.testing.assert_allclose(loss.probabilities(logits).sum(axis=-1), 1, rtol=1e-6)


def test_softmax_regression_gradient_is_probability_less_truth():
    logits, labels = drawn(nn.SoftmaxCrossEntropy(), 4)
    delta = applied(nn.SoftmaxCrossEntropy(), logits, labels)[1]
    np.testing.assert_allclose(delta * 11, softmax(logits) - np.eye(4)[labels], atol=1e-15)


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (nn.BinaryCrossEntropy, {"low": 0.5, "high": 0.5}, "low is 0.5 and high is 0.5; low must be below high"),
        (nn.BinaryCrossEntropy, {"low": -1.0}, "low and high are -1.0 and 1.0; they are probabilities and must lie in"),
        (nn.BinaryCrossEntropy, {"high": 1.1}, "low and high are 0.0 and 1.1; they are probabilities"),
        (nn.BinaryCrossEntropy, {"low": np.nan}, "low is nan and high is 1.0; low must be below high"),
        (nn.MeanSquaredError, {"low": 2.0}, "low is 2.0 and high is 1.0; low must be below high"),
        (nn.MeanSquaredError, {"high": np.inf}, "low is 0.0 and high is inf; low must be below high, and both finite"),
        (
            nn.MeanSquaredError,
            {"output": "tanh"},
            "output is 'tanh'; it must be sigmoid, softmax, leaky_relu or identity",
        ),
        (nn.MeanSquaredError, {"negative_slope": 1.5}, "negative_slope is 1.5; it must be at least 0 and below 1"),
    ],
)
def test_options_out_of_range_are_refused(loss, options, message):
    with pytest.raises(ValueError, match=message):
        loss(**options)


# What the origins got wrong; each must fail the very check that ours passes.


def softmax_that_overflows(z):
    return np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)


def softmax_over_the_whole_batch(z):
    exponentials = np.exp(z - z.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum()


def softmax_shifted_by_the_global_maximum(z):
    exponentials = np.exp(z - z.max())
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def check_softmax_row_by_row(function, rows):
    """The rows are shifted copies of each other, so their probabilities are the same, e^k over the sum of e^k."""
    wanted = np.exp([0.0, 1.0, 2.0]) / np.exp([0.0, 1.0, 2.0]).sum()
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(function(rows), np.broadcast_to(wanted, rows.shape), rtol=1e-12)


NEAR = np.array([[[0.0, 1, 2], [1, 2, 3]]])
FAR_APART = np.array([[[0.0, 1, 2], [-900, -899, -898]]])
LARGE = np.array([[[900.0, 901, 902], [900, 901, 902]]])


@pytest.mark.parametrize("rows", [NEAR, FAR_APART, LARGE], ids=["near", "far_apart", "large"])
@pytest.mark.parametrize("function", [softmax, nn.SoftmaxCrossEntropy().probabilities], ids=["softmax", "loss"])
def test_softmax_is_taken_row_by_row_and_shifted_by_its_own_maximum(function, rows):
    check_softmax_row_by_row(function, rows)


@pytest.mark.parametrize(
    ("mistaken", "rows"),
    [
        (softmax_that_overflows, LARGE),
        (softmax_over_the_whole_batch, NEAR),
        (softmax_shifted_by_the_global_maximum, FAR_APART),
    ],
)
def test_a_mistaken_softmax_is_revealed(mistaken, rows):
    with pytest.raises(AssertionError):
        check_softmax_row_by_row(mistaken, rows)


def binary_cross_entropy_of_a_rounded_sigmoid(logits, labels):
    a = sigmoid(logits[..., 0])
    return -np.mean(labels * np.log(a) + (1 - labels) * np.log(1 - a), axis=-1)


def softmax_cross_entropy_of_a_rounded_softmax(logits, labels):
    return -np.mean(
        np.log(np.take_along_axis(softmax(logits), labels[np.newaxis, :, np.newaxis], axis=-1)), axis=(1, 2)
    )


def check_confident_mistake(function, logits):
    """A confident wrong answer costs as much as its logit is far from the label's."""
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(function(logits, np.array([0])), [800.0], rtol=1e-12)


SECOND_BY_800 = np.array([[[0.0, 800.0]]])


def test_a_confident_mistake_has_a_finite_cost():
    check_confident_mistake(lambda logits, labels: applied(nn.SoftmaxCrossEntropy(), logits, labels)[0], SECOND_BY_800)
    check_confident_mistake(
        lambda logits, labels: applied(nn.BinaryCrossEntropy(), logits, labels)[0], SECOND_BY_800[..., 1:]
    )


def test_the_logarithm_of_a_rounded_probability_is_revealed():
    with pytest.raises(AssertionError):
        check_confident_mistake(softmax_cross_entropy_of_a_rounded_softmax, SECOND_BY_800)
    with pytest.raises(AssertionError):
        check_confident_mistake(binary_cross_entropy_of_a_rounded_sigmoid, SECOND_BY_800[..., 1:])
