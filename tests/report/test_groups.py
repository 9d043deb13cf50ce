"""What was tested on different samples, or differs in more than its name, is not compared as if it did not."""

import pytest
from report_cases import SMALL, Workplace

from nnbench.report import results, tables
from nnbench.report.verdict import verdict


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A study of two splits of iris, and one whose cells differ in rates and sizes, too."""
    place = Workplace(tmp_path_factory.mktemp("groups"))
    splits = ("-m", "dataset=iris", "dataset.split_seed=0,1", "optimizer=adam,gd", "tracking.experiment=splits")
    assert place.run(*splits, "seeds=6", *SMALL) == 0
    assert place.run("-m", "model=knn,svm", *splits[1:3], "seeds=6", splits[-1], *SMALL) == 0
    mixed = ("dataset=iris", "optimizer=adam,gd", "tracking.experiment=mixed", "seeds=6", *SMALL)
    assert place.run("-m", *mixed, "activation=relu") == 0
    assert place.run("-m", *mixed, "activation=tanh", "optimizer.learning_rate=0.1", "num_epochs=2") == 0
    return place


def test_cells_of_different_splits_are_never_a_pair(place):
    found = results.study(place.uri, "splits")

    assert set(found.datasets) == {"iris split_seed=0", "iris split_seed=1"}
    for dataset in found.datasets:
        assert len(found.pairs(dataset)) == 1
        assert len(found.against_baselines(dataset)) == 2
        named = {*found.pairs(dataset)["first"], *found.against_baselines(dataset)["baseline"]}
        assert all(name.endswith(dataset.removeprefix("iris ")) for name in named)
    samples = tables.everything(found)["missed_samples"]
    assert (samples["trainings"] == 12).all()  # two networks of six seeds each


def test_each_split_has_a_verdict_of_its_own(place):
    sentences = str(verdict(results.study(place.uri, "splits")))

    assert "On iris split_seed=0, " in sentences
    assert "On iris split_seed=1, " in sentences


def test_a_grid_whose_cells_differ_in_more_is_no_grid(place):
    found = results.study(place.uri, "mixed")

    assert found.differing_settings("iris") == ["optimizer.learning_rate", "num_epochs"]
    assert "(optimizer.learning_rate, num_epochs)" in str(tables.activations(found))
    assert str(tables.variance_shares(found)).startswith("The differences cannot be divided")
    sentences = str(verdict(found))
    assert "differ in more than optimizer and activation, too: optimizer.learning_rate, num_epochs." in sentences
    assert "Averaged over" not in sentences


def test_the_size_of_a_small_test_split_is_said(place):
    assert "The test split of iris has 15 samples, so that one of them is 6.67 points." in str(
        verdict(results.study(place.uri, "mixed"))
    )
