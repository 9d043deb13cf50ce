"""The page: one document that needs no network, runs no script, fits a narrow window and prints."""

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from report_cases import Page

from nnbench.report.page import STYLE, render

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="700" height="100"><rect width="700" height="100"/></svg>'
ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x00\x07\x1b[31m</style></title>"
WIDE = "<td>" + "</td><td>".join(f"{10**9 + number}" for number in range(60)) + "</td>"
HEADS = (
    "<table><thead><tr><th>the leader against</th><th>most often taken for it</th><th>missed in</th></tr></thead>"
    "<tbody><tr><td>a</td><td>b</td><td>1</td></tr></tbody></table>"
)
EMPTY = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
CHROMIUM = shutil.which("chromium")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=5000",
)  # fmt: skip


def cell(**data: str):
    kinds = {"svg": "image/svg+xml", "html": "text/html", "text": "text/plain", "png": "image/png"}
    outputs = [new_output("display_data", {kinds[name]: content}) for name, content in data.items()]
    return new_code_cell("results.call(1 < 2)", outputs=outputs)


def a_page(*cells, experiment: str = "mine") -> str:
    return render(new_notebook(cells=list(cells)), experiment)


@pytest.fixture
def whole() -> str:
    """A page with everything that a report may show."""
    return a_page(
        new_markdown_cell("# The `title` & more"),
        cell(html="<p>The verdict, " + "long " * 200 + "w" * 300 + "</p>"),
        new_markdown_cell("## Tables\nMean of `x`."),
        cell(html=f'<div><style scoped>.x {{}}</style><table border="1"><tbody><tr>{WIDE}</tr></tbody></table></div>'),
        new_markdown_cell("## Figures\nOne."),
        cell(svg=SVG),
        cell(html=HEADS),
        cell(text="x" * 4000),
    )


@pytest.fixture
def seen(whole, tmp_path) -> Page:
    (tmp_path / "page.html").write_text(whole, encoding="utf-8")
    return Page(tmp_path / "page.html")


class Nesting(HTMLParser):
    """Whether each element is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_every_element_is_closed_in_its_place(whole):
    nesting = Nesting(whole)
    assert (nesting.open, nesting.wrong) == ([], [])


def test_policy_forbids_scripts_and_every_request(seen):
    policies = [value for tag, name, value in seen.attributes if (tag, name) == ("meta", "content") and "-src" in value]
    assert len(policies) == 1
    rules = dict(rule.split(maxsplit=1) for rule in policies[0].split("; "))
    assert rules == {
        "default-src": "'none'", "img-src": "data:", "style-src": "'unsafe-inline'",
        "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip


def test_page_has_a_language_a_title_and_fits_a_narrow_window(seen, whole):
    attributes = set(seen.attributes)
    assert ("html", "lang", "en") in attributes
    assert ("meta", "content", "width=device-width, initial-scale=1") in attributes
    assert "<title>mine: The `title` &amp; more</title>" in whole
    assert "<h1>The <code>title</code> &amp; more</h1>" in whole


def test_contents_link_to_every_section(seen):
    sections = [value for tag, name, value in seen.attributes if (tag, name) == ("section", "id")]
    links = [value for tag, name, value in seen.attributes if (tag, name) == ("a", "href")]
    assert links == [f"#{section}" for section in sections]
    assert len(links) == 2


def test_nothing_comes_from_outside_and_nothing_runs(seen, whole):
    assert not seen.scripts
    assert {tag for tag, _, _ in seen.attributes}.isdisjoint({"link", "iframe", "object", "embed", "base", "form"})
    assert not [value for _, name, value in seen.attributes if name in ("src", "href") and value[:1] not in "#d"]
    assert not re.findall(r"url\(|@import|<script", whole)


def test_code_is_there_but_folded_away(whole):
    assert whole.count("<details") == 5
    assert "<details open" not in whole
    assert "results.call(1 &lt; 2)" in whole


def test_figures_are_images_in_which_no_script_runs(seen):
    (source,) = [value for tag, name, value in seen.attributes if (tag, name) == ("img", "src")]
    assert base64.b64decode(source.partition(",")[2]).decode() == SVG
    assert ("img", "alt", "Figure: Figures") in seen.attributes


@pytest.mark.parametrize("kind", ["experiment", "text", "stdout", "stderr", "error", "source"])
def test_text_of_every_origin_is_shown_and_is_no_markup(kind, tmp_path):
    if kind in ("stdout", "stderr"):
        cells = [new_code_cell("x", outputs=[new_output("stream", name=kind, text=ATTACK)])]
    elif kind == "error":
        cells = [new_code_cell("x", outputs=[new_output("error", ename=ATTACK, evalue=ATTACK, traceback=[])])]
    elif kind == "source":
        cells = [new_code_cell(ATTACK)]
    else:
        cells = [cell(text=ATTACK)]
    (tmp_path / "page.html").write_text(a_page(*cells, experiment=ATTACK), encoding="utf-8")
    page = Page(tmp_path / "page.html")
    assert not page.scripts
    assert "img" not in {tag for tag, _, _ in page.attributes}
    assert page.text().count("<script>alert(1)</script>") >= 2
    assert not re.search(r"[\x00-\x08\x0e-\x1f]", (tmp_path / "page.html").read_text(encoding="utf-8"))


def test_a_name_that_looks_like_a_part_of_the_page_is_a_name():
    name = "<!-- contents --></section>"
    assert "<nav" not in a_page(cell(text=name), experiment=name)
    assert a_page(new_markdown_cell("## One"), cell(text=name), experiment=name).count("<nav") == 1


def test_an_output_that_nobody_knows_is_text():
    notebook_cell = new_code_cell(
        "x", outputs=[new_output("display_data", {"text/markdown": "# <b>", "text/plain": "<i>"})]
    )
    assert "&lt;i&gt;" in a_page(notebook_cell)
    assert "<b>" not in a_page(notebook_cell)


def test_numbers_and_their_names_stand_to_the_right_and_text_does_not():
    head = '<thead>\n<tr style="text-align: right;">\n<th></th>\n<th>cell</th>\n<th>mean</th>\n</tr>\n</thead>'
    rows = "<tr>\n<th>0</th>\n<td>adam</td>\n<td>-1.5e-05</td>\n</tr>\n<tr>\n<th>1</th>\n<td>2nd</td>\n<td></td>\n</tr>"
    page = a_page(cell(html=f'<table border="1" class="dataframe">{head}<tbody>{rows}</tbody></table>'))
    assert '<td class="number">-1.5e-05</td>' in page
    assert '<th class="number">mean</th>' in page
    assert "<th>cell</th>" in page
    assert '<td class="short">2nd</td>' in page
    assert 'text-align: right;"' not in page


@pytest.mark.parametrize("rows", ["", "<tr><td>1</td></tr>", '<tr><td colspan="2">1</td></tr>'])
def test_table_of_another_shape_than_its_head_is_left_as_it_is(rows):
    table = f"<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody>{rows}</tbody></table>"
    assert table.replace("<td>1", '<td class="number">1') in a_page(cell(html=table))


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [400, 1280])
def test_page_never_scrolls_sideways_and_its_wide_parts_do(whole, tmp_path, width):
    # The policy admits no script, so the measure is taken on a copy without it.
    measure = """<script>
      const wide = [...document.querySelectorAll('body *')].filter(part => part.scrollWidth > part.clientWidth + 1
        && ['auto', 'scroll'].includes(getComputedStyle(part).overflowX)).map(part => part.className || part.tagName);
      document.title = JSON.stringify([document.documentElement.scrollWidth, innerWidth, wide.length,
        Math.max(...[...document.images].map(image => image.getBoundingClientRect().right)),
        [...document.querySelectorAll('thead th')].filter(head => head.scrollWidth > head.clientWidth + 1).length]);
      parent.postMessage(document.title, '*');
    </script></body>"""
    copy = re.sub(r"<meta http-equiv=[^>]*>", "", whole).replace("</body>", measure)
    (tmp_path / "page.html").write_text(copy, encoding="utf-8")
    frame = f'<iframe src="page.html" style="width:{width}px;height:900px;border:0"></iframe><p>waiting</p>'
    listen = "<script>onmessage = event => { document.querySelector('p').textContent = event.data }</script>"
    (tmp_path / "frame.html").write_text(f"<!DOCTYPE html><body>{listen}{frame}</body>", encoding="utf-8")
    command = [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path}/profile", "--window-size=1400,1000", "--dump-dom"]
    page = (tmp_path / "frame.html").as_uri()
    shown = subprocess.run([*command, page], check=True, capture_output=True, text=True, timeout=100).stdout
    (numbers,) = re.findall(r"<p>\[(.*)\]</p>", shown)
    scroll_width, inner_width, num_scrolling, image_end, heads_end = map(float, numbers.split(","))
    assert inner_width == width
    assert scroll_width <= width
    # The table and the long line; in a narrow window also the image, which stays large enough to be read.
    assert num_scrolling == (3 if width == 400 else 2)
    assert image_end <= width or width == 400
    assert heads_end == 0


@pytest.mark.parametrize("kind", ["short", "number"])
def test_no_head_of_a_column_may_run_into_the_next(kind):
    (rule,) = re.findall(r"^(thead [^{]*)\{ white-space: normal; \}$", STYLE, re.MULTILINE)
    assert f"thead .{kind}" in [part.strip() for part in rule.split(",")]


SENTENCE = '<p class="tex2jax_ignore mathjax_ignore">There is no such thing.</p>'


def test_words_above_a_section_without_data_are_left_out_and_its_sentence_is_said_once():
    page = a_page(
        new_markdown_cell("## Empty\nWords of the empty one."),
        cell(html=SENTENCE),
        cell(html=SENTENCE),
        new_markdown_cell("Words without a heading."),
        cell(html=SENTENCE),
        new_markdown_cell("## Full\nWords of the full one."),
        cell(html=SENTENCE),
        cell(svg=SVG),
        new_markdown_cell("Words alone."),
    )
    assert page.count("There is no such thing.") == 3  # once below each words
    assert "Words of the empty one." not in page
    assert "Words without a heading." not in page
    assert "Words of the full one." in page
    assert "Words alone." in page
    assert page.count("<h2>") == 2


def test_what_follows_a_table_does_not_scroll_with_it():
    page = a_page(cell(html=f"<table><tr>{WIDE}</tr></table>{SENTENCE}"))
    assert re.search(r'<div class="wide"><table>.*</table></div><p', page)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_page_prints(whole, tmp_path):
    (tmp_path / "page.html").write_text(whole, encoding="utf-8")
    command = [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path}/profile", f"--print-to-pdf={tmp_path}/page.pdf"]
    subprocess.run([*command, (tmp_path / "page.html").as_uri()], check=True, capture_output=True, timeout=100)
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", (tmp_path / "page.pdf").read_bytes())) <= 4
