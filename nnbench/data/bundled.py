"""Small measured data sets that come with scikit-learn.

To add one, write a class that passes the loader's result to `samples_of_bunch`.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from nnbench.data.scaling import Scaling
from nnbench.data.source import Samples, Source


def samples_of_bunch(name: str, bunch: Any, image_shape: tuple[int, int] | None = None) -> Samples:
    """Turn what a loader of scikit-learn returns into `Samples`."""
    return Samples(
        name=name,
        origin=name,
        inputs=np.asarray(bunch.data, dtype=np.float64),
        labels=bunch.target,
        class_names=tuple(str(class_name) for class_name in bunch.target_names),
        feature_names=tuple(str(feature_name) for feature_name in bunch.feature_names),
        image_shape=image_shape,
    )


@dataclass(frozen=True, kw_only=True)
class Digits(Source):
    """Handwritten digits as 8 x 8 pixels, 1,797 samples of 10 classes.

    Alpaydin & Kaynak, 1998, Optical Recognition of Handwritten Digits, UCI repository (its test part).
    """

    scaling: Scaling = "standard"

    def read(self) -> Samples:
        """Return the samples that scikit-learn bundles: a sample in a row, its label behind its pixels.

        They are read without scikit-learn's loader, whose import takes longer than to train this data.
        """
        folder = find_spec("sklearn").submodule_search_locations[0]  # type: ignore[union-attr, index]
        table = np.loadtxt(Path(folder, "datasets", "data", "digits.csv.gz"), delimiter=",")
        return Samples(
            name="digits",
            origin="digits",
            inputs=table[:, :-1],
            labels=table[:, -1].astype(np.int64),
            class_names=tuple(map(str, range(10))),
            feature_names=tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8)),
            image_shape=(8, 8),
        )


@dataclass(frozen=True, kw_only=True)
class Iris(Source):
    """Four measures of 150 iris flowers, 3 species.

    Fisher, 1936, The use of multiple measurements in taxonomic problems.
    """

    scaling: Scaling = "standard"

    def read(self) -> Samples:
        """Return the samples that scikit-learn bundles."""
        from sklearn.datasets import load_iris

        return samples_of_bunch("iris", load_iris())


@dataclass(frozen=True, kw_only=True)
class Wine(Source):
    """Thirteen chemical measures of 178 wines from 3 growers.

    Forina et al., 1988, PARVUS; UCI repository.
    """

    scaling: Scaling = "standard"

    def read(self) -> Samples:
        """Return the samples that scikit-learn bundles."""
        from sklearn.datasets import load_wine

        return samples_of_bunch("wine", load_wine())


@dataclass(frozen=True, kw_only=True)
class BreastCancer(Source):
    """Thirty measures of cell nuclei in 569 tumours, malignant or benign.

    Street, Wolberg & Mangasarian, 1993, Nuclear feature extraction for breast tumor diagnosis.
    """

    scaling: Scaling = "standard"

    def read(self) -> Samples:
        """Return the samples that scikit-learn bundles."""
        from sklearn.datasets import load_breast_cancer

        return samples_of_bunch("breast_cancer", load_breast_cancer())
