"""Text that users give is data in a report, never markup, mathematics or code."""

import json

import nbformat
import pytest
from report_cases import CLASSES, EXPERIMENT, TARGETS, Page

from nnbench.report import results
from nnbench.report.build import TEMPLATE


@pytest.fixture(scope="module")
def page(hostile) -> Page:
    return Page(hostile.output / "report.html")


def test_no_script_in_the_page_came_from_data(page):
    assert page.scripts  # nbconvert's own
    assert not [script for script in page.scripts if "alert" in script or "onerror" in script]
    assert not [(tag, name) for tag, name, _ in page.attributes if name.startswith("on")]
    assert not [value for *_, value in page.attributes if "javascript:" in value.lower() or "alert(" in value]


def test_hostile_text_is_shown_as_it_is(page):
    text = page.text()
    for experiment_line in EXPERIMENT.splitlines():
        assert experiment_line in text
    assert "<script>alert('broken')</script>" not in text
    assert any(target in text for target in TARGETS)


def test_figures_show_hostile_names_and_are_no_documents_with_scripts(page):
    figures = page.figures()
    assert len(figures) == 12  # six for each of two data sets
    for figure in figures:
        assert {element.tag.rpartition("}")[2] for element in figure.iter()}.isdisjoint({"script", "foreignObject"})


def test_parameters_reach_the_notebook_as_a_file_and_never_as_source(hostile):
    parameters = json.loads((hostile.output / "parameters.json").read_text(encoding="utf-8"))
    assert parameters["experiment"] == EXPERIMENT
    notebook = nbformat.read(hostile.output / "report.ipynb", as_version=4)
    sources = "\n".join(cell.source for cell in notebook.cells)
    assert "alert" not in sources
    assert all(line.strip() in TEMPLATE.read_text(encoding="utf-8") for line in sources.splitlines())
    assert not list(hostile.place.folder.rglob("P"))


def test_everything_is_written_below_the_folders_it_belongs_to(hostile):
    assert {path.name for path in hostile.place.folder.iterdir()} == {
        "0.csv", "1.csv", "mine", "mlflow.db", "mlflow.db.lock", "mlartifacts", "outputs", "reports",
    }  # fmt: skip
    assert hostile.output.name.isascii()
    assert {path.name for path in hostile.output.iterdir()} == {"parameters.json", "report.html", "report.ipynb"}


def test_classes_keep_their_names_to_the_letter(hostile):
    loaded = results.load(hostile.output / "parameters.json")
    assert len(loaded.confusion) == 2
    for counts in loaded.confusion.values():
        assert sorted(counts.index) == sorted(counts.columns) == sorted(CLASSES)


def test_each_cell_is_in_the_leaderboard_under_its_own_name(hostile, page):
    loaded = results.load(hostile.output / "parameters.json")
    cells = list(loaded.leaderboard()["cell"])
    assert len(set(cells)) == 2
    for cell in cells:
        assert cell.startswith("_adam relu")
        assert " ".join(cell.split()) in page.text()
