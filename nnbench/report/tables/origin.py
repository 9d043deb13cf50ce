"""What was trained and what became of it, and how to train it again."""

from collections.abc import Mapping

import pandas as pd

from nnbench.report.display import Paragraph, Table, text
from nnbench.report.missing import without_result
from nnbench.report.results import Results
from nnbench.report.tables.parts import table


def findings(results: Results) -> Table | Paragraph:
    """Return what the run doctor says of each cell that is not healthy: finding, evidence, the override to try."""
    sick = results.cells[~results.cells["finding"].fillna("").isin(["", "healthy"])]
    columns = {
        "cell": ("cell", text),
        "finding": ("finding", text),
        "evidence": ("evidence", text),
        "override": ("try", text),
    }
    rows = sick[[name for name in columns if name in sick]].reset_index(drop=True)
    otherwise = "All networks are healthy." if results.datasets else "There is no network to look at."
    return table("findings", rows, columns, otherwise=otherwise)


def coverage(results: Results) -> Table | Paragraph:
    """Return the cells that have no result, and why."""
    columns = {"cell": ("cell", text), "state": ("state", text), "reason": ("reason", text)}
    return table("coverage", without_result(results), columns, otherwise="Every cell has a result.")


def environment(results: Results) -> Table:
    """Return what produced the results: commands, seeds, versions, processor."""
    seeds = pd.concat([results.replicas["seed"], results.baselines["seed"]])
    # The sweep's own command: some of its cells may have been trained by an earlier one.
    command = results.coverage.command if results.coverage is not None and results.coverage.sweep else ""
    if not command and "command" in results.cells:
        command = "; ".join(results.cells["command"].dropna().unique())
    facts: dict[str, object] = {
        "experiment in MLflow": results.experiment,
        "command": command,
        **_data(results),
        "seeds": ", ".join(str(seed) for seed in sorted(set(seeds))),
        "check a run bit for bit": "python -m nnbench verify RUN_ID",
    }
    facts |= {name: _words(value) for name, value in results.environment.items()}
    rows = pd.DataFrame({"fact": list(facts), "value": list(facts.values())})
    return Table("environment", rows, {"fact": ("", text), "value": ("value", text)})


def _data(results: Results) -> dict[str, str]:
    """Return the size of the splits of each data set, and what they are split by."""
    if "data" not in results.cells:
        return {}
    facts = {}
    for name, cells in results.cells.dropna(subset="data").groupby("dataset", sort=False):
        data, settings = cells["data"].iloc[0], cells["settings"].iloc[0]
        facts[f"data set {name}"] = (
            f"{data['train']} training, {data['validation']} validation, {data['test']} test samples; split_seed "
            f"{settings.get('dataset.split_seed', 'not known')}, digest {data['digest'][:16]}"
        )
    return facts


def _words(value: object) -> str:
    """Write a value of an environment: 3.12.4, or numpy 2.3.1, scipy 1.16.0, or a list of such."""
    match value:
        case None:
            return "not known"
        case Mapping():
            return ", ".join(f"{name} {_words(entry)}" for name, entry in value.items())
        case list():
            return "; ".join(_words(entry) for entry in value)
        case _:
            return str(value)


def runs(results: Results) -> Table | Paragraph:
    """Return the run in MLflow of each cell."""
    columns = {
        "cell": ("cell", text),
        "status": ("status", text),
        "run_id": ("run", text),
    }
    rows = results.cells[[name for name in ("cell", "kind", "status", "run_id", "command") if name in results.cells]]
    return table("runs", rows.reset_index(drop=True), columns, otherwise="There is no run.")
