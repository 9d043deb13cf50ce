"""MNIST and its drop-in replacements: four IDX files each, found in a folder or downloaded.

Images are (samples, rows, columns) in a file and (samples, rows * columns) in `Samples`.
To add a set in the same format, write a class that passes its names, mirrors and checksums to `read_images`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnbench.data.dataset import DataError, Split
from nnbench.data.download import cache_folder, download, shared_folder
from nnbench.data.idx import read_idx
from nnbench.data.scaling import Scaling
from nnbench.data.source import Samples, Source, require

TRAIN_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST_FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

# SHA-256 of the packed files as published, found equal in TensorFlow Datasets (url_checksums/) and in torchvision
# (prototype/datasets/_builtin/mnist.py). Other packings of the same content exist, so files in a folder of the user's
# are not compared with them; those of MNIST are compared by content.
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
FASHION_MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
KMNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
    "train-labels-idx1-ubyte.gz": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
    "t10k-images-idx3-ubyte.gz": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
    "t10k-labels-idx1-ubyte.gz": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
}
MNIST_DIGEST = "5b69b82de980c941e7722b2f85b366e9554a55ec5a7174cdcb273a8028ff3b63"  # as `source.digest` computes it
FASHION_CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
KMNIST_CLASS_NAMES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


@dataclass(frozen=True, kw_only=True)
class MNIST(Source):
    """Handwritten digits as 28 x 28 pixels, 60,000 to train and validate, 10,000 to test.

    LeCun, Cortes & Burges, The MNIST database. The files are searched in `root` or, without one, in
    $NNBENCH_DATA/mnist and in the cache, and are downloaded from the `mirrors` if they are in neither.
    """

    root: Path | None = None
    mirrors: tuple[str, ...] = (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    )
    validation_fraction: float = 1 / 6  # 10,000 of the 60,000
    scaling: Scaling = "global_minmax"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mirrors(self.mirrors)

    def read(self) -> Samples:
        """Find, or download, and read the four files."""
        class_names = tuple("0123456789")
        paths = find_files("mnist", self.root, self.mirrors, MNIST_SHA256)
        return read_images("mnist", paths, class_names, published_digest=MNIST_DIGEST)


@dataclass(frozen=True, kw_only=True)
class FashionMNIST(Source):
    """Pictures of clothes in the format of MNIST, and harder than its digits.

    Xiao, Rasul & Vollgraf, 2017, arXiv:1708.07747. The files are searched as those of `MNIST` are.
    """

    root: Path | None = None
    mirrors: tuple[str, ...] = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    )
    validation_fraction: float = 1 / 6  # 10,000 of the 60,000
    scaling: Scaling = "global_minmax"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mirrors(self.mirrors)

    def read(self) -> Samples:
        """Find, or download, and read the four files."""
        paths = find_files("fashion_mnist", self.root, self.mirrors, FASHION_MNIST_SHA256)
        return read_images("fashion_mnist", paths, FASHION_CLASS_NAMES)


@dataclass(frozen=True, kw_only=True)
class KMNIST(Source):
    """Cursive Japanese characters in the format of MNIST, ten rows of hiragana.

    Clanuwat et al., 2018, arXiv:1812.01718. The files are searched as those of `MNIST` are.
    """

    root: Path | None = None
    mirrors: tuple[str, ...] = (
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    )
    validation_fraction: float = 1 / 6  # 10,000 of the 60,000
    scaling: Scaling = "global_minmax"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mirrors(self.mirrors)

    def read(self) -> Samples:
        """Find, or download, and read the four files."""
        paths = find_files("kmnist", self.root, self.mirrors, KMNIST_SHA256)
        return read_images("kmnist", paths, KMNIST_CLASS_NAMES)


def check_mirrors(mirrors: tuple[str, ...]) -> None:
    """Raise a `ValueError` unless every mirror is the address of a folder."""
    for mirror in mirrors:
        require("mirrors", mirror, mirror.startswith(("https://", "http://")), "addresses that start with https://")


def find_files(
    name: str, root: Path | None, mirrors: tuple[str, ...], sha256_by_file: dict[str, str]
) -> dict[str, Path]:
    """Return the path of each of the four files by its name: from `root`, $NNBENCH_DATA, the cache or a mirror."""
    if root is not None:
        folder = Path(root).expanduser().absolute()
        paths = files_in(folder)
        missing = [file_name for file_name in TRAIN_FILES + TEST_FILES if file_name not in paths]
        if missing:
            raise DataError(
                f"{folder} has no {', '.join(missing)} (packed as .gz or not); put the files there, or use "
                "dataset.root=null to search the cache and download them"
            )
        return paths
    shared = shared_folder(name)
    paths = files_in(shared) if shared is not None else {}
    if len(paths) == len(TRAIN_FILES + TEST_FILES):
        return paths
    folder = cache_folder() / name
    return {
        file_name: download(f"{file_name}.gz", sha256_by_file[f"{file_name}.gz"], mirrors, folder)
        for file_name in TRAIN_FILES + TEST_FILES
    }


def files_in(folder: Path) -> dict[str, Path]:
    """Return the paths of those of the four files that are in `folder`, packed or not."""
    return {
        file_name: path
        for file_name in TRAIN_FILES + TEST_FILES
        for path in (folder / file_name, folder / f"{file_name}.gz")
        if path.is_file()
    }


def read_images(
    name: str, paths: dict[str, Path], class_names: tuple[str, ...], published_digest: str | None = None
) -> Samples:
    """Read the four files of a data set; raises `DataError` where one is damaged or they do not fit together."""
    pool, image_shape = read_part(paths, TRAIN_FILES, len(class_names))
    test, test_image_shape = read_part(paths, TEST_FILES, len(class_names))
    if image_shape != test_image_shape:
        raise DataError(
            f"{paths[TRAIN_FILES[0]]} holds images of {image_shape} pixels but {paths[TEST_FILES[0]]} of "
            f"{test_image_shape}; put files of one data set together"
        )
    rows, columns = image_shape
    return Samples(
        name=name,
        origin=str(paths[TRAIN_FILES[0]].parent),
        inputs=pool.inputs,
        labels=pool.labels,
        class_names=class_names,
        feature_names=tuple(f"pixel_{row}_{column}" for row in range(rows) for column in range(columns)),
        image_shape=image_shape,
        test=test,
        published_digest=published_digest,
    )


def read_part(paths: dict[str, Path], file_names: tuple[str, str], num_classes: int) -> tuple[Split, tuple[int, int]]:
    """Read images and their labels, raw, and the shape of an image."""
    images_path, labels_path = (paths[file_name] for file_name in file_names)
    images = read_idx(images_path, num_dimensions=3)
    labels = read_idx(labels_path, num_dimensions=1)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} holds {len(images)} images but {labels_path} {len(labels)} labels; "
            "put files of one data set together"
        )
    if labels.max() >= num_classes:
        row = int(np.argmax(labels >= num_classes))
        raise DataError(
            f"{labels_path}: label {labels[row]} of image {row + 1} is not between 0 and {num_classes - 1}; "
            "delete the file and get it again"
        )
    _, rows, columns = images.shape
    return Split(images.reshape(len(images), rows * columns), labels), (rows, columns)
