"""The page of all studies, in Markdown: what each asks, how to run it, what its source has and what we found.

Words come from the studies' files, every number from the store. Names and values are data, never markup.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import yaml

from nnbench.report.page import printable
from nnbench.report.reached import MET, check, per_cent
from nnbench.report.results import NothingToReportError, Results, study
from nnbench.tracking.store import file_name, without_credentials

MOST_COMMANDS = 4  # that a study names, if it was not run by its own alone
INTRODUCTION = """# Studies

A study is one file of `study/`: a named sweep that states only what differs from `conf/config.yaml`, what it asks, and
the bands that its results are to reach. Cells that differ in several keys at once are files of `setting/`. A study is
run by `python -m nnbench study=NAME` (MNIST through `NNBENCH_DATA=FOLDER`, or downloaded), narrowed on the command line
like any other sweep, and reported by `python -m nnbench report NAME`; its executed report is in `reports/NAME`.

This page is written by `python -m nnbench studies --output experiments/README.md` from the files and the MLflow store:
no number on it is typed, but those of the sources. The bands of published figures and of the origins were fixed before
their runs on record, and one that is missed is not moved; those of a lesson state what it claims, after settings were
tried. Scores are on the test split unless said otherwise; intervals are 95 % bootstrap intervals of the
mean over seeds. Minutes are those of the trainings on record, one cell after another, each with one BLAS thread, on a
machine of two cores that was busy with other studies, too.
"""


class StudiesError(Exception):
    """A study's file or the store cannot be read; says in a line why, and the way out."""


def of_folders(*folders: Path | None) -> dict[str, dict[str, Any]]:
    """Return what each study of these folders says of itself, by its name; what it takes from another one included.

    Raises StudiesError.
    """
    paths = [path for folder in folders if folder is not None for path in folder.glob("study/*.yaml")]
    files = {path.stem: _read(path) for path in paths}
    return {name: _about(files, name) for name in sorted(files)}


def render(about_by_study: Mapping[str, Mapping[str, Any]], uri: str | None) -> str:
    """Return the page; `uri` is the resolved one of the store, None where there is none. Raises StudiesError."""
    results_by_study = {name: _results(name, uri) for name in about_by_study}
    overview = pd.DataFrame(
        [
            {
                "study": f"[{_title(name)}](#{quote(name, errors='replace')})",
                "question": _words(about.get("question", "")),
                "bands": _bands(results_by_study[name]),
                "minutes": _minutes(results_by_study[name]),
            }
            for name, about in about_by_study.items()
        ]
    )
    sections = [_section(name, about, results_by_study[name]) for name, about in about_by_study.items()]
    return printable("\n".join([INTRODUCTION, *_table(overview), "", "\n\n".join(sections)]) + "\n")


def _read(path: Path) -> dict[str, Any]:
    """Return what a study's file holds."""
    way_out = "mend it, or take it out of its folder"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise StudiesError(f"{path} cannot be read: {' '.join(str(error).split())}; {way_out}") from error
    if not isinstance(content, dict | None):
        raise StudiesError(f"{path} holds no keys with values; {way_out}")
    about = (content or {}).get("about") or {}
    if not isinstance(about, dict) or not all(isinstance(text, str) for text in about.values()):
        raise StudiesError(f"{path}: about is no mapping of question, source and so on to text; {way_out}")
    words = {str(key): printable(text) for key, text in about.items()}
    defaults = (content or {}).get("defaults")
    return {"about": words, "defaults": defaults if isinstance(defaults, list) else []}


def _about(files: Mapping[str, Mapping[str, Any]], name: str, before: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the words of a study, those of a study that it begins with behind them."""
    begun = [entry for entry in files[name]["defaults"] if isinstance(entry, str) and entry in files]
    if round_trip := {*begun} & {*before, name}:
        raise StudiesError(f"the study {name} begins with itself, by {', '.join(round_trip)}; mend its defaults")
    inherited = [_about(files, entry, (*before, name)) for entry in begun]
    return {key: text for words in [*inherited, files[name]["about"]] for key, text in words.items()}


def _results(name: str, uri: str | None) -> Results | None:
    """Return what the store has of a study, None if that is nothing."""
    if uri is None:
        return None
    try:
        return study(uri, name)
    except NothingToReportError:
        return None
    except Exception as error:  # of a server, a database, a file: each raises its own kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        problem = without_credentials(f"{uri} cannot be read: {reason}")
        raise StudiesError(f"{problem}; give the store with --tracking-uri") from error


def _commands(results: Results) -> list[str]:
    """Return what trains each cell: the study's newest command where that has the cell, else the one that trained it.

    A study that has changed since may call for another command than it did.
    """
    newest = results.coverage
    return [
        newest.command if newest is not None and cell.fingerprint in newest.planned else cell.command
        for cell in results.cells.dropna(subset="fingerprint").itertuples()
    ]


def _section(name: str, about: Mapping[str, Any], results: Results | None) -> str:
    lines = [f"## {_title(name)}", "", f"**{_words(about.get('question', ''))}**", ""]
    if about.get("source"):
        lines += [f"Source: {_words(about['source'])}.", ""]
    if about.get("differences"):
        lines += [f"What differs: {_words(about['differences'])}", ""]
    if results is None:
        command = shlex.join(["python", "-m", "nnbench", f"study={name}"])
        return "\n".join([*lines, "```bash", command, "```", "", "Not run here yet."])
    commands = list(dict.fromkeys(map(_command, _commands(results))))
    lines += ["```bash", *commands[:MOST_COMMANDS], "```"]
    minutes, report = _minutes(results), f"[report](../reports/{file_name(name)}/report.html)"
    lines += ["", f"{_count(results)}, {minutes} min, {report}.", ""]
    reached = check(results)
    if len(reached):
        rows = {
            "cell": reached["cell"],
            "what": reached["what"],
            "source": reached["published_in_words"],
            "band": reached["band"],
            "found": reached["found_in_words"],
            "seeds": reached["seeds"],
            "verdict": reached["verdict_in_words"],
        }
        lines += [*_table(pd.DataFrame(rows).map(_text)), ""]
    if set(results.replicas["cell"]) - set(reached["cell"]):  # those of which no band tells
        lines += [*_table(_board(results).map(_text)), ""]
    if about.get("explanation"):
        lines += [f"What it means: {_words(about['explanation'])}"]
    return "\n".join(lines).rstrip()


def _board(results: Results) -> pd.DataFrame:
    """Return the leaderboard in words: cell, score with interval, worst and best seed, what was tuned, finding."""
    board = results.leaderboard()
    spread = results.replicas.groupby("cell")["test/accuracy"].agg(["min", "max"])
    table = pd.DataFrame(
        {
            "cell": board["cell"],
            "data": board["dataset"],
            "test accuracy": [
                per_cent(row.test_accuracy)
                + (f" ({per_cent(row.low)} to {per_cent(row.high)})" if row.seeds > 1 else "")
                for row in board.itertuples()
            ],
            "worst and best seed": [
                f"{per_cent(spread['min'][cell])}, {per_cent(spread['max'][cell])}" for cell in board["cell"]
            ],
            "seeds": board["seeds"],
            "tuned to": board["tuned"].fillna(""),
            "untuned": ["" if pd.isna(score) else per_cent(score) for score in board["untuned_accuracy"]],
            "doctor": board["finding"].fillna(""),
        }
    )
    told = [name for name in table if (table[name].astype(str) != "").any()]
    return table[told].drop(columns=[] if len(results.datasets) > 1 else "data")


def _bands(results: Results | None) -> str:
    if results is None:
        return "not run here"
    reached = check(results)
    return f"{(reached['verdict'] == MET).sum()} of {len(reached)} met" if len(reached) else "none"


def _minutes(results: Results | None) -> str:
    if results is None:
        return ""
    minutes = results.cells["seconds"].sum() / 60
    if minutes < 0.05:
        return "below 0.1"
    return f"{minutes:.1f}" if minutes < 10 else f"{minutes:.0f}"


def _count(results: Results) -> str:
    networks = results.cells["cell"].isin(results.replicas["cell"]).sum()
    seeds = sorted(set(results.replicas.groupby("cell")["seed"].nunique()))
    ends = dict.fromkeys([seeds[0], seeds[-1]])
    return f"{networks} cell{'' if networks == 1 else 's'}, {' to '.join(map(str, ends))} seeds"


def _table(rows: pd.DataFrame) -> list[str]:
    """Return a table of text in Markdown, line by line."""
    lines = [list(rows.columns), ["---"] * len(rows.columns), *rows.astype(str).to_numpy().tolist()]
    return [f"| {' | '.join(line)} |" for line in lines]


def _title(name: str) -> str:
    """Return the name of a study, which is that of a file, as the text of a link."""
    return name if re.fullmatch(r"[\w.-]+", name) else _text(name)


def _words(text: str) -> str:
    """Return words of a study's file, which may have code in backticks but no markup and no links, in one line."""
    return re.sub(r"([<>|]|\](?=\s*[(\[]))", r"\\\1", " ".join(text.split()))


def _text(value: Any) -> str:
    """Return text that Markdown shows as it is, in one line."""
    return re.sub(r"([\\`*_\[\]<>|#$~])", r"\\\1", " ".join(str(value).split()))


def _command(text: str) -> str:
    """Return a command as code, without the options that change no result."""
    words = text.replace("`", "'").split()
    return " ".join(word for word in words if word.partition("=")[0] not in ("report", "progress", "hydra/launcher"))
