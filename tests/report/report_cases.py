"""What the tests of the report share: a place to give commands in, hostile text, and a browser's view of a page."""

import base64
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from nnbench.__main__ import in_this_process
from nnbench.report.results import Results
from nnbench.tracking import record

SMALL = ("hidden=[4]", "num_epochs=3", "progress=false", "report=false")

# Every text that comes from a user, as an attacker would write it.
EXPERIMENT = "<script>alert('experiment')</script> $x$ _y =1+1 \"; open('P', 'w'); a=\"\nsecond line"
CLASSES = ("<script>alert('class')</script>", r"$\frac{$ <b>", "=1+1", "_hidden", "\"quotes'", "новая строка")
TARGETS = (r"$\frac{$ <img src=x onerror=alert('column')>", "_under\"'</style><script>alert('target')</script>")


@dataclass(frozen=True)
class Workplace:
    """A folder in which someone gives nnbench's commands."""

    folder: Path

    def run(self, *arguments: str) -> int:
        """Give a command line; return the exit status."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.syspath_prepend(self.folder)
            patch.setattr(sys, "argv", ["nnbench", *arguments])
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            try:
                return in_this_process()
            except SystemExit as stop:
                return int(stop.code or 0)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def replicas(self) -> dict[str, pd.DataFrame]:
        """Return the scores in the record folders by the label of their cell."""
        records = [record.read(folder) for folder in record.find(self.folder)]
        return {cell.identity.label: cell.replicas() for cell in records}

    def write(self, name: str, content: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(content, encoding="utf-8")


@dataclass(frozen=True)
class Study:
    """A study with its report, and the scores that its record folders had."""

    place: Workplace
    replicas: dict[str, pd.DataFrame]
    output: Path


class Page(HTMLParser):
    """What a browser would see: scripts, attributes, text and embedded figures."""

    def __init__(self, path):
        super().__init__()
        self.scripts: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.inside: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.inside.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if "script" in self.inside[-1:]:
            self.scripts[-1] += data
        elif "style" not in self.inside[-1:]:
            self.texts.append(data)

    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def figures(self) -> list[ElementTree.Element]:
        heads = [value.partition(",") for tag, name, value in self.attributes if (tag, name) == ("img", "src")]
        assert {head for head, _, _ in heads} == {"data:image/svg+xml;base64"}
        return [ElementTree.fromstring(base64.b64decode(content)) for _, _, content in heads]


def planted(scores: Mapping[str, Sequence[float]], *, dataset: str = "digits") -> pd.DataFrame:
    """Replicas with given test accuracies, one list for each cell, of the optimizer and activation in its name."""
    rows = [
        {"cell": cell, "optimizer": cell.split()[0], "activation": [*cell.split(), ""][1], "dataset": dataset}
        | {"seed": seed, "status": "finished", "test/accuracy": value, "val/selected_accuracy": value}
        for cell, values in scores.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def results_of(replicas: pd.DataFrame, **others: Any) -> Results:
    """What a report knows of healthy cells that were not tuned; `others` are fields of Results."""
    facts = {"status": "finished", "tuned": "", "untuned": math.nan, "finding": "healthy"}
    cells = pd.DataFrame({"cell": replicas["cell"].unique(), **facts})
    known = {"history": pd.DataFrame(), "cells": cells, "confusion": {}, "environment": {}} | others
    return Results("x", replicas, **known)
