"""Text that users give is data in a report, never markup, mathematics or code."""

import csv
import io
import json
import re

import mistune
import nbformat
import pandas as pd
import pytest
import yaml
from report_cases import CLASSES, EXPERIMENT, SMALL, TARGETS, Page, Study, Workplace

from nnbench.report import results, studies
from nnbench.report.build import TEMPLATE

# matplotlib has no picture of a control character, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Glyph")
ALLOWED = {  # the elements that the page, pandas and our own displays write with attributes
    "html", "meta", "nav", "a", "section", "div", "p", "details", "img", "pre", "table", "th", "td", "tr", "h3", "h4",
    "span", "ol", "ul", "figure", "figcaption", "summary", "code",
}  # fmt: skip


@pytest.fixture(scope="module")
def page(hostile) -> Page:
    return Page(hostile.output / "report.html")


def test_no_script_in_the_page_came_from_data(page):
    assert not page.scripts
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
    assert len(figures) >= 12  # six for each of two data sets, at the least
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
        "0.csv", "1.csv", "mine", "mlflow.db", "mlflow.db.lock", ".nnbench", "mlartifacts", "outputs", "reports",
    }  # fmt: skip
    assert hostile.output.name.isascii()
    assert {path.name for path in hostile.output.iterdir()} == {
        "parameters.json", "report.html", "report.ipynb", "tables",
    }  # fmt: skip


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


# What people could give, and every way in: each has a mark of its own, so that one can see where it came out.
ABOUT = ("question", "source", "differences", "explanation")
PAYLOADS = {
    "script": "<script>alert('{}')</script>",
    "end of script": "</script><script>alert('{}')</script>",
    "image": "<img src=x onerror=alert('{}')>",
    "link": "<a href='javascript:alert(\"{}\")'>{}</a>",
    "style": "</style></title></textarea>--><svg onload=alert('{}')>",
    "mathematics": r"$\frac{{ {} $",
    "formula": '=HYPERLINK("http://evil/{}","{}")',
    "hidden": "_{}",
    "quotes": "\"'`{}'\"",
    "right to left": "\u202e{}\u2066",
    "emoji": "\U0001f600 {}",
    "controls": "\x1b[31m{}\x08\x7f",
    "latex": r"\input{{/etc/passwd}} {} \end{{tabular}} % & # ^ ~",
    "template": "{{{{ {} }}}} {{% raw %}} {{0}} %s",
}
BROKEN = """
from nnbench.nn import Adam


class Hostile(Adam):
    __doc__ = {doc!r}


class Broken(Adam):
    def step(self, *words, **more):
        raise RuntimeError({error!r})
"""


def attack(place: str) -> list[str]:
    """Return every payload, marked with the place that it is given at; a table with controls is refused as it is."""
    texts = [payload.format(*[place] * 4) for payload in PAYLOADS.values()]
    return [re.sub(r"[\x00-\x1f\x7f]", "", text) for text in texts] if place in ("class", "column") else texts


@pytest.fixture(scope="module")
def attacked(tmp_path_factory) -> Study:
    """A sweep in which classes, columns, file, docstring, error and study are attacks, with a cell that fails."""
    place = Workplace(tmp_path_factory.mktemp("attacked"))
    classes = attack("class")
    columns = {column: [value % (number + 2) for value in range(280)] for number, column in enumerate(attack("column"))}
    file = "'<script>alert(file)< $x$ & =1.csv"
    pd.DataFrame({**columns, "target": classes * 20}).to_csv(place.folder / file, index=False)
    place.write("hostile.py", BROKEN.format(doc="\n".join(attack("docstring")), error=" ".join(attack("error"))))
    for name in ("Hostile", "Broken"):
        place.write(f"mine/optimizer/_{name}.yaml", f"_target_: hostile.{name}\nlearning_rate: 0.01\n")
    settings = {
        "hydra": {"mode": "MULTIRUN", "sweeper": {"params": {"optimizer": "_Hostile,_Broken"}}},
        "defaults": [{"override /dataset": "csv"}],
        "plugins": ["hostile"],
        "dataset": {"path": file, "target": "target"},
        "tracking": {"experiment": " ".join(attack("study"))},
        "about": {key: " ".join(attack(key)) for key in ABOUT},
        "to_reach": [
            {"cells": {"optimizer": name}, "metric": f"layer1/{text}", "low": 0.5}
            for name, text in zip(("_Hostile", *attack("setting")), ("grad_norm", *attack("metric")), strict=True)
        ],
    }
    place.write("mine/study/attack.yaml", f"# @package _global_\n{yaml.safe_dump(settings)}")
    assert place.run("--config-dir", "mine", "study=attack", "seeds=2", *SMALL[:-1], "report=true") == 1
    (output,) = (place.folder / "reports").iterdir()
    return Study(place, place.replicas(), output)


def test_payloads_of_every_place_are_no_markup(attacked):
    page = Page(attacked.output / "report.html")
    assert not page.scripts
    assert {tag for tag, _, _ in page.attributes} <= ALLOWED
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    addresses = [value for _, name, value in page.attributes if name in ("href", "src", "action")]
    assert not [value for value in addresses if not value.startswith(("#section-", "data:image/"))]
    styles = [value for _, name, value in page.attributes if name == "style"]
    assert not [value for value in styles if not re.fullmatch(r"[a-z0-9 :;%-]*", value)]


@pytest.mark.parametrize("place", ["study", *ABOUT])
def test_payloads_of_a_study_are_shown_to_the_letter(attacked, place):
    shown = Page(attacked.output / "report.html").text()
    for text in attack(place):
        if place in ABOUT:
            text = text.replace("`", "")  # marks code, which a page of plain text has none of
        assert " ".join(re.sub(r"[\x00-\x1f\x7f\u202e\u2066]", "", text).split()) in shown


def test_pictures_hold_nothing_that_runs_or_loads(attacked):
    for figure in Page(attacked.output / "report.html").figures():
        for element in figure.iter():
            assert element.tag.rpartition("}")[2] not in {"script", "foreignObject", "a", "iframe"}
            assert not [name for name in element.attrib if name.rpartition("}")[2].startswith("on")]
            links = [value for name, value in element.attrib.items() if name.rpartition("}")[2] == "href"]
            assert not [value for value in links if not value.startswith(("#", "data:image/png;base64,"))]


def test_no_payload_is_in_the_code_of_the_notebook(attacked):
    notebook = nbformat.read(attacked.output / "report.ipynb", as_version=4)
    template = TEMPLATE.read_text(encoding="utf-8")
    assert all(line.strip() in template for cell in notebook.cells for line in cell.source.splitlines())
    kinds = {kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})}
    assert kinds <= {"text/html", "text/plain", "image/svg+xml", "image/png"}


def test_no_payload_is_a_link_or_an_element_in_the_page_of_studies(tmp_path):
    words = {key: " ".join([*attack(key), f"[{key}](javascript:alert(1)) ![{key}][x]"]) for key in ABOUT}
    names = ("attack", "[x](javascript:alert(1))", "<b>", "a b")
    (tmp_path / "study").mkdir()
    for name in names:
        content = f"# @package _global_\n{yaml.safe_dump({'about': words})}"
        (tmp_path / f"study/{name}.yaml").write_text(content, encoding="utf-8")

    written = studies.render(studies.of_folders(tmp_path), None)
    to_html = mistune.create_markdown(escape=False, plugins=["table", "strikethrough"])
    (tmp_path / "page.html").write_text(to_html(written.removeprefix(studies.INTRODUCTION)), encoding="utf-8")

    page = Page(tmp_path / "page.html")
    assert not page.scripts
    links = [value for tag, _, value in page.attributes if tag == "a"]
    assert len(links) == len(names)
    assert all(link.startswith("#") for link in links)
    assert {tag for tag, _, _ in page.attributes} <= {"a", "code"}


def test_no_payload_is_a_formula_or_a_command_in_the_tables(attacked):
    files = sorted((attacked.output / "tables").iterdir())
    assert {path.suffix for path in files} == {".csv", ".tex"}
    for path in files:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".csv":
            values = [value for row in csv.reader(io.StringIO(text, newline="")) for value in row]
            assert not [value for value in values if value.startswith(("=", "+", "-", "@")) and not number(value)]
            assert not [value for value in values if re.search(r"[\x00-\x08\x0e-\x1f\x7f]", value)]
        else:
            body = text.partition("\\midrule")[2].rpartition("\\bottomrule")[0]
            commands = set(re.findall(r"\\[A-Za-z]+", body))
            assert commands <= {
                "\\textbackslash", "\\textasciitilde", "\\textasciicircum", "\\textless", "\\textgreater", "\\textbar",
                "\\textquotesingle", "\\textasciigrave", "\\cdot", "\\infty",
            }  # fmt: skip
            columns = len(re.findall(r"(?<!\\)&", text.splitlines()[3]))
            assert {len(re.findall(r"(?<!\\)&", line)) for line in body.strip().splitlines()} <= {columns}


def number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
