"""What the store knows of a study, as tables: the cells, all their seeds, and what is computed of them but once."""

import json
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from nnbench.analysis.comparison import compare, compare_baselines, compare_methods, compare_with
from nnbench.analysis.power import detectable_differences
from nnbench.analysis.tables import leaderboard
from nnbench.protocol.naming import differing_settings, flat_settings, labels
from nnbench.tracking import coverage, read
from nnbench.tracking.contents import score_divergence
from nnbench.tracking.coverage import Coverage
from nnbench.tracking.read import Damaged
from nnbench.tracking.record import Predictions, Record, SampleImages, data_names, facts

MOST_FOR_ALL_PAIRS = 60  # cells of a data set; of more, the leader is compared with each
MOST_IMAGES = 60  # of those that a cell has missed, most often missed first
BOARD = ["cell", "mean", "low", "high", "seeds", "diverged", "val_accuracy", "dataset"]  # of a leaderboard
PLACES = ["cell", "optimizer", "activation", "dataset", "seed", "status"]  # what all rows of networks begin with


class NothingToReportError(Exception):
    """A study has no finished cell; says what it has."""


def _no_rows() -> pd.DataFrame:
    return pd.DataFrame(columns=PLACES)


@dataclass(frozen=True)
class Results:
    """The cells of a study with all their seeds.

    `replicas` has one row for each seed of each network, `untuned` the same for the configured hyperparameters of tuned
    cells, `history` one row for each epoch of each seed, `tuning` one for each training of a search, `baselines` one
    for each seed of each baseline, `calibration` one for each bin of confidence of each seed; all of them name the
    cell, its optimizer, its activation (a baseline is its own optimizer and has no activation) and its data set, of
    which a name has one test split. `cells` has one row for each cell, baselines included: run id, kind, status
    (damaged where the store has no whole record of it), command, facts, settings, data. By cell, `confusion` has the
    counts of the test split and `predictions` what each seed said of each test sample. `samples` has images of each
    data set of images, `update_rules` the docstring of each optimizer. `coverage` says what was to be trained.
    """

    experiment: str
    replicas: pd.DataFrame
    history: pd.DataFrame
    cells: pd.DataFrame
    confusion: dict[str, pd.DataFrame]
    environment: dict[str, object]
    tuning: pd.DataFrame = field(default_factory=_no_rows)
    untuned: pd.DataFrame = field(default_factory=_no_rows)
    baselines: pd.DataFrame = field(default_factory=_no_rows)
    calibration: pd.DataFrame = field(default_factory=_no_rows)
    predictions: dict[str, Predictions] = field(default_factory=dict)
    samples: dict[str, SampleImages] = field(default_factory=dict)
    update_rules: dict[str, str] = field(default_factory=dict)
    coverage: Coverage | None = None
    _computed: dict[tuple[str, str], Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def datasets(self) -> list[str]:
        """The data sets that networks were trained on, each compared on its own.

        Accuracies on different data, or on different splits of them, say nothing about each other.
        """
        return list(self.replicas["dataset"].unique())

    @property
    def best(self) -> list[str]:
        """The best network of each data set."""
        return [self.leader(dataset) for dataset in self.datasets]

    def leader(self, dataset: str) -> str:
        """Return the best network of a data set."""
        return str(self.board(dataset)["cell"].iloc[0])

    def best_baseline(self, dataset: str) -> str | None:
        """Return the baseline with the highest mean test accuracy; None if there is no baseline."""
        board = self.baseline_board(dataset)
        return str(board["cell"].iloc[0]) if len(board) else None

    @property
    def without_draws(self) -> set[str]:
        """The baselines in which a seed changes nothing: one fit stands for all seeds, so there is no interval."""
        if "one_fit" not in self.cells:
            return set()
        return set(self.cells.loc[self.cells["one_fit"].eq(True), "cell"])

    def of(
        self, dataset: str, table: Literal["replicas", "history", "tuning", "untuned", "baselines", "calibration"]
    ) -> pd.DataFrame:
        """Return the rows of one data set."""
        rows: pd.DataFrame = getattr(self, table)
        return rows[rows["dataset"] == dataset]

    def board(self, dataset: str) -> pd.DataFrame:
        """Return the leaderboard of the networks of a data set, see `nnbench.analysis.tables`."""
        return self._once("board", dataset, lambda: leaderboard(self.of(dataset, "replicas")))

    def baseline_board(self, dataset: str) -> pd.DataFrame:
        """Return the leaderboard of the baselines of a data set; no rows where there are none."""
        rows = self.of(dataset, "baselines")
        return self._once("baseline board", dataset, lambda: leaderboard(rows) if len(rows) else _no_rows())

    def pairs(self, dataset: str) -> pd.DataFrame:
        """Return every pair of networks of a data set with its verdict, see `nnbench.analysis.comparison`.

        Of more than 60 networks these are the pairs of the leader alone.
        """
        if not self._few(dataset):
            return self.pairs_of(dataset, self.leader(dataset))
        return self._once("pairs", dataset, lambda: compare(self.of(dataset, "replicas")))

    def pairs_of(self, dataset: str, cell: str) -> pd.DataFrame:
        """Return the pairs of one network, corrected for the number of all pairs."""
        if self._few(dataset):
            pairs = self.pairs(dataset)
            return pairs[(pairs["first"] == cell) | (pairs["second"] == cell)]
        return self._once(f"pairs of {cell}", dataset, lambda: compare_with(self.of(dataset, "replicas"), cell))

    def method_pairs(self, dataset: str, by: str = "optimizer", over: str = "activation") -> pd.DataFrame:
        """Return every pair of optimizers (or activations) over all activations (or optimizers), best mean first.

        No rows where there is no grid of both, see `without_grid`.
        """
        if self.without_grid(dataset):
            return pd.DataFrame()
        replicas = self.of(dataset, "replicas")
        return self._once(f"{by} pairs", dataset, lambda: compare_methods(replicas, by=by, over=over))

    def without_grid(self, dataset: str) -> str:
        """Return why a data set has no grid of optimizers and activations with one cell for each; nothing if it has."""
        cells = self.of(dataset, "replicas")[["cell", "optimizer", "activation"]].drop_duplicates()
        if min(len(set(cells["optimizer"])), len(set(cells["activation"]))) < 2:
            return f"There is no grid of several optimizers and several activations on {dataset}."
        if cells.duplicated(["optimizer", "activation"]).any():
            return (
                f"Cells on {dataset} with the same optimizer and activation differ in other settings, so optimizers "
                "are not compared over all activations, nor activations over all optimizers."
            )
        if others := self.differing_settings(dataset):
            return (
                f"Cells on {dataset} differ in more than optimizer and activation ({', '.join(others)}), so optimizers "
                "are not compared over all activations, nor activations over all optimizers."
            )
        return ""

    def differing_settings(self, dataset: str) -> list[str]:
        """Return in which options the networks of a data set differ, see `nnbench.protocol.naming`."""
        if "settings" not in self.cells:
            return []
        cells = set(self.of(dataset, "replicas")["cell"])
        return differing_settings(list(self.cells.loc[self.cells["cell"].isin(cells), "settings"]))

    def grids(self) -> tuple[list[str], str]:
        """Return the data sets that have a grid, and why the others have none."""
        reasons = {dataset: self.without_grid(dataset) for dataset in self.datasets}
        whole = [name for name, reason in reasons.items() if not reason]
        return whole, " ".join(filter(None, reasons.values())) if self.datasets else "There is no network to compare."

    def _few(self, dataset: str) -> bool:
        return len(self.board(dataset)) <= MOST_FOR_ALL_PAIRS

    def detectable_differences(self, dataset: str) -> pd.DataFrame:
        """Return what these seeds can show of the best network and each other one, see `nnbench.analysis.power`."""
        replicas, leader = self.of(dataset, "replicas"), self.leader(dataset)
        return self._once("detectable", dataset, lambda: detectable_differences(replicas, cell=leader))

    def against_baselines(self, dataset: str, cell: str | None = None) -> pd.DataFrame:
        """Return the best network (or another) of a data set with each baseline, on equal seeds."""
        network = cell or self.leader(dataset)
        return self._once(
            f"against baselines {network}",
            dataset,
            lambda: compare_baselines(self.of(dataset, "replicas"), self.of(dataset, "baselines"), cell=network),
        )

    def leaderboard(self) -> pd.DataFrame:
        """Return the leaderboards of the networks below each other, best cell first, with facts of each cell."""
        boards = [self.board(name).assign(dataset=name) for name in self.datasets]
        board = pd.concat(boards, ignore_index=True) if boards else pd.DataFrame(columns=BOARD)
        facts_of_cells = self.cells.reindex(columns=["cell", "run_id", "untuned", "tuned", "finding"])
        board = board.merge(facts_of_cells, on="cell", how="left").rename(
            columns={"mean": "test_accuracy", "val_accuracy": "validation_accuracy", "untuned": "untuned_accuracy"}
        )
        return board[["dataset", *board.columns.drop("dataset")]]

    @property
    def any_tuned(self) -> bool:
        """Whether the hyperparameters of some cell were tuned."""
        return "tuned" in self.cells and bool((self.cells["tuned"].fillna("") != "").any())

    def targets(self) -> dict[str, float]:
        """Return the target accuracy of each cell that has one."""
        if "settings" not in self.cells:
            return {}
        settings = self.cells.dropna(subset="settings").set_index("cell")["settings"]
        targets = {str(cell): entry.get("target_accuracy") for cell, entry in settings.items()}
        return {cell: target for cell, target in targets.items() if target is not None}

    def chosen_rates(self) -> dict[str, float]:
        """Return the learning rate that tuning chose, by cell."""
        tuned = self.cells.dropna(subset=["chosen"]) if "chosen" in self.cells else self.cells.iloc[:0]
        pairs = zip(tuned["cell"], tuned.get("chosen", []), strict=True)
        return {cell: chosen["learning_rate"] for cell, chosen in pairs if "learning_rate" in chosen}

    def sickest(self, dataset: str) -> str | None:
        """Return the worst network of which the run doctor finds something, those that always diverge coming last."""
        finding_by_cell = dict(zip(self.cells["cell"], self.cells["finding"], strict=True))
        board = self.board(dataset)
        sick = board[[finding_by_cell.get(cell) not in (None, "", "healthy") for cell in board["cell"]]]
        alive = sick[sick["diverged"] < sick["seeds"]]
        worst_first = [*alive["cell"][::-1], *sick["cell"][::-1]]
        return str(worst_first[0]) if worst_first else None

    def _once(self, name: str, dataset: str, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        if (name, dataset) not in self._computed:
            self._computed[name, dataset] = compute()
        return self._computed[name, dataset]


def load(parameters: str | Path) -> Results:
    """Read the study that a JSON file names (see `build`); raises NothingToReportError if it has no result."""
    options = json.loads(Path(parameters).read_text(encoding="utf-8"))
    return study(
        options["tracking_uri"],
        options["experiment"],
        fingerprints=options["fingerprints"],
        sweep=options.get("sweep"),
    )


def study(
    uri: str, experiment: str, *, fingerprints: Collection[str] | None = None, sweep: str | None = None
) -> Results:
    """Read a study from the store at a resolved URI; raises as `load` does.

    All of its cells, or those of a sweep, or those with the given fingerprints.
    """
    if sweep is not None and fingerprints is None:
        fingerprints = read.fingerprints_of(uri, experiment, sweep)
    cells: list[dict[str, Any]] = []
    tables: dict[str, list[pd.DataFrame]] = {}
    by_cell: dict[str, dict[str, Any]] = {"confusion": {}, "predictions": {}, "samples": {}, "update_rules": {}}
    environments: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        found, damaged = read.fetch_newest(uri, experiment, Path(folder), fingerprints=fingerprints)
        data_by_run = _data_names(found)
        for label, (run_id, record) in zip(_labels(list(found.values())), found.items(), strict=True):
            cells.append({"cell": label, "kind": record.kind, "run_id": run_id, **_identity(record)})
            if record.status == "failed":
                continue
            cells[-1] |= {"dataset": data_by_run[run_id], **_facts(record)}
            _add(record, label, data_by_run[run_id], tables, by_cell)
            environments.append(record.environment())
    whole = {record.identity.fingerprint for record in found.values()}  # if need be, of an older result
    lost = {run_id: run.name for run_id, run in damaged.items() if run.fingerprint not in whole}
    cells += [{"cell": name, "kind": "cell", "status": "damaged", "run_id": run_id} for run_id, name in lost.items()]
    planned = _coverage(uri, experiment, fingerprints, sweep, damaged)
    if not environments:
        counts = planned.counts() if planned else {}
        others = "".join(f", {count} {state}" for state, count in counts.items())
        raise NothingToReportError(f"{experiment} has no finished cell in {uri}{others}")
    missing_columns: dict[str, Any] = dict.fromkeys(["finding", "tuned", "untuned"])
    return Results(
        experiment,
        cells=pd.DataFrame([missing_columns | cell for cell in cells]),
        environment=_common(environments),
        coverage=planned,
        **{name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
        | {name: _no_rows() for name in ("replicas", "history") if name not in tables},
        **by_cell,
    )


def _coverage(
    uri: str, experiment: str, fingerprints: Collection[str] | None, sweep: str | None, damaged: Mapping[str, Damaged]
) -> Coverage | None:
    """Return what was to be trained of a sweep, of the cells with the given fingerprints, or of the whole study."""
    if sweep is not None:
        return coverage.of_sweep(uri, experiment, sweep, damaged=damaged)
    whole = coverage.of_study(uri, experiment, damaged=damaged)
    if whole is None or fingerprints is None:
        return whole
    return replace(whole, cells=whole.cells[whole.cells["fingerprint"].isin(list(fingerprints))])


def _labels(records: list[Record]) -> list[str]:
    """Return a label for each record, unique among them."""
    told = labels([flat_settings(record.config, record.choices) for record in records])
    # Equal settings are different cells where the data behind a path have changed.
    return [
        name if told.count(name) == 1 else f"{name} {record.identity.fingerprint[:8]}"
        for name, record in zip(told, records, strict=True)
    ]


def _data_names(records: Mapping[str, Record]) -> dict[str, str]:
    """Return what the data set of each run with a result is called: equal names have the same test split."""
    with_result = {run_id: record for run_id, record in records.items() if record.status != "failed"}
    return dict(zip(with_result, data_names(list(with_result.values())), strict=True))


def _identity(record: Record) -> dict[str, Any]:
    return {
        "status": record.status,
        "reason": record.cell.get("error", ""),
        "command": record.identity.command,
        "fingerprint": record.identity.fingerprint,
    }


def _facts(record: Record) -> dict[str, Any]:
    """Return what the table of cells says of one with a result."""
    found = facts(record)
    tuned = {f"{name} = {value:.4g}" for name, value in found["tuned"].items()}
    return {
        **(record.cell["tuning"] or {}),
        **found,
        "seconds": record.cell["ended"] - record.cell["started"],
        "tuned": ", ".join(sorted(tuned)),
        "settings": flat_settings(record.config, record.choices),
        "data": record.cell["dataset"],
    }


def _add(
    record: Record,
    label: str,
    dataset: str,
    tables: dict[str, list[pd.DataFrame]],
    by_cell: dict[str, dict[str, Any]],
) -> None:
    """Add what a record holds to the tables of the study."""
    if record.is_baseline:
        place = {"cell": label, "optimizer": label, "activation": "", "dataset": dataset}
        parts = {"baselines": record.replicas(), "calibration": record.calibration()}
    else:
        place = {"cell": label, **{group: record.choices[group] for group in ("optimizer", "activation")}}
        place["dataset"] = dataset
        parts = {
            "replicas": record.replicas(),
            "history": score_divergence(record.history(), record.chance),
            "calibration": record.calibration(),
        }
        if record.cell["tuning"]:
            parts |= {"tuning": record.tuning(), "untuned": record.untuned()}
        by_cell["update_rules"][place["optimizer"]] = record.cell.get("update_rule") or ""
    for name, rows in parts.items():
        if len(rows):
            tables.setdefault(name, []).append(rows.assign(**place))
    if dataset not in by_cell["samples"] and len((samples := record.samples()).images):
        by_cell["samples"][dataset] = samples
    by_cell["confusion"][label] = record.confusion()
    said = record.predictions()
    by_cell["predictions"][label] = replace(
        said,
        predicted=np.asarray(said.predicted, dtype=np.int16),
        samples=said.samples[:MOST_IMAGES],
        images=said.images[:MOST_IMAGES],
    )


def _common(environments: list[dict[str, Any]]) -> dict[str, object]:
    """Return what the trainings ran on; where they differ, every value that occurs."""
    found: dict[str, object] = {}
    for name in environments[0]:
        values: list[object] = []
        for environment in environments:
            if environment.get(name) not in values:
                values.append(environment.get(name))
        found[name] = values[0] if len(values) == 1 else values
    return found
