"""Which cells of a sweep or of a study have a result, which have none, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from nnbench.tracking import read, record, sweeps
from nnbench.tracking.read import WITH_RESULT, Attempt, Damaged

STATES = ("done", "partly diverged", "diverged", "running", "interrupted", "failed", "damaged", "missing")
Waiting = Mapping[str, Sequence[record.Record]]  # records that MLflow lacks, newest first, by fingerprint


@dataclass(frozen=True)
class Coverage:
    """What a sweep was to train and what is there.

    `cells` has one row for each cell: cell (its label), model, optimizer and activation ("" of a baseline), state and
    reason, seeds and diverged (the number of trainings of its result, one for a baseline that draws nothing, and how
    many of them diverged), duplicates (finished runs beyond the newest), damaged (what is wrong with the newest of
    them, or ""), fingerprint, and run_id, the run of its result, or "". A cell is "diverged" if all of its seeds have;
    if some have, it is done, and the reason counts them.
    """

    study: str
    sweep: str | None  # None: all cells that the study has
    command: str
    cells: pd.DataFrame
    num_others: int = 0  # cells of the study that are not of this sweep
    about: Mapping[str, str] | None = None  # what the study says of itself, see `nnbench.protocol.study`
    to_reach: Sequence[Mapping[str, Any]] = ()
    resumes: bool = True  # whether `command` leaves out what is done
    planned: frozenset[str] = frozenset()  # fingerprints of the cells that `command` trains, of a sweep or the newest

    @property
    def complete(self) -> bool:
        """Whether every cell has a result."""
        return bool(self.cells["state"].isin(WITH_RESULT).all())

    @property
    def num_duplicates(self) -> int:
        """How many finished runs there are beyond the newest of each cell."""
        return int(self.cells["duplicates"].sum())

    def counts(self) -> dict[str, int]:
        """Return how many cells are in each state, of those that occur; "partly diverged" are among the done."""
        counts = self.cells["state"].value_counts()
        return {state: int(counts[state]) for state in STATES if state in counts}

    def matrix(self) -> pd.DataFrame:
        """Return what became of each optimizer (row) with each activation (column), in words; baselines have none."""
        networks = self._in_words(self.cells["optimizer"] != "")
        if networks.empty:
            return pd.DataFrame()
        return networks.pivot_table(
            index="optimizer", columns="activation", values="state", aggfunc=_together, sort=False, fill_value="-"
        )

    def baselines(self) -> dict[str, str]:
        """Return what became of each baseline, in words."""
        baselines = self._in_words(self.cells["optimizer"] == "")
        return {str(model): _together(states) for model, states in baselines.groupby("model", sort=False)["state"]}

    def _in_words(self, chosen: pd.Series) -> pd.DataFrame:
        partly = (self.cells["state"] == "done") & (self.cells["diverged"] > 0)
        return self.cells.assign(state=self.cells["state"].where(~partly, "partly diverged"))[chosen]


@dataclass(frozen=True)
class _Outcome:
    """What is known of one cell."""

    state: str
    reason: str
    seeds: int = 0
    diverged: int = 0
    duplicates: int = 0
    damaged: str = ""
    run_id: str = ""


def of_sweep(
    uri: str,
    study: str,
    sweep: str | None = None,
    *,
    waiting: Waiting | None = None,
    damaged: Mapping[str, Damaged] | None = None,
) -> Coverage | None:
    """Return the coverage of a sweep, by default the newest of the study; None if the store knows neither.

    `waiting` are records that the store lacks. `damaged` are the runs whose record was found to be damaged or gone, see
    `read.fetch_newest`: they are no results. If they are not given, the records on this machine are looked at.
    """
    runs = read.cell_runs(uri, study)
    attempts = [read.attempt_of(run) for run in runs]
    plan = sweeps.find(uri, study, sweep)
    if plan is None:
        attempts = [attempt for attempt in attempts if sweep is None or attempt.sweep == sweep]
        plan = _plan_of(attempts)
    if plan is None:
        return None
    num_others = len({attempt.fingerprint for attempt in attempts} - set(plan["fingerprints"]))
    if damaged is None:
        damaged = read.whole_runs(runs, plan["fingerprints"])[1]
    cells = _cells(plan, attempts, waiting or {}, damaged)
    return Coverage(study, plan["sweep"], plan["command"], cells, num_others, **_of_study_itself(plan))


def of_study(
    uri: str, study: str, *, waiting: Waiting | None = None, damaged: Mapping[str, Damaged] | None = None
) -> Coverage | None:
    """Return the coverage of a whole study: what its newest sweep was to train, then every other cell ever begun.

    None if the store knows no cell of it; the rest is as in `of_sweep`.
    """
    runs = read.cell_runs(uri, study)
    attempts = [read.attempt_of(run) for run in runs]
    newest = plan = sweeps.find(uri, study)
    planned = set() if plan is None else set(plan["fingerprints"])
    others = _plan_of([attempt for attempt in attempts if attempt.fingerprint not in planned])
    if plan is None or others is None:
        plan = plan or others
    else:
        plan = plan | {name: [*plan[name], *others[name]] for name in ("labels", "choices", "fingerprints")}
    if plan is None:
        return None
    if damaged is None:
        damaged = read.whole_runs(runs)[1]
    cells = _cells(plan, attempts, waiting or {}, damaged)
    return Coverage(study, None, plan["command"], cells, **_of_study_itself(newest or plan))


def _of_study_itself(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a plan has of the words and the bands of its study, and which cells it trains, given again."""
    planned = frozenset(plan["fingerprints"]) if plan["command"] else frozenset()
    of_study = {"about": plan.get("about"), "to_reach": plan.get("to_reach") or ()}
    return {**of_study, "resumes": plan.get("resume", True), "planned": planned}


def _plan_of(attempts: Sequence[Attempt]) -> dict[str, Any] | None:
    """Return the cells of these attempts, newest first, as if a sweep had planned them; None if there are none."""
    newest = {attempt.fingerprint: attempt for attempt in reversed(attempts)}
    if not newest:
        return None
    return {
        "sweep": None,
        "command": "",
        "labels": [attempt.label for attempt in newest.values()],
        "choices": [attempt.choices for attempt in newest.values()],
        "fingerprints": list(newest),
    }


def _cells(
    plan: Mapping[str, Any], attempts: Sequence[Attempt], waiting: Waiting, damaged: Mapping[str, Damaged]
) -> pd.DataFrame:
    """Return the table of cells of a plan, see `Coverage`; settings that it has twice are one cell."""
    attempts_by_fingerprint: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        attempts_by_fingerprint.setdefault(attempt.fingerprint, []).append(attempt)
    rows = []
    for label, choices, fingerprint in zip(plan["labels"], plan["choices"], plan["fingerprints"], strict=True):
        outcome = _outcome(attempts_by_fingerprint.get(fingerprint, []), waiting.get(fingerprint, []), damaged)
        chosen = {group: choices.get(group, "") for group in ("model", "optimizer", "activation")}  # "": a baseline
        rows.append({"cell": label, **chosen, **asdict(outcome), "fingerprint": fingerprint})
    return pd.DataFrame(rows).drop_duplicates("fingerprint", ignore_index=True)


def _outcome(attempts: Sequence[Attempt], waiting: Sequence[record.Record], damaged: Mapping[str, Damaged]) -> _Outcome:
    """Return what came of a cell from its attempts and its records that MLflow lacks, both newest first."""
    results = [attempt for attempt in attempts if attempt.state in WITH_RESULT]
    lost = damaged[results[0].run_id].reason if results and results[0].run_id in damaged else ""
    known: dict[str, Any] = {"duplicates": max(len(results) - 1, 0), "damaged": lost}
    for newest in results:
        if newest.run_id not in damaged:
            instead = f"an older result, as the newest is damaged: {lost}" if lost else ""
            reason = "; ".join(filter(None, (newest.reason, instead)))
            counts = newest.num_seeds, newest.num_diverged
            return _Outcome(newest.state, reason, *counts, **known, run_id=newest.run_id)
    way_out = "not in MLflow yet; python -m nnbench sync publishes it"
    for cell in waiting:
        if cell.status in record.WITH_RESULT:
            statuses = cell.replicas()["status"]
            state = "diverged" if cell.status == "diverged" else "done"
            num_diverged = int((statuses == "diverged").sum())
            return _Outcome(state, way_out, cell.cell.get("num_fits", len(statuses)), num_diverged, **known)
    if results:
        return _Outcome("damaged", f"its record in the store is damaged or gone: {lost}", **known)
    if attempts:
        return _Outcome(attempts[0].state, attempts[0].reason)
    if waiting:
        return _Outcome(waiting[0].status, f"{waiting[0].cell['error']}; {way_out}")
    return _Outcome("missing", "not trained yet")


def _together(states: pd.Series) -> str:
    """Return one state, or the count of each: done, 3 done, 1 failed."""
    counts = states.value_counts()
    if len(states) == 1:
        return str(counts.index[0])
    return ", ".join(f"{counts[state]} {state}" for state in STATES if state in counts)
