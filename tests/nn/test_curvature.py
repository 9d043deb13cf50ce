"""Second derivatives against differences of the first, and what is made of Hessian-vector products, in float64."""

from itertools import pairwise

import numpy as np
import pytest
from nn_cases import ACTIVATIONS, LOSSES, LOSSES_AND_CLASSES

from nnbench import nn
from nnbench.nn.activations import CurvedActivation
from nnbench.nn.losses import CurvedLoss

STEP = 1e-4  # the fourth-order difference below errs by about STEP^4, rounding by about 1e-16 / STEP
FROM_KINKS = 1e-2  # of ReLU at zero; no displacement of the parameters by 2 STEP of a unit vector crosses it
WEIGHT_DECAY = 0.3

CURVED_ACTIVATIONS = {name: part for name, part in ACTIVATIONS.items() if isinstance(part, CurvedActivation)}
CURVED_LOSSES = [case for case in LOSSES_AND_CLASSES if isinstance(LOSSES[case[0]], CurvedLoss)]
BY_BIAS = pytest.mark.parametrize("bias", [True, False], ids=["biases", "no_biases"])
BY_DTYPE = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def central_difference(function, step=STEP):
    """Return d function / dr at r = 0, of fourth order."""
    up, down, up_twice, down_twice = (function(k * step) for k in (1, -1, 2, -2))
    return (8 * (up - down) - (up_twice - down_twice)) / (12 * step)


def build(layer_sizes, activations, loss, *, num_classes=3, num_samples=6, num_replicas=1, bias=True, seed=0):
    """Return a model in float64 with its inputs and labels; the loss decides on the width of the last layer."""
    rngs = np.random.default_rng(seed).spawn(num_replicas)
    layer_sizes = (*layer_sizes, loss.num_outputs(num_classes))
    settings = {"num_replicas": num_replicas, "bias": bias, "dtype": np.float64}
    model = nn.MLP(layer_sizes, activations=activations, loss=loss, **settings)
    model.initialize(nn.Normal(weight_std=0.8, bias_std=0.5), rngs)
    inputs = rngs[0].standard_normal((num_samples, layer_sizes[0]))
    return model, inputs, np.arange(num_samples) % num_classes


def drawn(*args, **options):
    """Draw until no pre-activation lies near a kink."""
    for seed in range(1000):
        model, inputs, labels = build(*args, **options, seed=seed)
        logits = model.forward(inputs)
        # After `forward`, the buffers of the deltas still hold the pre-activations.
        if min(np.abs(z).min() for z in (*model.deltas, logits)) > FROM_KINKS:
            return model, inputs, labels
    raise RuntimeError("every draw is near a kink")


def smooth(**changes):
    """Return a network of two smooth hidden layers with its inputs and labels."""
    return build((3, 4, 5), [nn.Tanh(), nn.Sigmoid()], nn.SoftmaxCrossEntropy(), **changes)


def unit_vectors(model, *, seed=0):
    vector = np.random.default_rng(seed).standard_normal(model.params.shape)
    return (vector / np.linalg.norm(vector, axis=-1, keepdims=True)).astype(model.params.dtype)


def gradient(model, inputs, labels, weight_decay=0.0):
    """Return the gradient of the objective, (replicas, num_params), as training takes it."""
    logits = model.forward(inputs)
    delta = np.empty_like(logits)
    model.loss(logits, labels, delta)
    model.backward(delta)
    model.add_weight_decay(weight_decay)
    return model.grads.copy()


def hessian(model, inputs, labels, weight_decay=0.0):
    """Return the Hessian of a single replica: its columns are its products with the unit vectors, one replica each."""
    num_params = model.params.shape[-1]
    stack = model.with_params(np.repeat(model.params, num_params, axis=0))
    return nn.hessian_vector_product(stack, inputs, labels, np.eye(num_params), weight_decay=weight_decay).T


def assert_products_match(model, inputs, labels, weight_decay=0.0, product=nn.hessian_vector_product):
    """Compare weights and biases of each layer apart, so that a wrong small part does not hide behind a large one."""
    vector = unit_vectors(model)
    actual = model.with_params(product(model, inputs, labels, vector, weight_decay=weight_decay))
    numeric = model.with_params(
        central_difference(
            lambda r: gradient(model.with_params(model.params + r * vector), inputs, labels, weight_decay)
        )
    )
    parts = zip([*actual.weights, *actual.biases], [*numeric.weights, *numeric.biases], strict=True)
    for products, expected in parts:
        error = np.linalg.norm(products - expected)
        assert error < 1e-6 * np.linalg.norm(expected) + 1e-10


@pytest.mark.parametrize("activation", CURVED_ACTIVATIONS.values(), ids=CURVED_ACTIVATIONS)
def test_curvature_is_the_derivative_of_the_slope(activation):
    z = np.random.default_rng(0).uniform(0.01, 6, (3, 4, 5)) * np.random.default_rng(1).choice([-1, 1], (3, 4, 5))

    def applied(z):
        value, slope = np.empty_like(z), np.empty_like(z)
        activation(z, value, slope)
        return value, slope

    numeric = central_difference(lambda r: applied(z + r)[1])
    np.testing.assert_allclose(activation.curvature(z, *applied(z)), numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("loss", "num_classes"), CURVED_LOSSES)
def test_curvature_product_is_the_change_of_delta(loss, num_classes):
    loss = LOSSES[loss]
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(3, 11, loss.num_outputs(num_classes)))
    direction = rng.standard_normal(logits.shape)
    labels = rng.integers(num_classes, size=(3, 11))

    def delta(logits):
        delta = np.empty_like(logits)
        loss(logits, labels, delta)
        return delta

    numeric = central_difference(lambda r: delta(logits + r * direction))
    np.testing.assert_allclose(loss.curvature_product(logits, labels, direction), numeric, rtol=1e-6, atol=1e-10)


@BY_BIAS
@pytest.mark.parametrize(("loss", "num_classes"), CURVED_LOSSES)
@pytest.mark.parametrize("activation", CURVED_ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(4,), (4, 5)], ids=["one_hidden", "two_hidden"])
def test_product_is_the_change_of_the_gradient(hidden, activation, loss, num_classes, bias):
    activations = [CURVED_ACTIVATIONS[activation]] * len(hidden)
    model, inputs, labels = drawn((3, *hidden), activations, LOSSES[loss], num_classes=num_classes, bias=bias)
    assert_products_match(model, inputs, labels)
    assert_products_match(model, inputs, labels, WEIGHT_DECAY)


@BY_BIAS
@pytest.mark.parametrize(("loss", "num_classes"), CURVED_LOSSES)
def test_product_of_a_linear_model_is_the_change_of_the_gradient(loss, num_classes, bias):
    model, inputs, labels = drawn((3,), [], LOSSES[loss], num_classes=num_classes, bias=bias)
    assert_products_match(model, inputs, labels)
    assert_products_match(model, inputs, labels, WEIGHT_DECAY)


def test_product_holds_where_each_layer_has_its_own_activation():
    activations = [nn.Tanh(), nn.ReLU(), nn.Sigmoid()]
    assert_products_match(*drawn((3, 4, 6, 5), activations, nn.SoftmaxCrossEntropy()), WEIGHT_DECAY)


def test_hessian_is_symmetric_and_linear():
    model, inputs, labels = smooth(num_replicas=3)
    left, right = unit_vectors(model, seed=1), unit_vectors(model, seed=2)

    def product(vector):
        return nn.hessian_vector_product(model, inputs, labels, vector, weight_decay=WEIGHT_DECAY)

    np.testing.assert_allclose(np.vecdot(left, product(right)), np.vecdot(right, product(left)), rtol=1e-12)
    np.testing.assert_allclose(
        product(2 * left - 3 * right), 2 * product(left) - 3 * product(right), rtol=1e-9, atol=1e-13
    )


def test_product_leaves_parameters_gradients_and_vector_as_they_are():
    model, inputs, labels = smooth()
    vector = unit_vectors(model)
    gradient(model, inputs, labels)
    before = [array.copy() for array in (model.params, model.grads, vector)]
    nn.hessian_vector_product(model, inputs, labels, vector, weight_decay=WEIGHT_DECAY)
    for array, wanted in zip((model.params, model.grads, vector), before, strict=True):
        np.testing.assert_array_equal(array, wanted)


# A mistaken product must fail the very check that ours passes.


def without_bend(model, inputs, labels, vector, *, weight_decay):
    """The Gauss-Newton-like product that leaves out f''."""

    class Straight(nn.Tanh):
        def curvature(self, z, value, slope):
            return np.zeros_like(z)

    straight = nn.MLP(model.layer_sizes, activations=[Straight()] * 2, loss=model.loss, dtype=np.float64)
    straight.params[:] = model.params
    return nn.hessian_vector_product(straight, inputs, labels, vector, weight_decay=weight_decay)


def with_decayed_biases(model, inputs, labels, vector, *, weight_decay):
    return nn.hessian_vector_product(model, inputs, labels, vector) + weight_decay * vector


@pytest.mark.parametrize("mistaken", [without_bend, with_decayed_biases])
def test_differences_reveal_a_mistaken_product(mistaken):
    case = drawn((3, 4, 5), [nn.Tanh()] * 2, nn.SoftmaxCrossEntropy())
    assert_products_match(*case, WEIGHT_DECAY)
    with pytest.raises(AssertionError):
        assert_products_match(*case, WEIGHT_DECAY, product=mistaken)


def test_activation_that_does_not_know_its_curvature_trains_but_has_no_product():
    class Cubed:
        gain, family = 1.0, "linear"

        def __call__(self, z, value, slope):
            np.power(z, 3, out=value)
            np.multiply(3, z**2, out=slope)

        def __repr__(self):
            return "Cubed()"

    model, inputs, labels = build((3, 4), [Cubed()], nn.SoftmaxCrossEntropy())
    assert np.isfinite(gradient(model, inputs, labels)).all()
    with pytest.raises(TypeError, match=r"the activation Cubed\(\) has no method curvature, its second derivative"):
        nn.hessian_vector_product(model, inputs, labels, unit_vectors(model))


def test_loss_that_does_not_know_its_curvature_has_no_product():
    class Bare:
        def __init__(self):
            kept = nn.SoftmaxCrossEntropy()
            self.num_outputs, self.probabilities, self.predict = kept.num_outputs, kept.probabilities, kept.predict

        def __call__(self, logits, labels, delta):
            return nn.SoftmaxCrossEntropy()(logits, labels, delta)

    model, inputs, labels = build((3, 4), [nn.Tanh()], Bare())
    with pytest.raises(TypeError, match="has no method curvature_product; add it to its class"):
        nn.hessian_vector_product(model, inputs, labels, unit_vectors(model))


# The largest eigenvalue.


def eigenvalues(model, inputs, labels, weight_decay=0.0):
    """Return the eigenvalues of a single replica's Hessian, in ascending order."""
    matrix = hessian(model, inputs, labels, weight_decay)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-14)
    return np.linalg.eigvalsh(matrix)


@pytest.mark.parametrize("weight_decay", [0.0, WEIGHT_DECAY])
@pytest.mark.parametrize("activation", CURVED_ACTIVATIONS)
def test_largest_eigenvalue_is_that_of_the_whole_hessian(activation, weight_decay):
    model, inputs, labels = build((3, 4), [CURVED_ACTIVATIONS[activation]], nn.SoftmaxCrossEntropy(), num_samples=20)
    wanted = eigenvalues(model, inputs, labels, weight_decay)[-1]
    loose = nn.largest_eigenvalue(model, inputs, labels, weight_decay=weight_decay)
    tight = nn.largest_eigenvalue(model, inputs, labels, weight_decay=weight_decay, tolerance=1e-10, max_products=2000)
    assert loose == pytest.approx(wanted, rel=0.05)
    assert tight == pytest.approx(wanted, rel=1e-6)
    assert loose <= wanted * (1 + 1e-12)


def on_a_summit():
    """A model whose most curved direction goes down: large outputs, and half of the targets on the wrong side."""
    model, inputs, _ = build((2,), [], nn.MeanSquaredError(output="sigmoid"), num_classes=2, num_samples=8)
    model.params[:] = np.where(model.params > 0, 1.0, -1.0)
    return model, inputs, 1 - nn.MeanSquaredError().predict(model.logits(inputs))[0]


def at_a_saddle():
    """A linear network of two layers at the origin: each eigenvalue but zero has one of opposite sign."""
    model, inputs, labels = build((3, 4), [nn.Identity()], nn.SoftmaxCrossEntropy(), bias=False)
    model.params[:] = 0
    return model, inputs, labels


@pytest.mark.parametrize("case", [on_a_summit, at_a_saddle])
def test_largest_eigenvalue_is_found_behind_a_negative_one(case):
    model, inputs, labels = case()
    spectrum = eigenvalues(model, inputs, labels)
    assert spectrum[0] <= -spectrum[-1] + 1e-12
    assert spectrum[-1] > 0
    found = nn.largest_eigenvalue(model, inputs, labels, tolerance=1e-8, max_products=1000)
    assert found == pytest.approx(spectrum[-1], rel=1e-4)


def test_largest_eigenvalue_short_of_convergence_is_a_lower_bound_that_rises():
    model, inputs, labels = smooth(num_samples=30)
    wanted = eigenvalues(model, inputs, labels)[-1]
    bounds = [
        nn.largest_eigenvalue(model, inputs, labels, tolerance=0, max_products=count).item()
        for count in (1, 2, 4, 8, 300)
    ]
    assert all(lower < higher for lower, higher in pairwise(bounds))
    assert bounds[-1] == pytest.approx(wanted, rel=1e-6)


def test_largest_eigenvalue_of_a_hessian_of_zeros_is_0():
    model, inputs, labels = build((3, 4), [nn.ReLU()], nn.MeanSquaredError(output="leaky_relu", negative_slope=0.0))
    model.params[:] = 0
    model.biases[-1][:] = -1  # so that no output has a slope
    np.testing.assert_array_equal(nn.largest_eigenvalue(model, inputs, labels), [0.0])


def test_largest_eigenvalue_too_large_to_be_squared_is_not_a_number():
    model, inputs, labels = build((3,), [], nn.MeanSquaredError(output="identity"))
    assert np.isfinite(nn.largest_eigenvalue(model, 1e70 * inputs, labels)).all()
    assert np.isnan(nn.largest_eigenvalue(model, 1e100 * inputs, labels)).all()


@BY_DTYPE
@pytest.mark.parametrize("broken", [np.nan, np.inf, "largest"])
def test_replica_that_is_not_finite_is_not_a_number_alone(broken, dtype):
    model, inputs, labels = smooth(num_replicas=3)
    model, inputs = model.with_params(model.params.astype(dtype)), inputs.astype(dtype)
    healthy = nn.largest_eigenvalue(model, inputs, labels)
    model.params[1] = np.finfo(dtype).max if broken == "largest" else broken
    found = nn.largest_eigenvalue(model, inputs, labels)
    np.testing.assert_array_equal(found, [healthy[0], np.nan, healthy[2]])
    ratios = nn.gradient_signal_to_noise(model, own_batches(model, 3))
    assert np.isnan(ratios[1]).all()
    assert np.isfinite(ratios[[0, 2]]).all()


# The signal in the gradient.


def own_batches(model, num_batches, *, batch_size=4, seed=0):
    """Draw mini-batches of each replica's own samples: inputs (replicas, batch, features), labels (replicas, batch)."""
    shape = (model.num_replicas, batch_size)
    rngs = np.random.default_rng(seed).spawn(num_batches)
    return [
        (
            rng.standard_normal((*shape, model.layer_sizes[0])).astype(model.params.dtype),
            rng.integers(model.layer_sizes[-1], size=shape),
        )
        for rng in rngs
    ]


def test_signal_to_noise_is_that_of_the_formula():
    model, _, _ = smooth(num_replicas=3)
    batches = own_batches(model, 5)
    grads = np.stack([gradient(model, *batch, WEIGHT_DECAY) for batch in batches])  # (batches, replicas, num_params)
    wanted = []
    for part in [*model.layer_slices, slice(None)]:
        noise = grads[..., part].var(axis=0, ddof=1).sum(axis=-1)
        signal = (grads[..., part].mean(axis=0) ** 2).sum(axis=-1) - noise / 5
        wanted.append(np.maximum(signal, 0) / noise)
    actual = nn.gradient_signal_to_noise(model, iter(batches), weight_decay=WEIGHT_DECAY)
    np.testing.assert_allclose(actual, np.stack(wanted, axis=-1), rtol=1e-12)
    assert actual.shape == (3, 4)
    assert (actual > 0).any()


def test_signal_to_noise_grows_with_the_batch_size_as_the_noise_scale_says():
    """Batch size / ratio is nearly tr(covariance of one sample's gradient) / |true gradient|^2."""
    model, _, _ = smooth()
    num_samples = 6000
    inputs, labels = own_batches(model, 1, batch_size=num_samples)[0]
    stack = model.with_params(np.repeat(model.params, num_samples, axis=0))
    per_sample = gradient(stack, inputs.swapaxes(0, 1), labels.T)
    noise_scale = per_sample.var(axis=0).sum() / np.square(per_sample.mean(axis=0)).sum()
    for batch_size in (2, 10):
        pieces = num_samples // batch_size
        batches = zip(np.split(inputs, pieces, axis=1), np.split(labels, pieces, axis=1), strict=True)
        ratio = nn.gradient_signal_to_noise(model, batches)[0, -1]
        assert batch_size / ratio == pytest.approx(noise_scale, rel=0.1)


@pytest.mark.parametrize("num_batches", [0, 1])
def test_signal_to_noise_needs_two_batches(num_batches):
    model, _, _ = smooth(num_replicas=2)
    ratios = nn.gradient_signal_to_noise(model, own_batches(model, num_batches))
    np.testing.assert_array_equal(ratios, np.full((2, 4), np.nan))


@pytest.mark.parametrize("num_batches", [2, 3, 7])
def test_batches_that_agree_are_all_signal(num_batches):
    model, _, _ = smooth(num_replicas=2)
    same = own_batches(model, 1) * num_batches
    np.testing.assert_array_equal(nn.gradient_signal_to_noise(model, same), np.full((2, 4), np.inf))


def test_layer_without_any_gradient_has_no_signal():
    model, _, _ = build((3, 4), [nn.ReLU()], nn.SoftmaxCrossEntropy())
    model.biases[0][:] = -100  # no unit is ever on
    ratios = nn.gradient_signal_to_noise(model, own_batches(model, 4))
    assert ratios[0, 0] == 0
    assert ratios[0, 1] == ratios[0, 2]


# A replica has the same bits alone and in a stack.


def measured(model, inputs, labels, batches):
    return (
        nn.hessian_vector_product(model, inputs, labels, unit_vectors_of_rows(model), weight_decay=WEIGHT_DECAY),
        nn.largest_eigenvalue(model, inputs, labels, weight_decay=WEIGHT_DECAY),
        nn.gradient_signal_to_noise(model, batches, weight_decay=WEIGHT_DECAY),
    )


def unit_vectors_of_rows(model):
    """The direction of each replica's own parameters, whichever stack it is in."""
    return model.params / np.linalg.norm(model.params, axis=-1, keepdims=True)


@BY_DTYPE
@BY_BIAS
@pytest.mark.parametrize("shared", [True, False], ids=["same_samples", "own_samples"])
@pytest.mark.parametrize(("loss", "num_classes"), CURVED_LOSSES)
def test_stack_equals_alone(loss, num_classes, shared, bias, dtype):
    activations = [nn.Tanh(), nn.LeakyReLU(negative_slope=0.1)]
    model, inputs, labels = build(
        (3, 6, 5), activations, LOSSES[loss], num_classes=num_classes, num_samples=17, num_replicas=7, bias=bias
    )
    scale = np.linspace(0.2, 3, 7)[:, np.newaxis]  # so that some converge long before others
    model = model.with_params((model.params * scale).astype(dtype))
    batches = own_batches(model, 3)
    if not shared:
        inputs = inputs * np.linspace(0.5, 1.5, 7)[:, np.newaxis, np.newaxis]
        labels = np.stack([np.roll(labels, replica) for replica in range(7)])
    inputs = inputs.astype(dtype)

    stack = measured(model, inputs, labels, batches)
    assert all(np.isfinite(values).all() for values in stack)
    assert len(np.unique(stack[1])) == 7
    for replica in range(7):
        row = slice(replica, replica + 1)
        own = (inputs, labels) if shared else (inputs[row], labels[row])
        own_rows = [(x[row], y[row]) for x, y in batches]
        alone = measured(model.with_params(model.params[row]), *own, own_rows)
        for values, wanted in zip(stack, alone, strict=True):
            np.testing.assert_array_equal(values[row], wanted, strict=True)
