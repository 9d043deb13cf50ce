"""The picture of a data set shows its counts and its images, and stays readable with many classes."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from nnbench.analysis import plots


def axes():
    return Figure().subplots()


def counts(num_classes, names=None):
    numbers = {"train": np.arange(num_classes) + 8, "validation": 2, "test": 1}
    return pd.DataFrame(numbers, index=names or [f"class {place}" for place in range(num_classes)])


def test_a_bar_is_as_long_as_the_splits_of_its_class_together():
    ax = plots.class_counts(counts(3), axes())
    ends = [[bar.get_x() + bar.get_width() for bar in split] for split in ax.containers]
    assert ends == [[8, 9, 10], [10, 11, 12], [11, 12, 13]]
    assert [text.get_text() for text in ax.texts] == ["11", "12", "13"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["class 0", "class 1", "class 2"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training", "validation", "test"]


def test_many_classes_are_sorted_and_not_named():
    ax = plots.class_counts(counts(300), axes())
    heights = [bar.get_height() for bar in ax.containers[0]]
    assert heights == sorted(np.arange(300) + 8, reverse=True)
    assert not ax.get_xticklabels()
    assert "300 classes" in ax.get_xlabel()


def test_each_row_has_the_images_of_one_class_in_their_order():
    images = np.stack([np.full((4, 6), shade, np.uint8) for shade in (10, 20, 30, 40)])
    ax = plots.sample_images(images, np.array([2, 0, 2, 2]), np.array(["a", "b", "c"]), axes())
    whole = np.asarray(ax.images[0].get_array().filled(-1))
    assert whole.shape == (4 + 1 + 4, 6 + 1 + 6 + 1 + 6)
    corners = whole[[0, 5]][:, [0, 7, 14]]
    np.testing.assert_array_equal(corners, [[20, -1, -1], [10, 30, 40]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "c"]


def test_unequal_numbers_of_images_and_labels_are_refused():
    with pytest.raises(ValueError, match="2 images and 1 labels"):
        plots.sample_images(np.zeros((2, 4, 4)), np.zeros(1, int), np.array(["a"]), axes())


@pytest.mark.parametrize("num_classes", [2, 10, 40, 41, 300])
def test_picture_of_any_number_of_classes_has_a_bounded_size(num_classes):
    labels = np.repeat(np.arange(min(num_classes, 25)), 4)
    figure = plots.data_set_figure(counts(num_classes), np.zeros((len(labels), 8, 8), np.uint8), labels, title="$x")
    width, height = figure.get_size_inches()
    assert width == 10
    assert 2 < height < 16
    assert figure.get_suptitle() == r"\$x"


def test_a_table_has_no_gallery():
    nothing = np.empty((0, 0, 0), np.uint8)
    figure = plots.data_set_figure(counts(3), nothing, np.empty(0, int), title="table")
    assert len(figure.axes) == 1


def test_names_of_classes_are_text_and_short():
    names = ["$x^2$", "_hidden", "many words " * 9]
    shown = [label.get_text() for label in plots.class_counts(counts(3, names), axes()).get_yticklabels()]
    assert shown[:2] == [r"\$x^2\$", " _hidden"]
    assert shown[2].endswith("…")
    assert len(shown[2]) == 20
