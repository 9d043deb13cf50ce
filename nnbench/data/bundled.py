"""Small measured data sets that come with scikit-learn.

They are read from its files without its loaders, whose import takes longer than to train this data. To add one, write
a class that gives `samples_of_table` its file and the names of its features.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbench.data.scaling import Scaling
from nnbench.data.source import Samples, Source

OF_NUCLEI = (
    *("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points"),
    *("symmetry", "fractal dimension"),
)


def _file(name: str) -> Path:
    """Return a file of the data that scikit-learn brings along, without importing it."""
    folder = find_spec("sklearn").submodule_search_locations[0]  # type: ignore[union-attr, index]
    return Path(folder, "datasets", "data", name)


def samples_of_table(name: str, file: str, feature_names: tuple[str, ...]) -> Samples:
    """Return the samples of a table: first how many rows and columns, and the classes; a label behind each sample."""
    path = _file(file)
    with path.open(encoding="utf-8") as lines:
        class_names = tuple(next(lines).strip().split(",")[2:])
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return _samples(name, table, class_names, feature_names)


def _samples(
    name: str,
    table: NDArray,
    class_names: tuple[str, ...],
    feature_names: tuple[str, ...],
    image_shape: tuple[int, int] | None = None,
) -> Samples:
    return Samples(
        name=name,
        origin=name,
        inputs=table[:, :-1],
        labels=table[:, -1].astype(np.int64),
        class_names=class_names,
        feature_names=feature_names,
        image_shape=image_shape,
    )


@dataclass(frozen=True, kw_only=True)
class Digits(Source):
    """Handwritten digits as 8 x 8 pixels, 1,797 samples of 10 classes.

    Alpaydin & Kaynak, 1998, Optical Recognition of Handwritten Digits, UCI repository (its test part).
    """

    scaling: Scaling = "standard"

    def read(self) -> Samples:
        """Return the samples that scikit-learn bundles: a sample in a row, its label behind its pixels."""
        table = np.loadtxt(_file("digits.csv.gz"), delimiter=",")
        pixels = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))
        return _samples("digits", table, tuple(map(str, range(10))), pixels, image_shape=(8, 8))


@dataclass(frozen=True, kw_only=True)
class Iris(Source):
    """Four measures of 150 iris flowers, 3 species.

    Fisher, 1936, The use of multiple measurements in taxonomic problems.
    """

    scaling: Scaling = "standard"

    def read(self) -> Samples:
        """Return the samples that scikit-learn bundles."""
        features = tuple(f"{part} {side} (cm)" for part in ("sepal", "petal") for side in ("length", "width"))
        return samples_of_table("iris", "iris.csv", features)


@dataclass(frozen=True, kw_only=True)
class Wine(Source):
    """Thirteen chemical measures of 178 wines from 3 growers.

    Forina et al., 1988, PARVUS; UCI repository.
    """

    scaling: Scaling = "standard"

    def read(self) -> Samples:
        """Return the samples that scikit-learn bundles."""
        features = (
            *("alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids"),
            *("nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280/od315_of_diluted_wines"),
            "proline",
        )
        return samples_of_table("wine", "wine_data.csv", features)


@dataclass(frozen=True, kw_only=True)
class BreastCancer(Source):
    """Thirty measures of cell nuclei in 569 tumours, malignant or benign.

    Street, Wolberg & Mangasarian, 1993, Nuclear feature extraction for breast tumor diagnosis.
    """

    scaling: Scaling = "standard"

    def read(self) -> Samples:
        """Return the samples that scikit-learn bundles."""
        kinds = ("mean {}", "{} error", "worst {}")
        features = tuple(kind.format(measure) for kind in kinds for measure in OF_NUCLEI)
        return samples_of_table("breast_cancer", "breast_cancer.csv", features)
