"""Optimizers: from gradients to a step, in place, on the flat parameters of a whole stack.

`params` and `grads` are (replicas, num_params). Every hyperparameter is a number, or (replicas, 1) to give each replica
its own. `step(grads, factor)` changes `params` in place; `factor` is the schedule's multiple of the learning rate.
State arrays have the shape of `params` and start at zero; nothing of that size is allocated in a step (but the masks of
Rprop).

To add one: a class derived from `Optimizer` that names its state arrays, and a file in `conf/optimizer/`. What else it
keeps from step to step are attributes, each a number, a text or an array of its own; no other can be saved.
Defaults are the paper's where it gives them; for plain gradient descent and momentum, which have no such paper, the
learning rate is 0.01, "typically works" in Bengio, 2012, arXiv:1206.5533, section 3.1.1.
"""

import json
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

Hyperparameter: TypeAlias = float | NDArray
BESIDE_STATE = ("params", "scratch")  # the model's, and what no step leaves anything in
PLAIN = (type(None), bool, int, float, str)


class Optimizer:
    """What all optimizers share: parameters, learning rate, state by name, one scratch array."""

    state_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: NDArray, *, learning_rate: Hyperparameter):
        self.params = params  # (replicas, num_params)
        self.learning_rate = _positive("learning_rate", learning_rate)
        if np.size(self.learning_rate) not in (1, len(params)):
            raise ValueError(f"learning_rate has {np.size(self.learning_rate)} entries for {len(params)} replicas")
        self.num_steps = 0
        self.scratch = np.empty_like(params)
        for name in self.state_names:
            setattr(self, name, np.zeros_like(params))

    def step(self, grads: NDArray, factor: float = 1.0) -> None:
        """Update the parameters in place from `grads`, (replicas, num_params)."""
        raise TypeError(f"{type(self).__name__} has no update rule; define step()")

    def take(self, replicas: NDArray, params: NDArray) -> None:
        """Go on with the given replicas alone, (kept,) indices, whose parameters are now `params`."""
        num_replicas = len(self.params)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray) and value.ndim == 2 and len(value) == num_replicas:
                setattr(self, name, value[replicas])
        self.params = params

    def state(self) -> dict[str, NDArray]:
        """Return what a continued training needs, by name: all that this holds but for the parameters and scratch.

        Numbers and texts, alone or in a tuple, become JSON in an array of their own. Raises TypeError for anything else
        that is no array of numbers: nobody knows whether a step changes it.
        """
        return {name: self._packed(name, value) for name, value in vars(self).items() if name not in BESIDE_STATE}

    def restore(self, state: dict[str, NDArray]) -> None:
        """Go on from what `state` returned."""
        for name, value in state.items():
            if value.dtype.kind == "U":
                plain = json.loads(value.item())
                setattr(self, name, tuple(plain) if isinstance(plain, list) else plain)
            else:
                setattr(self, name, value.copy() if value.ndim else value[()])

    def _packed(self, name: str, value: Any) -> NDArray:
        if type(value) is np.ndarray or isinstance(value, np.generic):
            array = np.asarray(value)
            if array.dtype.kind in "biufc":
                return array
        elif all(type(part) in PLAIN for part in (value if type(value) is tuple else [value])):
            return np.array(json.dumps(value))
        raise TypeError(
            f"{type(self).__name__} cannot be saved: {name} is a {type(value).__name__}; keep state in arrays and "
            "numbers, or define state() and restore()"
        )

    def cast(self, coefficient: Hyperparameter) -> NDArray:
        """Return a coefficient in the dtype of the parameters, computed in float64 so that a stack changes no bits."""
        return np.asarray(coefficient, dtype=self.params.dtype)


class GD(Optimizer):
    """Straight down the gradient; with mini-batches this is stochastic gradient descent.

        theta <- theta - eta g

    Cauchy, 1847; Robbins & Monro, 1951. Learning rate: Bengio, 2012 (PyTorch's default is 0.001).
    """

    def __init__(self, params: NDArray, *, learning_rate: Hyperparameter = 0.01):
        super().__init__(params, learning_rate=learning_rate)

    def step(self, grads: NDArray, factor: float = 1.0) -> None:
        """Update the parameters in place from `grads`, (replicas, num_params)."""
        self.num_steps += 1
        update = np.multiply(grads, self.cast(self.learning_rate * factor), out=self.scratch)
        self.params -= update


class Momentum(Optimizer):
    """A heavy ball: the velocity remembers past gradients, so steady directions speed up and zigzags cancel.

        v <- mu v + g
        theta <- theta - eta v

    Polyak, 1964; momentum 0.9 as in Sutskever et al., 2013. Sutskever writes v <- mu v - eta g, the same as long as eta
    stays; this form is PyTorch's (whose default momentum is 0, learning rate 0.001).
    """

    state_names = ("velocity",)
    velocity: NDArray

    def __init__(self, params: NDArray, *, learning_rate: Hyperparameter = 0.01, momentum: Hyperparameter = 0.9):
        super().__init__(params, learning_rate=learning_rate)
        self.momentum = _fraction("momentum", momentum)  # mu

    def step(self, grads: NDArray, factor: float = 1.0) -> None:
        """Update the parameters in place from `grads`, (replicas, num_params)."""
        self.num_steps += 1
        self.velocity *= self.cast(self.momentum)
        self.velocity += grads
        update = np.multiply(self.velocity, self.cast(self.learning_rate * factor), out=self.scratch)
        self.params -= update


class Nesterov(Optimizer):
    """Momentum that looks ahead: the gradient is taken where the velocity is about to lead.

        v <- mu v + g
        theta <- theta - eta (g + mu v)

    Nesterov, 1983; in the form of Sutskever et al., 2013, equations 3 and 4, with theta standing for the point looked
    at (as in Bengio, Boulanger-Lewandowski & Pascanu, 2013, arXiv:1212.0901, equation 7, and in PyTorch, whose
    default momentum is 0, learning rate 0.001).
    """

    state_names = ("velocity",)
    velocity: NDArray

    def __init__(self, params: NDArray, *, learning_rate: Hyperparameter = 0.01, momentum: Hyperparameter = 0.9):
        super().__init__(params, learning_rate=learning_rate)
        self.momentum = _fraction("momentum", momentum)  # mu

    def step(self, grads: NDArray, factor: float = 1.0) -> None:
        """Update the parameters in place from `grads`, (replicas, num_params)."""
        self.num_steps += 1
        self.velocity *= self.cast(self.momentum)
        self.velocity += grads
        update = np.multiply(self.velocity, self.cast(self.momentum), out=self.scratch)
        update += grads
        update *= self.cast(self.learning_rate * factor)
        self.params -= update


class Adagrad(Optimizer):
    """Each parameter has its own step, which shrinks with all the gradient it has seen: rare features keep large steps.

        G <- G + g^2
        theta <- theta - eta g / (sqrt(G) + eps)

    Duchi, Hazan & Singer, 2011, JMLR 12, figure 1, with delta = eps. The paper leaves eta open; 0.01 and eps 1e-10 are
    PyTorch's.
    """

    state_names = ("sum_of_squares",)
    sum_of_squares: NDArray

    def __init__(self, params: NDArray, *, learning_rate: Hyperparameter = 0.01, epsilon: Hyperparameter = 1e-10):
        super().__init__(params, learning_rate=learning_rate)
        self.epsilon = _positive("epsilon", epsilon)

    def step(self, grads: NDArray, factor: float = 1.0) -> None:
        """Update the parameters in place from `grads`, (replicas, num_params)."""
        self.num_steps += 1
        square = np.multiply(grads, grads, out=self.scratch)
        self.sum_of_squares += square  # G

        root = np.sqrt(self.sum_of_squares, out=self.scratch)
        root += self.cast(self.epsilon)
        update = np.divide(grads, root, out=self.scratch)
        update *= self.cast(self.learning_rate * factor)
        self.params -= update


class RMSprop(Optimizer):
    """Each step is scaled by the recent size of the parameter's gradient, so that old gradients are forgotten.

        v <- rho v + (1 - rho) g^2
        theta <- theta - eta g / (sqrt(v) + eps)

    Tieleman & Hinton, 2012, Coursera lecture 6.5, which has rho 0.9 and leaves eta open; 0.001 is Keras's default.
    PyTorch's defaults are rho 0.99 and eta 0.01.
    """

    state_names = ("sum_of_squares",)
    sum_of_squares: NDArray  # v / (1 - rho): g^2 comes in by one addition, and the factor moves into the step

    def __init__(
        self,
        params: NDArray,
        *,
        learning_rate: Hyperparameter = 0.001,
        decay: Hyperparameter = 0.9,
        epsilon: Hyperparameter = 1e-8,
    ):
        super().__init__(params, learning_rate=learning_rate)
        self.decay = _fraction("decay", decay)  # rho
        self.epsilon = _positive("epsilon", epsilon)

    def step(self, grads: NDArray, factor: float = 1.0) -> None:
        """Update the parameters in place from `grads`, (replicas, num_params)."""
        self.num_steps += 1
        square = np.multiply(grads, grads, out=self.scratch)
        self.sum_of_squares *= self.cast(self.decay)
        self.sum_of_squares += square

        # With c = sqrt(1 - rho): eta g / (sqrt(v) + eps) = (eta / c) g / (sqrt(v) / c + eps / c).
        # epsilon outside the root, as in PyTorch; the lecture has none
        c = (1 - self.decay) ** 0.5
        root = np.sqrt(self.sum_of_squares, out=self.scratch)
        root += self.cast(self.epsilon / c)
        update = np.divide(grads, root, out=self.scratch)
        update *= self.cast(self.learning_rate * factor / c)
        self.params -= update


class Adam(Optimizer):
    """Momentum, with each parameter's step scaled by its recent gradient size.

        m <- b1 m + (1 - b1) g        mhat = m / (1 - b1^t)
        v <- b2 v + (1 - b2) g^2      vhat = v / (1 - b2^t)
        theta <- theta - eta mhat / (sqrt(vhat) + eps)

    Kingma & Ba, 2015, Algorithm 1, arXiv:1412.6980; defaults are theirs. t counts all steps since the start of
    training.
    """

    state_names = ("weighted_sum", "sum_of_squares")
    weighted_sum: NDArray  # m / (1 - b1): g comes in by one addition, and the factor moves into the step
    sum_of_squares: NDArray  # v / (1 - b2), likewise

    def __init__(
        self,
        params: NDArray,
        *,
        learning_rate: Hyperparameter = 0.001,
        beta1: Hyperparameter = 0.9,
        beta2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-8,
    ):
        super().__init__(params, learning_rate=learning_rate)
        self.beta1 = _fraction("beta1", beta1)
        self.beta2 = _fraction("beta2", beta2)
        self.epsilon = _positive("epsilon", epsilon)

    def step(self, grads: NDArray, factor: float = 1.0) -> None:
        """Update the parameters in place from `grads`, (replicas, num_params)."""
        self.num_steps += 1
        self.weighted_sum *= self.cast(self.beta1)
        self.weighted_sum += grads
        square = np.multiply(grads, grads, out=self.scratch)
        self.sum_of_squares *= self.cast(self.beta2)
        self.sum_of_squares += square

        # With c1 = (1 - b1) / (1 - b1^t) and c2 = sqrt((1 - b2) / (1 - b2^t)), mhat = c1 sum g and
        # sqrt(vhat) = c2 sqrt(sum g^2), so that these, too, move into the step and epsilon.
        c1 = (1 - self.beta1) / (1 - self.beta1**self.num_steps)
        c2 = ((1 - self.beta2) / (1 - self.beta2**self.num_steps)) ** 0.5
        root = np.sqrt(self.sum_of_squares, out=self.scratch)
        root += self.cast(self.epsilon / c2)
        update = np.divide(self.weighted_sum, root, out=self.scratch)
        update *= self.cast(self.learning_rate * factor * c1 / c2)
        self.params -= update


class AdamW(Adam):
    """Adam whose weight decay is a step of its own, which the size of the gradients does not scale.

        theta <- theta - eta w theta, then as in Adam

    Loshchilov & Hutter, 2019, Algorithm 2, arXiv:1711.05101, in PyTorch's form: w is multiplied by the learning rate,
    and decays biases, too; its default of 0.01 is PyTorch's.
    """

    def __init__(
        self,
        params: NDArray,
        *,
        learning_rate: Hyperparameter = 0.001,
        beta1: Hyperparameter = 0.9,
        beta2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-8,
        decoupled_weight_decay: Hyperparameter = 0.01,
    ):
        super().__init__(params, learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)
        self.decoupled_weight_decay = _number(
            "decoupled_weight_decay", decoupled_weight_decay, "at least 0", lambda number: number >= 0
        )

    def step(self, grads: NDArray, factor: float = 1.0) -> None:
        """Update the parameters in place from `grads`, (replicas, num_params)."""
        self.params *= self.cast(1 - self.learning_rate * factor * self.decoupled_weight_decay)
        super().step(grads, factor)


class Rprop(Optimizer):
    """Only the sign of the gradient counts: steps grow while it stays and shrink when it turns.

        s = g g_previous
        d <- min(1.2 d, 50) where s > 0;    d <- max(0.5 d, 1e-6), g <- 0 where s < 0
        theta <- theta - sign(g) d

    Riedmiller & Braun, 1993, ICNN, without weight backtracking (iRprop-, Igel & Huesken, 2003, as in PyTorch); the
    first step is the paper's 0.1 (PyTorch's is 0.01). Made for full batches: the sign of a mini-batch gradient turns by
    chance. `learning_rate` is the first d; a schedule does not change the steps.
    """

    state_names = ("step_sizes", "previous_grads")
    step_sizes: NDArray
    previous_grads: NDArray

    def __init__(
        self,
        params: NDArray,
        *,
        learning_rate: Hyperparameter = 0.1,
        increase: Hyperparameter = 1.2,
        decrease: Hyperparameter = 0.5,
        smallest_step: Hyperparameter = 1e-6,
        largest_step: Hyperparameter = 50.0,
    ):
        super().__init__(params, learning_rate=learning_rate)
        self.increase = _number("increase", increase, "above 1", lambda value: value > 1)
        self.decrease = _number("decrease", decrease, "above 0 and below 1", lambda value: (value > 0) & (value < 1))
        self.smallest_step = _positive("smallest_step", smallest_step)
        self.largest_step = _positive("largest_step", largest_step)
        if not np.all(self.smallest_step < self.largest_step):
            raise ValueError(
                f"smallest_step is {smallest_step}; it must be below largest_step, which is {largest_step}"
            )
        self.step_sizes += self.cast(self.learning_rate)

    def step(self, grads: NDArray, factor: float = 1.0) -> None:
        """Update the parameters in place from `grads`, (replicas, num_params)."""
        self.num_steps += 1
        agreement = np.multiply(grads, self.previous_grads, out=self.scratch)  # s
        turned = agreement < 0
        np.multiply(self.step_sizes, self.cast(self.increase), out=self.step_sizes, where=agreement > 0)
        np.multiply(self.step_sizes, self.cast(self.decrease), out=self.step_sizes, where=turned)
        np.clip(self.step_sizes, self.cast(self.smallest_step), self.cast(self.largest_step), out=self.step_sizes)

        np.copyto(self.previous_grads, grads)
        self.previous_grads[turned] = 0
        update = np.sign(self.previous_grads, out=self.scratch)
        update *= self.step_sizes
        self.params -= update


def _positive(name: str, value: Hyperparameter) -> Hyperparameter:
    return _number(name, value, "above 0", lambda number: number > 0)


def _fraction(name: str, value: Hyperparameter) -> Hyperparameter:
    return _number(name, value, "at least 0 and below 1", lambda number: (number >= 0) & (number < 1))


def _number(name: str, value: Hyperparameter, wanted: str, holds: Callable[[NDArray], NDArray]) -> Hyperparameter:
    """Return the value in float64, a float or (replicas, 1), if it is finite and `holds`; else say what is `wanted`."""
    number = np.asarray(value, dtype=np.float64)
    if not np.all(np.isfinite(number) & holds(number)):
        raise ValueError(f"{name} is {value}; it must be a finite number {wanted}")
    return float(number) if number.ndim == 0 else number.reshape(-1, 1)  # an array of one has the bits of one of many
