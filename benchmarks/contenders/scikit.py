"""scikit-learn's MLPClassifier, with its own initial weights and its own shuffling."""

from time import perf_counter

import numpy as np
from sklearn.neural_network import MLPClassifier

from contenders.problem import BETA1, BETA2, EPSILON, LEARNING_RATE, Problem

NEVER = 10**9  # epochs after which it would stop by itself


class ScikitLearn:
    """One call of `partial_fit` is one epoch of mini-batches, in the dtype of the inputs; no penalty, no early end."""

    num_replicas = 1

    def __init__(self, problem: Problem):
        self.problem = problem
        self.classes = np.arange(problem.layer_sizes[-1])
        self.classifier = MLPClassifier(
            problem.layer_sizes[1:-1],
            activation="relu",
            solver="adam",
            alpha=0.0,
            batch_size=problem.batch_size,
            learning_rate_init=LEARNING_RATE,
            beta_1=BETA1,
            beta_2=BETA2,
            epsilon=EPSILON,
            tol=0.0,
            n_iter_no_change=NEVER,
            max_iter=NEVER,
            random_state=0,
        )

    def train_epoch(self) -> float:
        """Take every step of an epoch; return the seconds of it."""
        started = perf_counter()
        self.classifier.partial_fit(self.problem.inputs, self.problem.labels, classes=self.classes)
        return perf_counter() - started

    def loss(self) -> float:
        """Return the training loss."""
        with np.errstate(divide="ignore"):  # a probability that is zero in float32
            return self.problem.loss_of(self.classifier.predict_log_proba(self.problem.inputs))
