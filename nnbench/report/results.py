"""What the report knows of a study: tables read from the store, and the calls that the notebook makes on them."""

import html
import json
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from nnbench.analysis import plots, tables
from nnbench.analysis.statistics import bootstrap_interval
from nnbench.protocol.naming import flat_settings, labels
from nnbench.tracking import read

# The smallest two-sided p of an exact paired test is 2 / 2^n: with five seeds .0625, so nothing can be significant.
FEWEST_SEEDS = 6


class NothingToReportError(Exception):
    """A study has no finished cell; says what it has."""


@dataclass(frozen=True)
class Paragraph:
    """Text that a notebook shows as text: whatever stands in a name is data, never markup."""

    text: str

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.text)}</p>"


@dataclass(frozen=True)
class Results:
    """The cells of a study with all their seeds.

    `replicas` has one row for each seed of each cell, `history` one for each of its epochs; both name the cell, its
    optimizer and its activation. `cells` has one row for each cell: run id, status (damaged where the store has no
    whole record of it), command. `confusion` has the counts
    of each cell's test split.
    """

    experiment: str
    replicas: pd.DataFrame
    history: pd.DataFrame
    cells: pd.DataFrame
    confusion: dict[str, pd.DataFrame]
    environment: dict[str, object]

    @property
    def datasets(self) -> list[str]:
        """The data sets, each compared on its own: accuracies on different data say nothing about each other."""
        return list(self.replicas["dataset"].unique())

    def board(self, dataset: str) -> pd.DataFrame:
        """Return the leaderboard of one data set, see `nnbench.analysis.tables`."""
        return tables.leaderboard(self.replicas[self.replicas["dataset"] == dataset])

    def leaderboard(self) -> pd.DataFrame:
        """Return the leaderboards below each other, best cell first, accuracies in per cent."""
        board = pd.concat([self.board(name) for name in self.datasets], ignore_index=True)
        for column in ("mean", "low", "high", "val_accuracy"):
            board[column] = (100 * board[column]).round(2)
        names = {"mean": "test accuracy (%)", "low": "95 % from", "high": "to", "val_accuracy": "validation (%)"}
        return board.rename(columns=names)

    def verdict(self) -> "Paragraph":
        """Return what the means say, in sentences, and what they cannot say."""
        sentences = []
        for dataset in self.datasets:
            board = self.board(dataset)
            best = board.iloc[0]
            sentences.append(
                f"On {dataset}, {best['cell']} has the highest mean test accuracy: {best['mean']:.2%}{_interval(best)}."
            )
            for _, other in board.iloc[1:2].iterrows():
                sentences.append(self._against(dataset, str(best["cell"]), str(other["cell"])))
            if len(set(board["seeds"])) > 1:
                sentences.append("The cells have unequal numbers of seeds, so the order is not a fair ranking.")
        sentences.append(
            "Each cell ran with the hyperparameters of its configuration: this compares settings, not tuned optimizers."
        )
        board = pd.concat([self.board(name) for name in self.datasets])
        diverged = board[board["diverged"] > 0]
        if len(diverged):
            counts = ", ".join(f"{row.cell}: {row.diverged} of {row.seeds}" for row in diverged.itertuples())
            sentences.append(
                f"{diverged['diverged'].sum()} of {len(self.replicas)} trainings diverged and count as chance level "
                f"({counts})."
            )
        for status, cause in (("failed", "training failed"), ("damaged", "the store's record is damaged")):
            missing = self.cells.loc[self.cells["status"] == status, "cell"]
            if len(missing):
                sentences.append(f"Missing, as {cause} ({len(missing)} of {len(self.cells)}): {', '.join(missing)}.")
        return Paragraph(" ".join(sentences))

    def accuracies(self) -> None:
        """Draw each seed and each mean with its interval, a figure for each data set."""
        for dataset in self.datasets:
            board = self.board(dataset)
            _, ax = plt.subplots(figsize=(8, 1.2 + 0.42 * len(board)), layout="constrained")
            plots.accuracy_points(self.replicas[self.replicas["dataset"] == dataset], board, ax)

    def learning_curves(self, metric: str = "val/accuracy", against: str = "epoch") -> None:
        """Draw a metric over epochs, mean and spread over seeds, a figure for each data set."""
        for dataset in self.datasets:
            _, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
            history = self.history[self.history["dataset"] == dataset]
            plots.learning_curves(history, ax, metric=metric, against=against)

    def confusion_matrix(self, cell: str | None = None) -> None:
        """Draw a cell's confusion matrix, by default that of the best cell on each data set."""
        best = [str(self.board(dataset)["cell"].iloc[0]) for dataset in self.datasets]
        for name in best if cell is None else [cell]:
            _, ax = plt.subplots(figsize=(6, 5), layout="constrained")
            plots.confusion_matrix(self.confusion[name], ax).set_title(plots.plain(name))

    def origin(self) -> pd.DataFrame:
        """Return what produced the results: commands, run ids, versions, processor."""
        facts = {
            "experiment in MLflow": self.experiment,
            "command": "; ".join(self.cells["command"].dropna().unique()),
            "seeds": ", ".join(map(str, sorted(self.replicas["seed"].unique()))),
            "runs": ", ".join(self.cells["run_id"]),
        }
        facts |= {name: json.dumps(value) for name, value in self.environment.items()}
        return pd.DataFrame({"value": facts})

    def _against(self, dataset: str, first: str, second: str) -> str:
        """Describe the lead of a cell over another on the seeds that both have."""
        replicas = self.replicas[self.replicas["dataset"] == dataset]
        scores = replicas.pivot_table(index="seed", columns="cell", values="test/accuracy")[[first, second]].dropna()
        difference = scores[first] - scores[second]
        lead = f"on {len(scores)} equal seeds its lead over {second} is {100 * difference.mean():+.2f} points"
        if len(scores) < FEWEST_SEEDS:
            return f"Too few seeds to tell: {lead}; use at least {FEWEST_SEEDS}."
        low, high = bootstrap_interval(difference.to_numpy())
        lead += f", 95 % interval {100 * low:+.2f} to {100 * high:+.2f}"
        if low <= 0:
            return f"These seeds cannot tell whether it is better: {lead}."
        return (
            f"It is probably better: {lead}. That is a description, not a test, as these seeds also chose the leader."
        )


def load(parameters: str | Path) -> Results:
    """Read the study that a JSON file names (see `build`); raises NothingToReportError if it has no result."""
    options = json.loads(Path(parameters).read_text(encoding="utf-8"))
    return study(options["tracking_uri"], options["experiment"], fingerprints=options["fingerprints"])


def study(uri: str, experiment: str, *, fingerprints: Collection[str] | None = None) -> Results:
    """Read a study from the store at a resolved URI, all of its cells or those; raises as `load` does."""
    pd.set_option("display.max_colwidth", None)  # a command that is cut off cannot be repeated
    replicas, history, cells, confusion = [], [], [], {}
    environment: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        found, damaged = read.fetch_newest(uri, experiment, Path(folder), fingerprints=fingerprints)
        names = labels([flat_settings(record.config, record.choices) for record in found.values()])
        for name, (run_id, record) in zip(names, found.items(), strict=True):
            # Equal settings are different cells where the data behind a path have changed.
            label = name if names.count(name) == 1 else f"{name} {record.identity.fingerprint[:8]}"
            choices = {group: record.choices[group] for group in ("optimizer", "activation", "dataset")}
            cells.append({"cell": label, "status": record.status, "run_id": run_id, "command": record.identity.command})
            if record.status == "failed":
                continue
            replicas.append(record.replicas().assign(cell=label, **choices))
            history.append(record.history().assign(cell=label, **choices))
            confusion[label] = record.confusion()
            environment = record.environment()
    cells += [{"cell": name, "status": "damaged", "run_id": run_id} for run_id, name in damaged.items()]
    if not replicas:
        counts = pd.Series([cell["status"] for cell in cells], dtype=str).value_counts()
        others = "".join(f", {count} {status}" for status, count in counts.items())
        raise NothingToReportError(f"{experiment} has no finished cell in {uri}{others}")
    return Results(
        experiment,
        pd.concat(replicas, ignore_index=True),
        pd.concat(history, ignore_index=True),
        pd.DataFrame(cells),
        confusion,
        environment,
    )


def _interval(row: pd.Series) -> str:
    if row["seeds"] < 2:
        return ", from a single seed"
    return f" (95 % interval {row['low']:.2%} to {row['high']:.2%} over {row['seeds']} seeds)"
