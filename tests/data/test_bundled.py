"""The bundled data sets are those that scikit-learn's own loaders return."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from nnbench.data import BreastCancer, Digits, Iris, Wine

LOADERS = [(Digits, load_digits), (Iris, load_iris), (Wine, load_wine), (BreastCancer, load_breast_cancer)]


@pytest.mark.parametrize(("source", "load"), LOADERS, ids=lambda each: each.__name__)
def test_samples_are_those_of_scikit_learn(source, load):
    samples, bunch = source().read(), load()
    np.testing.assert_array_equal(samples.inputs, bunch.data)
    np.testing.assert_array_equal(samples.labels, bunch.target)
    assert samples.class_names == tuple(map(str, bunch.target_names))
    assert samples.feature_names == tuple(bunch.feature_names)


def test_nothing_of_scikit_learn_is_imported():
    code = (
        "import sys; from nnbench.data import BreastCancer, Digits, Iris, Wine\n"
        "[source().load() for source in (BreastCancer, Digits, Iris, Wine)]\n"
        "print({'sklearn', 'pandas', 'scipy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
