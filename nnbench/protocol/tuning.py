"""Tuning: trials of equal number for every optimizer, judged by validation on seeds of their own.

The best trial is trained again on the final seeds, elsewhere, and only that is a result: the score that won is too
good to be one, because it was chosen (the winner's curse). The test split is not looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nnbench.data import Dataset
from nnbench.protocol.cell import Cell
from nnbench.protocol.checkpoint import Checkpoint
from nnbench.protocol.search import FIRST_TUNING_SEED, Search, Trial
from nnbench.protocol.selection import selected_scores
from nnbench.protocol.stack import OnEpoch, train

TUNING_COMMON_SEED = FIRST_TUNING_SEED - 1  # draws what `vary` keeps from varying; the final replicas have their own


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What tuning found, and its price."""

    chosen: Trial
    table: Mapping[str, NDArray]  # one row for each training: trial, extension, hyperparameters, seed, status, scores
    num_trials: int
    num_extensions: int
    at_edge: bool  # the best value still lies at the end of the grid
    gradient_evaluations: int
    train_seconds: float


def tune(
    cell: Cell,
    dataset: Dataset,
    search: Search,
    *,
    on_epoch: OnEpoch | None = None,
    checkpoint: Checkpoint | None = None,
) -> Tuning:
    """Train every trial on every tuning seed, extend the search where its best value is on the edge, and choose."""
    train_trials = partial(_train, cell, dataset, search, on_epoch=on_epoch, checkpoint=checkpoint)
    trials = search.trials(cell.space)
    tables = [train_trials(trials)]
    for _ in range(search.max_extensions):
        more = search.beyond(cell.space, trials, trials[_best(tables)])
        if not more:
            break
        tables.append(train_trials(more, first=len(trials), extension=len(tables)))
        trials = trials + more
    best = trials[_best(tables)]
    table = {name: np.concatenate([part[name] for part in tables]) for name in tables[0]}
    return Tuning(
        chosen=best,
        table={name: values for name, values in table.items() if name != "seconds"},
        num_trials=len(trials),
        num_extensions=len(tables) - 1,
        at_edge=bool(search.beyond(cell.space, trials, best)),
        gradient_evaluations=int(table["gradient_evaluations"].sum()),
        train_seconds=float(table["seconds"].sum()),
    )


def _train(
    cell: Cell,
    dataset: Dataset,
    search: Search,
    trials: Sequence[Trial],
    *,
    first: int = 0,
    extension: int = 0,
    on_epoch: OnEpoch | None,
    checkpoint: Checkpoint | None,
) -> dict[str, NDArray]:
    """Train each trial on each tuning seed, as stacks; return one row for each."""
    seeds = search.tuning_seeds
    hyperparameters = {
        name: np.repeat([trial[name] for trial in trials], len(seeds)) for name in trials[0]
    }  # (replicas,)
    replicas = seeds * len(trials)
    trained = train(
        cell,
        dataset,
        replicas,
        hyperparameters,
        common_seed=TUNING_COMMON_SEED,
        on_epoch=on_epoch,
        checkpoint=checkpoint,
    )
    scores = selected_scores(trained, dataset.num_classes)
    num_replicas = len(trained.seeds)
    return {
        "trial": np.repeat(np.arange(first, first + len(trials)), len(seeds)),
        "extension": np.full(num_replicas, extension),
        **hyperparameters,
        "seed": np.array(trained.seeds),
        "status": np.where(trained.diverged, "diverged", "finished"),
        "val/selected_accuracy": scores["val/selected_accuracy"],
        "val/selected_loss": scores["val/selected_loss"],
        "val/selected_epoch": scores["val/selected_epoch"],
        "gradient_evaluations": trained.gradient_evaluations,
        "seconds": np.full(num_replicas, trained.train_seconds / num_replicas),
    }


def _best(tables: Sequence[Mapping[str, NDArray]]) -> int:
    """Return the number of the trial with the highest mean validation accuracy; of equals, the lowest mean loss.

    A diverged training counts as chance level, with an infinite loss.
    """
    num_trials = tables[-1]["trial"][-1] + 1
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    by_trial = [columns["trial"] == trial for trial in range(num_trials)]
    # Rounded, so that the order of a sum makes no difference.
    accuracy = np.array([columns["val/selected_accuracy"][rows].mean().round(9) for rows in by_trial])
    loss = np.where(np.isnan(columns["val/selected_loss"]), np.inf, columns["val/selected_loss"])
    losses = np.array([loss[rows].mean() for rows in by_trial])
    return int(np.lexsort((losses, -accuracy))[0])
