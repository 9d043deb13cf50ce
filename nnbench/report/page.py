"""The page of a report: an executed notebook as one HTML document that needs no network and runs no script.

Every output is shown as what it is: figures as images, in which nothing can run, tables as tables in a box that
scrolls by itself, and all the rest as text. The code of a cell is folded away; the notebook has it, too.
The words above a section that has no data, only a sentence that says why, are left out; so is a sentence that has just
been said. A Content-Security-Policy forbids scripts and every request, so that what an escape might miss stays without
effect.
"""

import base64
import html
import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #636c76; --line: #d8dee4; --band: #f6f8fa;
        --link: #0759b5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dfe5ec; --paper: #14181d; --faint: #98a3ae; --line: #39424c; --band: #1d232a; --link: #79b4ff; }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
       font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
       overflow-wrap: break-word; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 0 0 .5rem; }
h3 { font-size: 1.05rem; margin: 1.25rem 0 .25rem; }
p { margin: .5rem 0; max-width: 48rem; }
a { color: var(--link); }
code, pre { font: .85em/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { margin: .5rem 0; padding: .6rem .8rem; background: var(--band); border-radius: 4px; overflow-x: auto; }
section { margin-top: 2.5rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
.study { color: var(--faint); margin: .25rem 0 1rem; }
nav { margin: 1.5rem 0 0; padding: .7rem 1rem; background: var(--band); border-radius: 4px; }
nav ol { margin: 0; padding-left: 1.6rem; columns: 18rem; column-gap: 2rem; }
nav li { break-inside: avoid; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
.output { margin: .75rem 0; overflow-x: auto; }
.wide { overflow-x: auto; }
.output img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
.wide > img { display: block; padding: .25rem; }
table { border-collapse: collapse; font-size: .875rem; line-height: 1.4; border: 0; }
th, td { padding: .3rem .7rem; border: 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
         max-width: 34rem; }
thead th { max-width: 8rem; vertical-align: bottom; border-bottom: 2px solid var(--faint); font-weight: 600; }
tbody th { font-weight: 400; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.short { white-space: nowrap; }
.long { min-width: 16rem; }
thead .number, thead .short { white-space: normal; }
details.code { margin: .25rem 0 1rem; color: var(--faint); }
details.code summary { font-size: .75rem; cursor: pointer; width: max-content; }
.errors { color: var(--faint); }
@media screen and (max-width: 40rem) {
  body { padding: 1rem .8rem 3rem; }
  h1 { font-size: 1.4rem; }
  th, td { padding: .25rem .5rem; max-width: 20rem; }
  .long { min-width: 10rem; overflow-wrap: anywhere; }
  .wide > img { min-width: 34rem; }
}
@page { margin: 15mm 14mm; }
@media print {
  :root { color-scheme: light; --ink: #000; --paper: #fff; --faint: #444; --line: #bbb; --band: #fff; --link: #000; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { padding: 0; }
  a { text-decoration: none; }
  details.code { display: none; }
  section { margin-top: 1.5rem; padding-top: .75rem; }
  h2, h3 { break-after: avoid; }
  .intro, img, tr, figure, pre { break-inside: avoid; }
  .intro { break-after: avoid; }
  .output, .wide, pre { overflow: visible; }
  .output img { max-height: 240mm; }
  pre { white-space: pre-wrap; }
  table { font-size: 7.5pt; width: 100%; }
  thead { display: table-header-group; }
  th, td, .long { padding: .15rem .3rem; min-width: 0; max-width: none; overflow-wrap: anywhere; }
  .number, .short, thead th { overflow-wrap: normal; white-space: normal; }
}
"""
IMAGES = ("image/svg+xml", "image/png", "image/jpeg")
HEADING = re.compile(r"(#{1,3}) +(.+)")
# What pandas writes around a table: a style that has our own rules as its better, a border of 1995.
STYLE_OF_PANDAS = re.compile(r"<style scoped>.*?</style>\s*", re.DOTALL)
ATTRIBUTES_OF_PANDAS = re.compile(r'(?<=<t[rhd]) style="text-align: \w+;?"|(?<=<table) border="1"')
STYLE_OF_WORDS = re.compile(r'(?<=<t[hd]) class="words" style="text-align: left"')  # of `display.Table`
NUMBER = r"[-+\u2212]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?(?: ?%)?|NaN|nan|-?inf|-"
NUMBER_CELL = re.compile(rf"<td>(?=(?:{NUMBER})</td>)")
SHORT_CELL = re.compile(r"<t([dh])>(?=[^<>]{1,24}</t[dh]>)")
LONG_CELL = re.compile(r"<t([dh])>(?=[^<>]{41,}</t[dh]>)")
SENTENCE = re.compile(r"<p[^<>]*>[^<>]*</p>")  # of `display.Paragraph`
TABLE = re.compile(r"<table.*?</table>", re.DOTALL)


def render(notebook: Any, experiment: str) -> str:
    """Return the page of an executed notebook (nbclient's); the name of its study is text, whatever it holds."""
    headings: list[tuple[int, str]] = []
    body = "\n".join(_sections(notebook, headings))
    title = next((text for level, text in headings if level == 1), "Report")
    contents = "\n".join(
        f'<li><a href="#{_anchor(number)}">{_inline(text)}</a></li>'
        for number, (level, text) in enumerate(headings)
        if level == 2
    )
    name = html.escape(" ".join(printable(experiment).split()))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="nnbench">
<title>{name}: {html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{_inline(title)}</h1>
<p class="study">Study <bdi>{name}</bdi></p>
</header>
<main>
{body.replace(CONTENTS, f'<nav aria-label="Contents"><ol>{contents}</ol></nav>' if contents else "", 1)}
</main>
</body>
</html>
"""


CONTENTS = "<!-- contents -->"  # stands where the first section begins


def _sections(notebook: Any, headings: list[tuple[int, str]]) -> Iterator[str]:
    """Yield the parts of the body, a section for each heading of level 2; collect the headings."""
    from nbconvert.filters import markdown2html

    inside = False
    sources: list[str] = []  # of cells whose code is not shown yet: those without an output share a place
    said = ""  # the sentence that was shown last
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            said = ""
            needless = _says_only_why(notebook.cells[place + 1 :])
            if sources:
                yield _code(sources)
            # Only the template writes Markdown; text from data reaches the notebook as an output.
            lines = cell.source.strip().split("\n", 1)
            if heading := HEADING.fullmatch(lines[0]):
                level, text = len(heading[1]), heading[2]
                headings.append((level, text))
                if level == 2:
                    yield "</section>" if inside else CONTENTS
                    yield f'<section id="{_anchor(len(headings) - 1)}">'
                    inside = True
                lines = lines[1:] if level == 1 or not needless else []
                words = markdown2html("\n".join(lines)) if lines else ""
                title = f"<h{level}>{_inline(text)}</h{level}>" if level > 1 else ""
                yield f'<div class="intro">{title}{words}</div>'
            elif not needless:
                yield markdown2html(cell.source)
        elif cell.cell_type == "code":
            text = headings[-1][1] if headings else "Figure"
            new = [output for output in cell.outputs if not _sentence(output) or _sentence(output) != said]
            if new and sources:
                yield _code(sources)
            yield from (_output(output, text) for output in new)
            said = _sentence(cell.outputs[-1]) if cell.outputs else said
            sources.append(cell.source)
    if sources:
        yield _code(sources)
    yield "</section>" if inside else CONTENTS


def _says_only_why(cells: list[Any]) -> bool:
    """Return whether the cells up to the next words have no data to show, but sentences that say why."""
    up_to_words = takewhile(lambda cell: cell.cell_type == "code", cells)
    outputs = [output for cell in up_to_words for output in cell.outputs]
    return bool(outputs) and all(map(_sentence, outputs))


def _sentence(output: Any) -> str:
    """Return an output that is a single plain sentence, or some, as HTML; nothing for any other."""
    markup = output.get("data", {}).get("text/html", "")
    return markup if SENTENCE.fullmatch(markup) else ""


def _code(sources: list[str]) -> str:
    """Return the code of some cells, folded away; empty the list."""
    code = _escaped("\n\n".join(sources))
    sources.clear()
    return f'<details class="code"><summary>code</summary><pre>{code}</pre></details>'


def _output(output: Any, title: str) -> str:
    """Return an output of a cell as HTML; `title` is what the figure's section is called."""
    if output.output_type == "stream":
        return f'<pre class="{"errors" if output.name == "stderr" else "output"}">{_escaped(output.text)}</pre>'
    if output.output_type == "error":
        return f'<pre class="errors">{_escaped(f"{output.ename}: {output.evalue}")}</pre>'
    data = output.data
    for kind in IMAGES:
        if kind in data:
            if kind == "image/svg+xml":
                content = base64.b64encode(printable(data[kind]).encode()).decode("ascii")
            else:  # it is in base64 already
                content = "".join(data[kind].split())
            source = f"data:{kind};base64,{content}"
            return f'<div class="output wide"><img src="{source}" alt="Figure: {html.escape(title)}"></div>'
    if "text/html" in data:
        return f'<div class="output">{_plain_tables(printable(data["text/html"]))}</div>'
    return f'<pre class="output">{_escaped(data.get("text/plain", ""))}</pre>'


def _plain_tables(markup: str) -> str:
    """Return an output of pandas without its own looks, its numbers and the names above them to the right."""
    markup = ATTRIBUTES_OF_PANDAS.sub("", STYLE_OF_PANDAS.sub("", markup))
    return TABLE.sub(lambda table: f'<div class="wide">{_numbers_right(table[0])}</div>', markup)


def _numbers_right(table: str) -> str:
    if STYLE_OF_WORDS.search(table) or '<th class="number">' in table:  # it says itself which columns are numbers
        return SHORT_CELL.sub(
            r'<t\1 class="short">', LONG_CELL.sub(r'<t\1 class="long">', STYLE_OF_WORDS.sub("", table))
        )
    table = NUMBER_CELL.sub('<td class="number">', table)
    head, mark, body = table.partition("</thead>")
    rows = [
        re.findall(r"<(td|th)( class=\"number\")?[^>]*>", row) for row in re.findall(r"<tr>.*?</tr>", body, re.DOTALL)
    ]
    names = head.split("<th>")
    if not (mark and rows) or len({len(row) for row in rows} | {len(names) - 1}) > 1 or "<th " in head:
        return table  # no rows, several levels, or cells that span others
    # A column is one of numbers if it has some and no text; an empty cell is neither.
    body = LONG_CELL.sub(r'<t\1 class="long">', body)
    body = SHORT_CELL.sub(r'<t\1 class="short">', body)
    numeric = [any(cell[1] for cell in column) for column in zip(*rows, strict=True)]
    marked = ['<th class="number">' if number else "<th>" for number in numeric]
    return names[0] + "".join(f"{tag}{name}" for tag, name in zip(marked, names[1:], strict=True)) + mark + body


def _inline(text: str) -> str:
    """Return the text of a heading, in which only code between backticks has a meaning."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _anchor(number: int) -> str:
    return f"section-{number}"


def _escaped(text: str) -> str:
    return html.escape(printable(re.sub(r"\x1b\[[\d;]*m", "", text)))  # without the colours of a terminal


def printable(text: str) -> str:
    """Return text without the characters that no document may have: one of them, and an SVG is no picture any more.

    Nor has it those that turn the direction of writing, or the numbers behind a name could be read backwards.
    """
    turning = r"\u202a-\u202e\u2066-\u2069"
    return re.sub(rf"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff{turning}]", "", text)
