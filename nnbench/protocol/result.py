"""From a cell to its result: tune, train on the final seeds, select on validation, open the test split once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnbench.data import Dataset
from nnbench.nn import MLP, Training
from nnbench.protocol.cell import Cell, Status
from nnbench.protocol.checkpoint import Checkpoint
from nnbench.protocol.doctor import Finding, diagnose
from nnbench.protocol.evaluation import TestScores, score
from nnbench.protocol.search import Trial
from nnbench.protocol.selection import accuracy_area, clocks, selected_scores, time_to_target
from nnbench.protocol.stack import Trained, train
from nnbench.protocol.tuning import Tuning, tune

Stage: TypeAlias = Literal["tuning", "final", "untuned"]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The final replicas of one setting, selected and tested: one entry for each, in the order of the seeds."""

    trained: Trained
    summary: Mapping[str, NDArray]  # metric -> (replicas,)
    test: TestScores
    evaluation_seconds: float

    @property
    def statuses(self) -> tuple[Status, ...]:
        """What became of each replica."""
        return tuple("diverged" if diverged else "finished" for diverged in self.trained.diverged)

    @property
    def best_replica(self) -> int:
        """The place of the replica that is best on validation."""
        accuracy = np.where(self.trained.diverged, -np.inf, self.summary["val/selected_accuracy"])
        return int(np.lexsort((self.summary["val/selected_loss"], -accuracy))[0])


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What a cell leaves behind."""

    final: Scores
    tuning: Tuning | None  # what chose the hyperparameters of `final`, if they were tuned
    untuned: Scores | None  # the configured hyperparameters on the same seeds; `final` itself if tuning chose them
    finding: Finding

    @property
    def status(self) -> Status:
        """Diverged if every replica has, else finished."""
        return "diverged" if self.final.trained.diverged.all() else "finished"

    @property
    def model(self) -> MLP:
        """The stack of the final replicas, with the selected parameters."""
        return self.final.trained.model

    @property
    def test_openings(self) -> int:
        """How often a replica has looked at the test split."""
        untuned = [] if self.untuned is None or self.untuned is self.final else [self.untuned]
        return int(sum(scores.summary["test/openings"].sum() for scores in [self.final, *untuned]))


def run(
    cell: Cell,
    dataset: Dataset,
    *,
    on_epoch: Callable[[Stage, Training], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> CellResult:
    """Do all that a cell asks for; `on_epoch` hears of every epoch that is trained.

    With the checkpoint of a run that was killed, only what it lacks is trained, and the result is the same but for
    times.
    """

    def train_and_test(stage: Stage, trial: Trial) -> Scores:
        hyperparameters = {name: np.full(len(cell.seeds), value) for name, value in trial.items()}
        listener = _listener(stage, on_epoch)
        trained = train(cell, dataset, cell.seeds, hyperparameters, on_epoch=listener, checkpoint=checkpoint)
        return finish(cell, dataset, trained)

    if cell.tuning is None:
        final = train_and_test("final", {})
        finding = diagnose(cell, final.trained, learning_rate=cell.learning_rate)
        return CellResult(final=final, tuning=None, untuned=None, finding=finding)
    tuning = tune(cell, dataset, cell.tuning, on_epoch=_listener("tuning", on_epoch), checkpoint=checkpoint)
    final = train_and_test("final", tuning.chosen)
    is_default = tuning.chosen.items() <= cell.untuned.items()
    untuned = final if is_default else train_and_test("untuned", {})
    learning_rate = tuning.chosen.get("learning_rate", cell.learning_rate)
    finding = diagnose(cell, final.trained, learning_rate=learning_rate)
    return CellResult(final=final, tuning=tuning, untuned=untuned, finding=finding)


def finish(cell: Cell, dataset: Dataset, trained: Trained) -> Scores:
    """Sum up what validation says, and open the test split: once for each replica that did not diverge."""
    started = perf_counter()
    test = score(trained.model, dataset, ~trained.diverged)
    summary = {
        **selected_scores(trained, dataset.num_classes),
        "val/accuracy_area": accuracy_area(trained, cell.num_epochs, dataset.num_classes),
        **time_to_target(trained, cell.target_accuracy),
        **clocks(trained),
        **test.summary,
    }
    evaluation_seconds = trained.evaluation_seconds + perf_counter() - started
    return Scores(trained=trained, summary=summary, test=test, evaluation_seconds=evaluation_seconds)


def _listener(stage: Stage, on_epoch: Callable[[Stage, Training], None] | None) -> Callable[[Training], None] | None:
    return None if on_epoch is None else lambda training: on_epoch(stage, training)
