"""Honest comparisons of optimizers and activations on small neural networks."""

__version__ = "0.1.0"
