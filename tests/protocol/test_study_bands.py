"""A band is about the cells that it names, holds with its ends included, and says what is wrong with it."""

import pytest

from nnbench.protocol.study import Band

ADAM = {"optimizer": "adam", "hidden": [100], "optimizer.learning_rate": 0.01}


@pytest.mark.parametrize(
    ("cells", "about_it"),
    [
        ({}, True),
        ({"optimizer": "adam"}, True),
        ({"optimizer": "adam", "hidden": [100]}, True),
        ({"hidden": [100, 10]}, False),
        ({"optimizer.learning_rate": 0.1}, False),
        ({"optimizer.momentum": 0.9}, False),  # which Adam does not have
    ],
)
def test_a_band_is_about_the_networks_that_have_all_its_settings(cells, about_it):
    assert Band(cells=cells, low=0.5).chooses(ADAM) is about_it


def test_a_band_is_never_about_a_baseline():
    assert not Band(low=0.5).chooses({"model": "svm"})


def test_the_ends_of_a_band_are_in_it_and_one_may_be_open():
    assert Band(low=0.5, high=0.7).holds(0.5)
    assert Band(low=0.5, high=0.7).holds(0.7)
    assert not Band(low=0.5, high=0.7).holds(0.4999)
    assert not Band(low=0.5, high=0.7).holds(0.7001)
    assert Band(low=0.5).holds(1e9)
    assert Band(high=0.5).holds(-1e9)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "low, high and finding are null"),
        ({"low": 0.5, "finding": "healthy"}, "make two entries of them"),
        ({"finding": "hungover"}, "finding is hungover; it must be one of diverged, dead units"),
        ({"low": 0.7, "high": 0.5}, "low is 0.7, which is above high, 0.5"),
        ({"low": 0.7, "metric": "accuracy"}, "metric is accuracy; it must be one on record, such as test/accuracy"),
        ({"low": 0.7, "epoch": 0}, "epoch is 0; it must be at least 1"),
    ],
)
def test_a_band_that_says_nothing_or_too_much_is_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        Band(**options)
