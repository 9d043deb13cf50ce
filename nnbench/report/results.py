"""What the report knows of a study: tables read from the store, and the calls that the notebook makes on them."""

import html
import json
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from nnbench.analysis.comparison import REGION, compare, fewest_seeds
from nnbench.analysis.tables import leaderboard
from nnbench.protocol.naming import flat_settings, labels
from nnbench.tracking import read
from nnbench.tracking.record import Record, facts, score_divergence

# How a sentence about the leader begins, by the verdict on its pairs; see `nnbench.analysis.comparison`.
BEGINNINGS = {
    "better": "It is better than",
    "worse": "On equal seeds it is worse than",
    "equivalent": f"It is equivalent, within {100 * REGION:g} points, to",
    "cannot tell": "These seeds cannot tell whether it is better than",
}
MOST_WITH_NUMBERS = 3  # cells that a sentence names with their numbers; the table of pairs has them all


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

    `replicas` has one row for each seed of each cell, `untuned` the same for the configured hyperparameters of tuned
    cells, `history` one row for each epoch of each seed, `tuning` one for each training of a search; all of them name
    the cell, its optimizer, its activation and its data set. `cells` has one row for each cell: run id, status (damaged
    where the store has no whole record of it), command. `confusion` has the counts of each cell's test split.
    """

    experiment: str
    replicas: pd.DataFrame
    history: pd.DataFrame
    cells: pd.DataFrame
    confusion: dict[str, pd.DataFrame]
    environment: dict[str, object]
    tuning: pd.DataFrame = field(default_factory=pd.DataFrame)
    untuned: pd.DataFrame = field(default_factory=pd.DataFrame)
    _pairs: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False)  # by data set, once compared

    @property
    def datasets(self) -> list[str]:
        """The data sets, each compared on its own: accuracies on different data say nothing about each other."""
        return list(self.replicas["dataset"].unique())

    @property
    def best(self) -> list[str]:
        """The best cell of each data set."""
        return [str(self.board(dataset)["cell"].iloc[0]) for dataset in self.datasets]

    def of(self, dataset: str, table: Literal["replicas", "history", "tuning", "untuned"]) -> pd.DataFrame:
        """Return the rows of one data set."""
        rows: pd.DataFrame = getattr(self, table)
        return rows[rows["dataset"] == dataset]

    def chosen_rates(self) -> dict[str, float]:
        """Return the learning rate that tuning chose, by cell."""
        tuned = self.cells.dropna(subset=["chosen"]) if "chosen" in self.cells else self.cells.iloc[:0]
        pairs = zip(tuned["cell"], tuned.get("chosen", []), strict=True)
        return {cell: chosen["learning_rate"] for cell, chosen in pairs if "learning_rate" in chosen}

    def board(self, dataset: str) -> pd.DataFrame:
        """Return the leaderboard of one data set, see `nnbench.analysis.tables`."""
        return leaderboard(self.of(dataset, "replicas"))

    def leaderboard(self) -> pd.DataFrame:
        """Return the leaderboards below each other, best cell first, accuracies in per cent."""
        board = pd.concat([self.board(name) for name in self.datasets], ignore_index=True)
        board = board.merge(self.cells[["cell", "untuned", "tuned", "finding"]], on="cell")
        for column in ("mean", "low", "high", "val_accuracy", "untuned"):
            board[column] = (100 * board[column]).round(2)
        if not self.any_tuned:
            board = board.drop(columns=["untuned", "tuned"])
        names = {
            "mean": "test accuracy (%)",
            "low": "95 % from",
            "high": "to",
            "val_accuracy": "validation (%)",
            "untuned": "untuned (%)",
            "tuned": "tuned to",
            "finding": "doctor",
        }
        return board.rename(columns=names)

    @property
    def any_tuned(self) -> bool:
        """Whether the hyperparameters of some cell were tuned."""
        return bool((self.cells["tuned"].fillna("") != "").any())

    def price_of_tuning(self) -> "pd.DataFrame | Paragraph":
        """Return what each cell's tuning chose, what it cost and what it gained over the configured values."""
        if not self.any_tuned:
            return Paragraph("Nothing was tuned: every cell ran with the hyperparameters of its configuration.")
        tuned = self.cells[self.cells["tuned"].fillna("") != ""].merge(
            pd.concat([self.board(name) for name in self.datasets])[["cell", "mean"]], on="cell"
        )
        return pd.DataFrame(
            {
                "cell": tuned["cell"],
                "tuned to": tuned["tuned"],
                "test accuracy (%)": (100 * tuned["mean"]).round(2),
                "untuned (%)": (100 * tuned["untuned"]).round(2),
                "trials": tuned["num_trials"].astype(int),
                "trainings": tuned["num_trainings"].astype(int),
                "extensions": tuned["num_extensions"].astype(int),
                "gradient evaluations": tuned["gradient_evaluations"].astype(int),
                "seconds": tuned["train_seconds"].round(1),
            }
        )

    def findings(self) -> "pd.DataFrame | Paragraph":
        """Return what the run doctor says of each cell that is not healthy: finding, evidence, the override to try."""
        sick = self.cells[self.cells["finding"].notna() & (self.cells["finding"] != "healthy")]
        if not len(sick):
            return Paragraph("All cells are healthy.")
        columns = {"finding": "finding", "evidence": "evidence", "override": "try"}
        return sick.set_index("cell")[list(columns)].rename(columns=columns)

    def verdict(self) -> "Paragraph":
        """Return what the means say, in sentences, and what they cannot say."""
        sentences = []
        for dataset in self.datasets:
            board = self.board(dataset)
            best = board.iloc[0]
            sentences.append(
                f"On {dataset}, {best['cell']} has the highest mean test accuracy: {best['mean']:.2%}{_interval(best)}."
            )
            sentences += self._against(dataset, str(best["cell"]))
            if len(set(board["seeds"])) > 1:
                sentences.append("The cells have unequal numbers of seeds, so the order is not a fair ranking.")
        sentences += self._on_tuning()
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

    def pairs(self, dataset: str) -> pd.DataFrame:
        """Return every pair of cells of one data set with its verdict, see `nnbench.analysis.comparison`."""
        if dataset not in self._pairs:
            self._pairs[dataset] = compare(self.of(dataset, "replicas"))
        return self._pairs[dataset]

    def comparisons(self, cell: str | None = None) -> pd.DataFrame:
        """Return the pairs of a cell, by default of the leader of each data set; differences in points of accuracy."""
        tables = []
        for dataset in self.datasets:
            pairs, chosen = self.pairs(dataset), cell or self.board(dataset)["cell"].iloc[0]
            of_cell = pairs[(pairs["first"] == chosen) | (pairs["second"] == chosen)].assign(dataset=dataset)
            tables.append(of_cell.sort_values("difference"))
        pairs = pd.concat(tables, ignore_index=True)
        for column in ("difference", "low", "high"):
            pairs[column] = (100 * pairs[column]).round(2)
        for column in ("probability_of_improvement", "p", "p_holm"):
            pairs[column] = pairs[column].round(4)
        names = {"difference": "difference (points)", "low": "95 % from", "high": "to", "p_holm": "p after Holm"}
        pairs = pairs.rename(columns=names | {"probability_of_improvement": "share of seeds won"})
        return pairs if len(self.datasets) > 1 else pairs.drop(columns="dataset")

    def _on_tuning(self) -> list[str]:
        """Return what the comparison is one of: settings, or tuned optimizers."""
        with_result = self.cells[self.cells["tuned"].notna()]
        untuned = with_result.loc[with_result["tuned"] == "", "cell"]
        if len(untuned) == len(with_result):
            return [
                "Each cell ran with the hyperparameters of its configuration: this compares settings, not tuned "
                "optimizers; tuning=learning_rate compares those."
            ]
        sentences = [
            "Hyperparameters were tuned on validation with seeds of their own; the scores are from fresh seeds."
        ]
        if len(untuned):
            sentences.append(f"Not tuned, so at a disadvantage: {', '.join(untuned)}.")
        if len(set(with_result["num_trials"].dropna())) > 1:
            sentences.append(
                "Grids whose best value lay on the edge were extended, so the number of trials is not the same for all."
            )
        at_edge = with_result.loc[with_result["at_edge"].astype(bool), "cell"]
        if len(at_edge):
            sentences.append(f"Still at the edge of the grid, so perhaps not at its best: {', '.join(at_edge)}.")
        return sentences

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

    def _against(self, dataset: str, leader: str) -> list[str]:
        """Return a sentence for each verdict on the leader and another cell, with the numbers behind it."""
        pairs = self.pairs(dataset)
        others: dict[str, list[str]] = {verdict: [] for verdict in BEGINNINGS}
        numbers: dict[str, str] = {}
        for pair in pairs[(pairs["first"] == leader) | (pairs["second"] == leader)].itertuples():
            leads = pair.first == leader
            verdict = "worse" if pair.verdict == "better" and not leads else pair.verdict
            other = pair.second if leads else pair.first
            others[verdict].append(other)
            numbers[other] = f"{other} ({_lead(pair, 1 if leads else -1)})"
        sentences = []
        for verdict, cells in others.items():
            in_words = [numbers[cell] for cell in cells] if len(cells) <= MOST_WITH_NUMBERS else cells
            if cells:
                sentences.append(f"{BEGINNINGS[verdict]} {'; '.join(in_words)}.")
        needed = fewest_seeds(max(pairs["p"].count(), 1))
        if pairs["seeds"].max() < needed:
            num_cells = len(self.board(dataset))
            sentences.append(
                f"Too few seeds to tell which is better: with {num_cells} cells it takes at least {needed} equal seeds."
            )
        return sentences


def load(parameters: str | Path) -> Results:
    """Read the study that a JSON file names (see `build`); raises NothingToReportError if it has no result."""
    options = json.loads(Path(parameters).read_text(encoding="utf-8"))
    return study(options["tracking_uri"], options["experiment"], fingerprints=options["fingerprints"])


def study(uri: str, experiment: str, *, fingerprints: Collection[str] | None = None) -> Results:
    """Read a study from the store at a resolved URI, all of its cells or those; raises as `load` does."""
    pd.set_option("display.max_colwidth", None)  # a command that is cut off cannot be repeated
    tables: dict[str, list[pd.DataFrame]] = {"replicas": [], "history": [], "tuning": [], "untuned": []}
    confusion = {}
    cells: list[dict[str, object]] = []
    environment: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        found, damaged = read.fetch_newest(uri, experiment, Path(folder), fingerprints=fingerprints)
        names = labels([flat_settings(record.config, record.choices) for record in found.values()])
        for name, (run_id, record) in zip(names, found.items(), strict=True):
            # Equal settings are different cells where the data behind a path have changed.
            label = name if names.count(name) == 1 else f"{name} {record.identity.fingerprint[:8]}"
            choices = {group: record.choices[group] for group in ("optimizer", "activation")}
            cells.append({"cell": label, "status": record.status, "run_id": run_id, "command": record.identity.command})
            if record.status == "failed":
                continue
            cells[-1] |= _facts(record)
            choices["dataset"] = record.cell["dataset"]["name"]  # the choice `csv` says nothing of which file
            tables["replicas"].append(record.replicas().assign(cell=label, **choices))
            tables["history"].append(score_divergence(record.history(), record.chance).assign(cell=label, **choices))
            if record.cell["tuning"]:
                tables["tuning"].append(record.tuning().assign(cell=label, **choices))
                tables["untuned"].append(record.untuned().assign(cell=label, **choices))
            confusion[label] = record.confusion()
            environment = record.environment()
    cells += [{"cell": name, "status": "damaged", "run_id": run_id} for run_id, name in damaged.items()]
    if not tables["replicas"]:
        counts = pd.Series([cell["status"] for cell in cells], dtype=str).value_counts()
        others = "".join(f", {count} {status}" for status, count in counts.items())
        raise NothingToReportError(f"{experiment} has no finished cell in {uri}{others}")
    return Results(
        experiment,
        cells=pd.DataFrame(cells),
        confusion=confusion,
        environment=environment,
        **{name: pd.concat(parts, ignore_index=True) for name, parts in tables.items() if parts},
    )


def _facts(record: Record) -> dict[str, object]:
    """Return what the table of cells says of one with a result."""
    found = facts(record)
    tuned = {f"{name} = {value:.4g}" for name, value in found["tuned"].items()}
    return {**(record.cell["tuning"] or {}), **found, "tuned": ", ".join(sorted(tuned))}


def _interval(row: pd.Series) -> str:
    if row["seeds"] < 2:
        return ", from a single seed"
    return f" (95 % interval {row['low']:.2%} to {row['high']:.2%} over {row['seeds']} seeds)"


def _lead(pair: Any, sign: int) -> str:
    """Describe the difference of a pair, or its opposite if the sign is -1."""
    if pair.seeds == 0:
        return "no equal seeds"
    lead = f"{_points(sign * pair.difference)} points"
    if pair.seeds == 1:
        return f"{lead} on 1 equal seed"
    low, high = sorted([sign * pair.low, sign * pair.high])
    lead += f", 95 % interval {_points(low)} to {_points(high)}, on {pair.seeds} equal seeds"
    return f"{lead}, p = {pair.p_holm:.3g} after Holm"


def _points(share: float) -> str:
    return f"{round(100 * share, 2) + 0:+.2f}"  # + 0, as no reader expects -0.00
