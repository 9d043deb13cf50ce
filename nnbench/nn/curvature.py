"""The shape of the objective around the present parameters: Hessian-vector products, sharpness, gradient noise.

The Hessian of a network with a thousand parameters has a million entries, but its product with a vector costs no more
than a few gradients. Everything works on a stack: a vector is (replicas, num_params), one for each replica, and a
replica has the same bits alone and among others. Nothing here trains or is needed for training; all of it calls
`model.forward`, so the buffers of the model hold another batch afterwards.
"""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nnbench.nn.activations import CurvedActivation
from nnbench.nn.losses import CurvedLoss
from nnbench.nn.mlp import MLP

START_SEED = 1994  # of the vector from which every power iteration starts


@np.errstate(all="ignore")  # the Hessian of a diverged replica is not a number, not a warning
def hessian_vector_product(
    model: MLP, inputs: NDArray, labels: NDArray, vector: NDArray, *, weight_decay: float = 0.0
) -> NDArray:
    """Return the Hessian of each replica's objective times its `vector`, (replicas, num_params), without the Hessian.

    R{q} is the change of a quantity q as the parameters move along v: R{q} = d/dr q(params + r v) at r = 0. It obeys
    the rules of a derivative, R{params} = v and R{gradient} = H v. So applying R to each line of the forward and the
    backward pass gives the product exactly, in one more pass of each. With V, c the weights and biases in v:

        z = x W + b                  R{z} = x V + c + R{x} W
        y = f(z)                     R{y} = f'(z) R{z}
        delta = f'(z) e              R{delta} = f'(z) R{e} + f''(z) R{z} e        e = delta_above W_above^T
        grad W = x^T delta           R{grad W} = x^T R{delta} + R{x}^T delta
        grad b = sum delta           R{grad b} = sum R{delta}

    Pearlmutter, 1994, Fast exact multiplication by the Hessian, Neural Computation 6(1), section 4. At the kink of a
    rectifier f'' counts as 0, as its slope counts as 0 or a.

    `inputs` is (batch, features) for all replicas or (replicas, batch, features), `labels` (batch,) or (replicas,
    batch), `vector` (replicas, num_params) in the dtype of the model. The objective is the mean loss over these samples
    plus the L2 penalty, whose Hessian is `weight_decay` for weights and 0 for biases. `model.grads` stays as it is.
    A TypeError where an activation or the loss does not know its second derivative.
    """
    activations, loss = _curved(model)
    along = model.with_params(vector)  # v as a network: V, c are its weights and biases, H v becomes its gradient
    logits = model.forward(inputs)
    delta = np.empty_like(logits)
    loss(logits, labels, delta)

    input_changes = []  # R{x} of all layers but the first, whose x is given
    z_changes = [_affine(along, 0, inputs)]  # R{z}
    for layer, slope in enumerate(model.slopes, start=1):
        input_changes.append(slope * z_changes[-1])
        z_change = _affine(along, layer, model.layer_inputs[layer])
        z_change += input_changes[-1] @ model.weights[layer]
        z_changes.append(z_change)

    delta_change = loss.curvature_product(logits, labels, z_changes[-1])  # R{delta}
    for layer in reversed(range(len(model.weights))):
        np.matmul(model.layer_inputs[layer].swapaxes(-1, -2), delta_change, out=along.weight_grads[layer])
        if model.bias:
            np.sum(delta_change, axis=-2, keepdims=True, out=along.bias_grads[layer])
        if layer > 0:
            below = layer - 1
            along.weight_grads[layer] += input_changes[below].swapaxes(-1, -2) @ delta
            error = delta @ model.weights[layer].swapaxes(-1, -2)
            error_change = delta_change @ model.weights[layer].swapaxes(-1, -2)
            error_change += delta @ along.weights[layer].swapaxes(-1, -2)
            # After `forward`, the buffers of the deltas still hold the pre-activations.
            z, value, slope = model.deltas[below], model.layer_inputs[layer], model.slopes[below]
            bend = activations[below].curvature(z, value, slope)
            delta_change = slope * error_change + bend * z_changes[below] * error
            delta = slope * error

    for weight_products, weights in zip(along.weight_grads, along.weights, strict=True):
        weight_products += weight_decay * weights
    return along.grads


@np.errstate(all="ignore")
def largest_eigenvalue(
    model: MLP,
    inputs: NDArray,
    labels: NDArray,
    *,
    weight_decay: float = 0.0,
    tolerance: float = 1e-3,
    max_products: int = 30,
) -> NDArray:
    """Return the (algebraically) largest eigenvalue of each replica's Hessian, the sharpness, (replicas,) in float64.

    Power iteration, v <- H v / |H v|, turns v towards the eigenvector whose eigenvalue is largest in magnitude, and
    |H v| grows to that magnitude. Where v . H v falls short of it, that eigenvalue is negative, or two of opposite sign
    are equally large. Then a second iteration, on H + |H v| I, whose eigenvalues are the same ones moved up to where
    the largest is also the largest in magnitude.

    An iteration ends when a product changes both v . H v and the length of the product by at most `tolerance` of
    themselves, or after `max_products`. The result is the largest v . H v met. No such quotient exceeds the largest
    eigenvalue, so where the cap was reached it is a lower bound. It remains one after convergence and may fall short
    by more than the tolerance: where the next eigenvalues are close, many small changes are still to come. A Hessian of
    zeros gives 0, parameters or products that are not finite give NaN. Arguments as in `hessian_vector_product`.
    """
    hessian = partial(hessian_vector_product, model, inputs, labels, weight_decay=weight_decay)
    iterate = partial(_power_iteration, hessian, model.params, tolerance=tolerance, max_products=max_products)
    largest, magnitude = iterate(shift=np.zeros(model.num_replicas), running=np.full(model.num_replicas, True))
    short = largest < (1 - tolerance) * magnitude
    if short.any():
        largest_of_shifted, _ = iterate(shift=magnitude, running=short)
        largest = np.where(short, np.maximum(largest, largest_of_shifted), largest)
    return largest


@np.errstate(all="ignore")
def gradient_signal_to_noise(
    model: MLP, batches: Iterable[tuple[NDArray, NDArray]], *, weight_decay: float = 0.0
) -> NDArray:
    """Return how far each layer's gradient, and last the whole one, stands out of its noise, (replicas, layers + 1).

    The squared norm of the true gradient G over the variance of the gradient g of one mini-batch, the trace of its
    covariance, from K mini-batches of equal size at the present parameters:

        noise = sum |g - mean g|^2 / (K - 1)        signal = |mean g|^2 - noise / K        ratio = signal / noise

    Both estimates are unbiased (the ratio is not): |mean g|^2 alone expects |G|^2 + noise / K. They are those of
    McCandlish et al., 2018, arXiv:1812.06162, appendix A.1, with one mini-batch as the small batch and all K together
    as the big one. Their simple noise scale (section 2.2), tr(covariance of one sample's gradient) / |G|^2, is the
    batch size over this ratio: at a ratio of 1 the batch is as large as the noise scale. Batches drawn without
    replacement vary less than their theory assumes once they are a large part of the data.

    A signal below 0, where noise hides the gradient, counts as 0. Mini-batches that all agree have a ratio of infinity,
    or of 0 where their gradient is 0. Fewer than two mini-batches, and parameters or gradients that are not finite,
    give NaN. `batches` are inputs (replicas, batch, features) with labels (replicas, batch); `weight_decay` adds the
    gradient of the L2 penalty to the signal. Overwrites `model.grads`.
    """
    mean = np.zeros(model.params.shape)
    scatter = np.zeros((model.num_replicas, len(model.weights)))  # sum |g - mean g|^2 so far, by layer
    num_batches = 0
    for inputs, labels in batches:
        num_batches += 1
        _fill_grads(model, inputs, labels, weight_decay)
        # Welford, 1962, Technometrics 4(3): one pass, and equal gradients have a scatter of exactly 0.
        change = model.grads - mean
        mean += change / num_batches
        scatter += (1 - 1 / num_batches) * _squared_norms(model, change)

    noise = scatter / (num_batches - 1)  # not a number, nor is the ratio, where there is no second mini-batch
    signal = _squared_norms(model, mean) - noise / num_batches
    noise = np.concatenate([noise, noise.sum(axis=-1, keepdims=True)], axis=-1)
    signal = np.concatenate([signal, signal.sum(axis=-1, keepdims=True)], axis=-1)
    signal = np.maximum(signal, 0)
    return np.where(signal == 0, 0, signal / noise)


def _curved(model: MLP) -> tuple[list[CurvedActivation], CurvedLoss]:
    """Return the activations and the loss of the model, once it is clear that they know their second derivatives."""
    activations = [activation for activation in model.activations if isinstance(activation, CurvedActivation)]
    if len(activations) < len(model.activations):
        lacking = next(part for part in model.activations if not isinstance(part, CurvedActivation))
        raise TypeError(f"the activation {lacking} has no method curvature, its second derivative; add it to its class")
    if not isinstance(model.loss, CurvedLoss):
        raise TypeError(f"the loss {model.loss} has no method curvature_product; add it to its class")
    return activations, model.loss


def _affine(along: MLP, layer: int, inputs: NDArray) -> NDArray:
    """Return x V + c, (replicas, batch, fan_out)."""
    z_change = inputs @ along.weights[layer]
    if along.bias:
        z_change += along.biases[layer]
    return z_change


def _power_iteration(
    hessian: Callable[[NDArray], NDArray],
    params: NDArray,
    *,
    shift: NDArray,
    running: NDArray,
    tolerance: float,
    max_products: int,
) -> tuple[NDArray, NDArray]:
    """Iterate on H + shift I; return the largest v . H v met and the last |(H + shift I) v|, both (replicas,).

    `running` masks the replicas that take part; one that has converged keeps its values, whatever the others still do.
    """
    num_replicas, num_params = params.shape
    start = np.random.default_rng(START_SEED).standard_normal((num_params,))
    vector = np.tile(start / np.linalg.norm(start), (num_replicas, 1))  # (replicas, num_params), the same for each
    largest = np.full(num_replicas, -np.inf)
    magnitude = np.full(num_replicas, np.inf)
    last_quotient, last_length = np.full((2, num_replicas), np.inf)
    for _ in range(max_products):
        product = hessian(vector.astype(params.dtype)).astype(np.float64)
        quotient = np.vecdot(vector, product)
        product += shift[:, np.newaxis] * vector
        length = np.sqrt(np.vecdot(product, product))
        quotient[~np.isfinite(length)] = np.nan
        largest = np.where(running, np.maximum(largest, quotient), largest)
        magnitude = np.where(running, length, magnitude)

        moving = np.abs(quotient - last_quotient) > tolerance * np.abs(quotient)
        growing = np.abs(length - last_length) > tolerance * length
        running = running & (moving | growing)  # false where it is not a number
        if not running.any():
            break
        last_quotient, last_length = quotient, length
        vector = product / np.where(length > 0, length, 1)[:, np.newaxis]
    return largest, magnitude


def _fill_grads(model: MLP, inputs: NDArray, labels: NDArray, weight_decay: float) -> None:
    """Fill `model.grads` with the gradient of the objective on these samples."""
    logits = model.forward(inputs)
    delta = np.empty_like(logits)
    model.loss(logits, labels, delta)
    model.backward(delta)
    if weight_decay:
        model.add_weight_decay(weight_decay)


def _squared_norms(model: MLP, grads: NDArray) -> NDArray:
    """Return the squared norm of each layer's part of `grads`, (replicas, layers)."""
    layers = [grads[:, part] for part in model.layer_slices]
    return np.stack([np.vecdot(layer, layer) for layer in layers], axis=-1)
