"""The template: each of its calls works whatever a study has or lacks, and gives what a notebook can show."""

import math

import jupytext
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from report_cases import planted, results_of

from nnbench.report import figures, tables
from nnbench.report.build import TEMPLATE
from nnbench.report.results import Results
from nnbench.report.verdict import verdict

CALLS = [
    cell.source.splitlines()[-1]
    for cell in jupytext.read(TEMPLATE).cells
    if cell.cell_type == "code"
]  # fmt: skip
COUNTS = pd.DataFrame([[3, 1], [0, 4]], index=["no", "yes"], columns=["no", "yes"])


def curves(replicas: pd.DataFrame) -> pd.DataFrame:
    """Three epochs of each replica, the last of which a diverged one has no loss in."""
    epochs = [
        replicas.assign(epoch=epoch, **{"time/train_seconds": epoch, "train/loss": 1 / epoch}) for epoch in (1, 2)
    ]
    last = replicas.assign(epoch=3, **{"time/train_seconds": 3, "train/loss": 0.3})
    last.loc[last["status"] == "diverged", "train/loss"] = math.nan
    history = pd.concat([*epochs, last], ignore_index=True)
    return history.assign(**{"val/accuracy": 0.5, "layer1/grad_norm": 0.1, "layer1/dead_units": 0.2})


def study_of(replicas: pd.DataFrame, **others: object) -> Results:
    cells = [*replicas["cell"].unique(), *others.get("baselines", replicas.iloc[:0])["cell"].unique()]
    confusion = dict.fromkeys(cells, COUNTS)
    return results_of(replicas, **{"history": curves(replicas), "confusion": confusion} | others)


def noisy(mean: float) -> list[float]:
    return list(mean + 0.01 * np.random.default_rng(0).standard_normal(8))


GRID = {f"{optimizer} {activation}": noisy(0.9) for optimizer in "abcd" for activation in ("relu", "tanh")}
NO_NETWORK = planted({"a relu": [0.5]}).iloc[:0]
STUDIES = {
    "one cell with one seed": lambda: study_of(planted({"adam relu": [0.9]})),
    "a grid": lambda: study_of(planted(GRID)),
    "a grid with baselines": lambda: study_of(planted(GRID), baselines=planted({"svm": noisy(0.8), "knn": noisy(0.7)})),
    "baselines alone": lambda: study_of(NO_NETWORK, baselines=planted({"svm": noisy(0.8), "knn": noisy(0.7)})),
    "nothing but divergence": lambda: study_of(planted(GRID).assign(status="diverged", **{"test/accuracy": 0.1})),
    "two data sets": lambda: study_of(
        pd.concat([planted(GRID), planted({"adam relu wine": noisy(0.9)}, dataset="wine")], ignore_index=True)
    ),
    "unequal seeds": lambda: study_of(
        planted({"a relu": noisy(0.9), "a tanh": [0.8], "b relu": [0.8], "b tanh": [0.7]})
    ),
    "seeds of their own": lambda: study_of(
        planted(GRID).assign(seed=lambda rows: rows["seed"] + 10 * rows["cell"].factorize()[0])
    ),
    "many cells": lambda: study_of(planted({f"adam relu {place}": [0.9, 0.8] for place in range(62)})),
    "a target": lambda: study_of(planted(GRID).assign(**{"val/target_epoch": [2.0, math.inf] * 32})),
}


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_every_call_works_on_a_study_of(study):
    results = study()
    known = {"verdict": verdict, "tables": tables, "figures": figures, "results": results}
    assert len(CALLS) > 30
    for call in CALLS:
        shown = eval(call, dict(known))
        plt.close("all")
        if shown is not None:
            assert str(shown), call
            assert shown._repr_html_().startswith("<"), call
    assert len(tables.everything(results))
