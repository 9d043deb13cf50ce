"""scikit-learn's own checks of an estimator, on the network with its scaling: whatever a table holds, no surprise.

The wrapper does what `nnbench.data` does at its border: numbers and labels are checked, features are standardised.
"""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from nnbench.data import Split
from nnbench.data.scaling import fit_standard
from nnbench.nn import MLP, Adam, He, ReLU, SoftmaxCrossEntropy, Training, spawn_rngs


class Network(ClassifierMixin, BaseEstimator):
    """A small network of one hidden layer, trained by Adam."""

    def __init__(self, hidden=16, num_epochs=30, batch_size=8, learning_rate=0.01, random_state=0):
        self.hidden = hidden
        self.num_epochs = num_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def fit(self, X, y):
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"there is only the class {self.classes_[0]!r}; classification needs more than one class")
        self.scaler_ = fit_standard(X, (0.0, 1.0))
        split = Split(self.scaler_(X, np.float64), labels)
        initial, order = spawn_rngs(int(np.random.default_rng(self.random_state).integers(2**31)))
        sizes = (X.shape[1], self.hidden, len(self.classes_))
        model = MLP(sizes, activations=[ReLU()], loss=SoftmaxCrossEntropy(), dtype=np.float64)
        model.initialize(He(), [initial])
        adam = Adam(model.params, learning_rate=self.learning_rate)
        training = Training(model, adam, [order], num_epochs=self.num_epochs, batch_size=self.batch_size)
        training.run(split, split)
        self.network_ = training.selected_model()
        self.n_iter_ = training.epoch
        return self

    def predict_proba(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self.network_.probabilities(self.scaler_(X, np.float64))[0]

    def predict(self, X):
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=-1)]


CHECKS = [check for _, check in estimator_checks_generator(Network())]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.func.__name__)
def test_network_passes_the_checks_of_an_estimator(check):
    check(Network())


def test_the_checks_are_those_of_a_classifier():
    names = {check.func.__name__ for check in CHECKS}

    assert {"check_classifiers_one_label", "check_fit2d_1sample", "check_estimators_nan_inf"} <= names
    assert len(CHECKS) > 50
