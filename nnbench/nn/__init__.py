"""The network, readable as a textbook, from activations and losses over the MLP to its training and its curvature.

Everything works on a stack of replicas, axis 0 of every array. This package imports NumPy alone and knows nothing of
the others.
"""

from nnbench.nn.activations import Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from nnbench.nn.curvature import gradient_signal_to_noise, hessian_vector_product, largest_eigenvalue
from nnbench.nn.initializers import Auto, FanOut, Glorot, He, LeCun, Normal
from nnbench.nn.losses import BinaryCrossEntropy, MeanSquaredError, SoftmaxCrossEntropy
from nnbench.nn.mlp import MLP
from nnbench.nn.optimizers import GD, Adagrad, Adam, AdamW, Momentum, Nesterov, RMSprop, Rprop
from nnbench.nn.schedules import Constant, Cosine, Exponential, Step, Warmup
from nnbench.nn.training import Training, evaluate, spawn_rngs

__all__ = [
    "GD",
    "MLP",
    "Adagrad",
    "Adam",
    "AdamW",
    "Auto",
    "BinaryCrossEntropy",
    "Constant",
    "Cosine",
    "Exponential",
    "FanOut",
    "Glorot",
    "He",
    "Identity",
    "LeCun",
    "LeakyReLU",
    "MeanSquaredError",
    "Momentum",
    "Nesterov",
    "Normal",
    "RMSprop",
    "ReLU",
    "Rprop",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Step",
    "Tanh",
    "Training",
    "Warmup",
    "evaluate",
    "gradient_signal_to_noise",
    "hessian_vector_product",
    "largest_eigenvalue",
    "spawn_rngs",
]
