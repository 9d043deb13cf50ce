"""Tables as files: the same numbers when they are read back, and text that is nothing but text."""

import csv
import io
import math
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from nnbench.report.export import as_csv, as_latex, escape_latex, without_credentials, write_tables

FORMULAS = ('=HYPERLINK("http://evil","x")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\x01=1")
TRAPS = (
    "&%$#_{}~^\\<>", r"\input{/etc/passwd}", r"\end{tabular}", "[32]", "*", "a--b", "% the rest", "$x$", "^^M", "^^5c",
    "new\nline", "\u2028line", "\u202ertl", "emoji \U0001f600", "nul\x00bell\x07\x1b[0m", "'`\"",
)  # fmt: skip


def read_back(table: pd.DataFrame) -> list[list[str]]:
    return list(csv.reader(io.StringIO(as_csv(table), newline="")))


def test_numbers_are_the_same_when_csv_is_read_back():
    floats = [0.1 + 0.2, 1 / 3, 1e-300, -1.7976931348623157e308, math.inf, -math.inf, -0.0, 5.0]
    integers = [2**62, -3, 0, 1, 2, 3, 4, 5]
    head, *rows = read_back(pd.DataFrame({"float": floats, "integer": integers}))
    assert head == ["float", "integer"]
    assert [float(row[0]) for row in rows] == floats
    assert [int(row[1]) for row in rows] == integers
    assert read_back(pd.DataFrame({"x": [math.nan, 1.0]}))[1:] == [[""], ["1.0"]]


def test_numbers_in_a_column_with_text_are_still_numbers():
    lines = as_csv(pd.DataFrame({"mixed": [-1.5, "-1.5", None, True]})).splitlines()
    assert lines == ['"mixed"', "-1.5", '"\'-1.5"', '""', "True"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_of_a_csv_begins_like_a_formula(text):
    table = pd.DataFrame({text: [text, "harmless"], "category": pd.Categorical([text, "b"])})
    (name, category), (first, second), last = read_back(table)
    assert name == first == second == "'" + text.replace("\x01", "")
    assert (category, *last) == ("category", "harmless", "b")


def test_a_semicolon_in_text_is_no_border_between_cells():
    line = as_csv(pd.DataFrame({"x": ["a;=1+1"], "y": [1]})).splitlines()[1]
    assert line == '"a;=1+1",1'


@pytest.mark.parametrize("text", TRAPS)
def test_latex_sets_text_as_it_is(text):
    escaped = escape_latex(text)
    assert escaped.isprintable() or "\u202e" in escaped
    # What is left when the known commands are taken away has no character that LaTeX would act on.
    names = "backslash|asciitilde|asciicircum|less|greater|bar|quotesingle|asciigrave"
    rest = re.sub(rf"\\text(?:{names})\{{\}}", "", escaped)
    rest = re.sub(r"\\[&%$#_{}]", "", rest)
    rest = re.sub(r"\{[\[\]*]\}|-\{\}", "", rest)
    assert not set(rest) & set("\\&%$#_{}~^<>|[]*")


def test_rows_and_columns_of_latex_are_those_of_the_table():
    texts, floats, integers = ["x & y", "[32]", "line\\\\"], [1.23456789, -2e-9, math.nan], [1, 10**12, -3]
    table = pd.DataFrame({"a & b": texts, "n": floats, "i": integers})
    lines = as_latex(table).splitlines()
    assert lines[1:4] == [r"\begin{tabular}{lrr}", r"\toprule", r"a \& b & n & i \\"]
    assert lines[5:8] == [
        r"x \& y & 1.235 & 1 \\",
        r"{[}32{]} & $-2 \cdot 10^{-9}$ & 1000000000000 \\",
        r"line\textbackslash{}\textbackslash{} &  & $-3$ \\",
    ]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (98.765, "98.77"),
        (12345.6, "12346"),
        (0.000123456, "0.0001235"),
        (1.5e12, r"$1.5 \cdot 10^{12}$"),
        (math.inf, r"$\infty$"),
        (5.0, "5"),
        (0.0, "0"),
    ],
)
def test_numbers_of_latex_have_the_digits_that_matter(value, wanted):
    assert as_latex(pd.DataFrame({"x": [value]})).splitlines()[5] == rf"{wanted} \\"


def test_index_that_says_something_is_a_column(tmp_path):
    named = pd.DataFrame({"n": [1]}, index=pd.Index(["a_b"], name="cell"))
    unnamed = pd.DataFrame({"n": [1]}, index=["a_b"])
    counted = pd.DataFrame({"n": [1]})
    levels = pd.DataFrame({("mean", "x"): [1], ("sd", "x"): [2]})
    write_tables({"named": named, "unnamed": unnamed, "counted": counted, "levels": levels}, tmp_path)
    heads = {path.stem: path.read_text(encoding="utf-8").splitlines()[0] for path in tmp_path.glob("*.csv")}
    assert heads == {"named": '"cell","n"', "unnamed": '"index","n"', "counted": '"n"', "levels": '"mean x","sd x"'}


def test_table_without_rows_or_columns_is_written(tmp_path):
    files = write_tables({"no_rows": pd.DataFrame(columns=["a", "b"]), "nothing": pd.DataFrame()}, tmp_path / "new")
    assert [path.name for path in files] == ["no_rows.csv", "no_rows.tex", "nothing.csv", "nothing.tex"]
    assert read_back(pd.DataFrame(columns=["a", "b"])) == [["a", "b"]]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "-x", "a b", "x\n"])
def test_table_writes_nowhere_but_into_its_folder(name, tmp_path):
    with pytest.raises(ValueError, match="cannot name a file"):
        write_tables({name: pd.DataFrame({"x": [1]})}, tmp_path / "tables")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_names_that_are_twice_there_keep_their_columns():
    twice = pd.DataFrame([[1.5, "=1", 2]], columns=["x", "x", "y"])
    assert as_csv(twice).splitlines() == ['"x","x","y"', '1.5,"\'=1",2']
    assert r"1.5 & =1 & 2 \\" in as_latex(twice)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("http://me:secret@host:5000/x", "http://host:5000/x"),
        ("run tracking.uri=https://me:p@ss@host and http://you@h", "run tracking.uri=https://host and http://h"),
        ("mysql+pymysql://me:secret@db/x", "mysql+pymysql://db/x"),
        ("http://host/a@b me@host", "http://host/a@b me@host"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ('["http://host", "me@host"]', '["http://host", "me@host"]'),
    ],
)
def test_credentials_are_taken_out_of_addresses_and_nothing_else(text, wanted):
    assert without_credentials(text) == wanted
    assert "secret" not in as_csv(pd.DataFrame({text: [text]})) + as_latex(pd.DataFrame({text: [text]}))


def test_float32_keeps_its_own_digits():
    assert as_csv(pd.DataFrame({"x": np.array([0.1], dtype=np.float32)})).splitlines()[1] == "0.1"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs a LaTeX")
def test_latex_compiles(tmp_path):
    traps = [text for text in TRAPS if text.isascii()]
    write_tables({"traps": pd.DataFrame({"[x] & y": traps, "number": np.linspace(-1e-9, 1e9, len(traps))})}, tmp_path)
    preamble = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}"
    document = rf"{preamble}\begin{{document}}\input{{traps}}\end{{document}}"
    (tmp_path / "main.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-no-shell-escape", "main.tex"]
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 0
