"""The picture of a prediction: the largest probabilities first, the true class marked, the images as they are."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from nnbench.analysis import plots


def test_bars_are_the_largest_probabilities_and_the_true_class_stands_out():
    ax = plots.class_probabilities(np.array([0.1, 0.7, 0.2]), ["a", "$b", "c"], Figure().subplots(), true="c")
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([70, 20, 10])
    assert [label.get_text() for label in ax.get_yticklabels()] == [r"\$b", "c (true)", "a"]
    first, true, last = (bar.get_facecolor() for bar in ax.patches)
    assert first == last != true


def test_of_many_classes_ten_have_a_bar():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(300))
    ax = plots.class_probabilities(probabilities, list(map(str, range(300))), Figure().subplots())
    assert len(ax.patches) == 10
    assert ax.patches[0].get_width() == pytest.approx(100 * probabilities.max())


def test_unequal_numbers_of_probabilities_and_classes_are_refused():
    with pytest.raises(ValueError, match="2 classes"):
        plots.class_probabilities(np.ones(3) / 3, ["a", "b"], Figure().subplots())


def test_each_sample_has_a_row_with_its_image():
    images = np.arange(2 * 6.0).reshape(2, 2, 3)
    figure = plots.predictions_figure(
        images, np.full((2, 2), 0.5), ["a", "b"], titles=["first", "$second"], shades=(0, 20)
    )
    pictures = [ax.images[0] for ax in figure.axes if ax.images]
    np.testing.assert_array_equal([picture.get_array() for picture in pictures], images)
    assert {picture.get_clim() for picture in pictures} == {(0, 20)}
    titles = [ax.get_title() for ax in figure.axes if ax.images]
    assert titles == ["first", r"\$second"]


def test_rows_of_a_table_have_bars_alone():
    figure = plots.predictions_figure(None, np.full((3, 2), 0.5), ["a", "b"], titles=["x", "y", "z"])
    assert len(figure.axes) == 3
