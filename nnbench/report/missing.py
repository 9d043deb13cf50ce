"""What a study lacks: the cells without a result, and why."""

import pandas as pd

from nnbench.report.results import Results
from nnbench.tracking.read import WITH_RESULT

# States without a result, in the order in which they are told, and what each means.
CAUSES = {
    "running": "still running",
    "interrupted": "interrupted",
    "failed": "failed",
    "damaged": "with a damaged record in the store",
    "missing": "not trained yet",
}
COLUMNS = ["cell", "state", "reason"]


def without_result(results: Results) -> pd.DataFrame:
    """Return one row for each cell that was to be trained and has no result: cell, state, reason.

    As `results.coverage` tells; where it is not known, as the cells that were read do.
    """
    if results.coverage is not None:
        planned = results.coverage.cells
        lacking = planned.loc[~planned["state"].isin(WITH_RESULT), COLUMNS]
    else:
        known = results.cells.rename(columns={"status": "state"}).reindex(columns=COLUMNS)
        lacking = known[known["state"].isin(list(CAUSES))].fillna({"reason": ""})
    order = {state: place for place, state in enumerate(CAUSES)}
    return lacking.sort_values("state", key=lambda states: states.map(order), kind="stable", ignore_index=True)


def with_result(results: Results) -> int:
    """Return the number of cells, baselines included, that have a result."""
    return int(results.replicas["cell"].nunique() + results.baselines["cell"].nunique())
