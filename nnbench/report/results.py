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

    def leaderboard(self) -> pd.DataFrame:
        """Return the leaderboard, best cell first, accuracies in per cent."""
        board = tables.leaderboard(self.replicas)
        for column in ("mean", "low", "high", "val_accuracy"):
            board[column] = (100 * board[column]).round(2)
        names = {"mean": "test accuracy (%)", "low": "95 % from", "high": "to", "val_accuracy": "validation (%)"}
        return board.rename(columns=names)

    def verdict(self) -> "Paragraph":
        """Return what the means say, in sentences, and what they cannot say."""
        board = tables.leaderboard(self.replicas)
        best = board.iloc[0]
        sentences = [f"{best['cell']} has the highest mean test accuracy: {best['mean']:.2%}{_interval(best)}."]
        for _, other in board.iloc[1:2].iterrows():
            sentences.append(self._against(str(best["cell"]), str(other["cell"])))
        sentences.append(
            "Each cell ran with the hyperparameters of its configuration: this compares settings, not tuned optimizers."
        )
        diverged = board[board["diverged"] > 0]
        if len(diverged):
            counts = ", ".join(f"{row.cell}: {row.diverged} of {row.seeds}" for row in diverged.itertuples())
            sentences.append(
                f"{diverged['diverged'].sum()} of {len(self.replicas)} trainings diverged and count as chance level "
                f"({counts})."
            )
        if len(set(board["seeds"])) > 1:
            sentences.append("The cells have unequal numbers of seeds, so the order is not a fair ranking.")
        for status, cause in (("failed", "training failed"), ("damaged", "the store's record is damaged")):
            missing = self.cells.loc[self.cells["status"] == status, "cell"]
            if len(missing):
                sentences.append(f"Missing, as {cause} ({len(missing)} of {len(self.cells)}): {', '.join(missing)}.")
        return Paragraph(" ".join(sentences))

    def accuracies(self) -> None:
        """Draw each seed and each mean with its interval."""
        board = tables.leaderboard(self.replicas)
        _, ax = plt.subplots(figsize=(8, 1.2 + 0.42 * len(board)), layout="constrained")
        plots.accuracy_points(self.replicas, board, ax)

    def learning_curves(self, metric: str = "val/accuracy", against: str = "epoch") -> None:
        """Draw a metric over epochs, mean and spread over seeds."""
        _, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
        plots.learning_curves(self.history, ax, metric=metric, against=against)

    def confusion_matrix(self, cell: str | None = None) -> None:
        """Draw a cell's confusion matrix, by default the best cell's."""
        cell = cell or str(tables.leaderboard(self.replicas)["cell"].iloc[0])
        _, ax = plt.subplots(figsize=(6, 5), layout="constrained")
        plots.confusion_matrix(self.confusion[cell], ax)
        ax.set_title(plots.plain(cell))

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

    def _against(self, first: str, second: str) -> str:
        """Compare two cells on the seeds that both have."""
        scores = self.replicas.pivot_table(index="seed", columns="cell", values="test/accuracy")[
            [first, second]
        ].dropna()
        if len(scores) < 2:
            return f"With one seed nothing can be said of its lead over {second}."
        difference = scores[first] - scores[second]
        low, high = bootstrap_interval(difference.to_numpy())
        lead = f"{100 * difference.mean():+.2f} points, 95 % interval {100 * low:+.2f} to {100 * high:+.2f}"
        if low > 0:
            return f"On {len(scores)} equal seeds it is ahead of {second} by {lead}."
        return f"Whether it is better than {second} these {len(scores)} seeds cannot tell: {lead}."


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
