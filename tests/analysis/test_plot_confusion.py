"""Differences of confusion matrices and missed images show what they were given."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from nnbench.analysis import plots


def axes(*shape):
    return Figure(layout="constrained").subplots(*shape)


def counts(table, names="abc"):
    return pd.DataFrame(table, index=list(names), columns=list(names))


def test_a_difference_is_in_points_of_the_true_class():
    first = counts([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    second = counts([[1, 1, 0], [2, 2, 4], [0, 0, 0]])

    ax = plots.confusion_difference(first, second, axes())

    shown = np.asarray(ax.collections[0].get_array()).reshape(3, 3)
    np.testing.assert_array_equal(shown, [[25, -25, 0], [-25, 75, -50], [0, 0, 0]])
    assert [text.get_text() for text in ax.texts] == ["+25", "-25", "", "-25", "+75", "-50", "", "", ""]
    low, high = ax.collections[0].get_clim()
    assert (low, high) == (-75, 75)  # zero is the middle colour
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")


def test_equal_matrices_have_no_difference():
    ax = plots.confusion_difference(counts(np.eye(3)), counts(np.eye(3)), axes())

    assert not np.asarray(ax.collections[0].get_array()).any()
    assert ax.collections[0].get_clim() == (-1, 1)


def test_matrices_of_different_classes_are_refused():
    with pytest.raises(ValueError, match="different classes"):
        plots.confusion_difference(counts(np.eye(3)), counts(np.eye(3), "xyz"), axes())


def missed(num_images, name="4"):
    return pd.DataFrame({"true": name, "predicted": "9", "missed": range(num_images), "trainings": 10})


@pytest.mark.parametrize("name", ["4", "$x$", "_y", "<b>", "long " * 50])
def test_images_say_what_they_are_and_what_they_were_taken_for(name):
    images = np.random.default_rng(0).random((5, 8, 8))
    grid = axes(2, 3)

    plots.missed_images(images, missed(5, name), grid)
    grid[0, 0].figure.draw_without_rendering()

    panels = grid.ravel()
    for place, ax in enumerate(panels[:5]):
        np.testing.assert_array_equal(ax.images[0].get_array(), images[place])
        assert ax.get_title().endswith(f" → 9\n{place} of 10")
    assert not panels[5].axison
    assert not panels[5].images


def test_images_share_one_scale():
    images = np.stack([np.full((4, 4), 0.5), np.ones((4, 4)), np.zeros((4, 4))])
    grid = axes(1, 3)

    plots.missed_images(images, missed(3), grid)

    assert {ax.images[0].get_clim() for ax in grid} == {(0, 1)}


@pytest.mark.parametrize(("num_images", "num_rows"), [(4, 4), (2, 3)])
def test_images_rows_and_axes_have_to_fit(num_images, num_rows):
    with pytest.raises(ValueError, match=f"{num_images} images, {num_rows} rows and 3 axes"):
        plots.missed_images(np.zeros((num_images, 4, 4)), missed(num_rows), axes(1, 3))


def test_many_classes_make_a_small_picture():
    names = [f"class {place}" for place in range(300)]
    table = counts(np.eye(300, dtype=int), names)
    figure = Figure(figsize=(10, 5))
    left, right = figure.subplots(1, 2)
    plots.confusion_matrix(table, left)
    plots.confusion_difference(table, table, right)
    drawn = io.BytesIO()

    figure.savefig(drawn, format="svg")

    assert len(drawn.getvalue()) < 2_000_000  # with a path for each square it is 30 times that
