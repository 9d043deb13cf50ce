"""The section of a report on the data: sizes, classes and images from the store, and words where records are old."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from report_cases import SMALL, Workplace, planted, results_of

from nnbench.data import Digits
from nnbench.report import figures, results, tables
from nnbench.tracking.record import SampleImages

COUNTS = {"train": [80, 10], "validation": [8, 1], "test": [9, 1]}
DATA = {
    "train": 90, "validation": 9, "test": 10, "features": 4, "classes": ["ham", "spam"], "digest": "0", "counts": COUNTS
}  # fmt: skip


@pytest.fixture(autouse=True)
def _closed():
    plt.close("all")
    yield
    plt.close("all")


def of_data(**data):
    """Two cells on a data set of which the records tell this."""
    found = results_of(planted({"adam relu": [0.9] * 2, "gd relu": [0.8] * 2}))
    known = {name: value for name, value in (DATA | data).items() if value is not None}
    settings = [{"dataset.scaling": "standard"}] * 2
    return replace(found, cells=found.cells.assign(dataset="mail", data=[known] * 2, settings=settings))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    place = Workplace(tmp_path_factory.mktemp("images"))
    assert place.run("-m", "num_epochs=1,2", "seeds=1", *SMALL[:1], *SMALL[2:], "baselines=[]") == 0
    return results.study(place.uri, "nnbench")


def test_store_has_counts_and_the_first_training_images_of_each_class(stored):
    dataset = Digits().load(np.float64)
    rows = tables.everything(stored)["class_counts"]
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(rows[split], np.bincount(getattr(dataset, split).labels))
    samples = stored.samples["digits"]
    np.testing.assert_array_equal(samples.labels, np.repeat(np.arange(10), 8))
    for label in range(10):
        raw = dataset.scaler.inverse(dataset.train.inputs[dataset.train.labels == label][:8])
        shades = samples.images[samples.labels == label].reshape(8, -1)
        np.testing.assert_allclose(shades, 255 * raw / 16, atol=0.51)


def test_each_data_set_has_one_row_and_one_figure(stored):
    shown = tables.data_sets(stored).shown()
    assert list(shown["data set"]) == ["digits"]
    assert list(shown["training samples"]) == ["1437"]
    assert figures.data_sets(stored) is None
    assert len(plt.get_fignums()) == 1


def test_unequal_classes_are_a_sentence_with_what_a_guess_would_reach():
    said = str(figures.data_sets(of_data()))
    assert "of the training samples ham has 80 and spam 10" in said
    assert "right in 90.0% of the test samples" in said


def test_equal_classes_are_not_worth_a_sentence():
    assert figures.data_sets(of_data(counts=COUNTS | {"train": [46, 44]})) is None


def test_records_from_before_counts_were_kept_have_sizes_and_a_sentence():
    found = of_data(counts=None)
    assert (
        str(figures.data_sets(found)) == "The records of mail are from before the samples of each class were counted."
    )
    assert not plt.get_fignums()
    assert tables.data_sets(found).rows.iloc[0].to_dict() == {
        "dataset": "mail", "train": 90, "validation": 9, "test": 10, "features": 4, "classes": 2, "scaling": "standard",
    }  # fmt: skip
    assert "class_counts" not in tables.everything(found)


def test_cells_with_training_splits_of_their_own_are_said_to_differ():
    found = of_data()
    found.cells.at[1, "data"] = DATA | {"train": 45}
    assert "differ in their training split" in str(figures.data_sets(found))
    assert list(tables.data_sets(found).rows["train"]) == [90, 45]


def test_images_of_some_classes_are_said_to_be_some():
    samples = SampleImages(np.zeros((1, 2, 2), np.uint8), np.zeros(1, int))
    said = str(figures.data_sets(replace(of_data(), samples={"mail": samples})))
    assert "Images are drawn of 1 of the 2 classes of mail." in said
