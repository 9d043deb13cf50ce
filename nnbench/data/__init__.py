"""Data sets: found or generated, checked at the border, split by class, scaled by the training split.

A `Source` is the choice that a configuration makes, `Source.load` turns it into a `Dataset` of three `Split`s.
Inputs are (samples, features), labels (samples,) in 0..num_classes-1.

To add a data set, write one frozen dataclass that inherits from `Source` and returns its `Samples` from `read`, name it
here, and list its keywords in a file of `conf/dataset/`; splits, scaling, digest and checks come with the base class.
"""

from nnbench.data.bundled import BreastCancer, Digits, Iris, Wine
from nnbench.data.dataset import DataError, Dataset, Split
from nnbench.data.generated import XOR, Circles, Moons, Spirals
from nnbench.data.mnist import KMNIST, MNIST, FashionMNIST
from nnbench.data.npz import NPZ
from nnbench.data.openml import OpenML
from nnbench.data.parquet import Parquet
from nnbench.data.scaling import Scaler
from nnbench.data.source import Samples, Source
from nnbench.data.tables import CSV

__all__ = [
    "CSV",
    "KMNIST",
    "MNIST",
    "NPZ",
    "XOR",
    "BreastCancer",
    "Circles",
    "DataError",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "Iris",
    "Moons",
    "OpenML",
    "Parquet",
    "Samples",
    "Scaler",
    "Source",
    "Spirals",
    "Split",
    "Wine",
]
