"""Names of cells: a mistyped one is an error that names those that are, in whatever takes one."""

import pytest
from report_cases import planted, results_of

from nnbench.report import cells, figures, tables

RESULTS = results_of(planted({"adam relu": [0.9, 0.8], "gd relu": [0.7, 0.6]}), baselines=planted({"svm": [0.8, 0.8]}))
CALLS = [
    tables.comparisons,
    tables.missed,
    figures.differences,
    figures.confusion_matrix,
    figures.layers,
    figures.calibration,
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["adam rel", ""])
def test_mistyped_cell_is_an_error_in(call, name):
    with pytest.raises(ValueError, match=rf"there is no network.* '{name}'; known are adam relu, gd relu"):
        call(RESULTS, name)


def test_nearest_name_is_offered():
    with pytest.raises(ValueError, match=r"did you mean 'adam relu'\?$"):
        cells.checked(RESULTS, "adam rel")
    with pytest.raises(ValueError, match=r"known are adam relu, gd relu$"):
        cells.checked(RESULTS, "xyz")
    assert cells.checked(RESULTS, "gd relu") == "gd relu"


def test_baseline_is_no_network_but_a_cell():
    assert cells.checked_with_baselines(RESULTS, "svm") == "svm"
    with pytest.raises(ValueError, match="there is no network 'svm'"):
        cells.checked(RESULTS, "svm")


def test_mistyped_optimizer_is_an_error():
    with pytest.raises(ValueError, match=r"there is no optimizer 'adm'; known are adam, gd; did you mean 'adam'\?"):
        figures.update_rules(RESULTS, "adm")


def test_long_list_of_names_is_cut_off_after_the_nearest():
    many = results_of(planted({f"adam relu {place}": [0.9] for place in range(40)}))
    with pytest.raises(ValueError, match=r"known are adam relu 39, .* and 28 more; did you mean 'adam relu 39'\?"):
        cells.checked(many, "adam relu 39 ")
