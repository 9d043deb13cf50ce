"""What a study was to reach, and what it did: each band of its file, checked on the cells that it is about."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nnbench.analysis.statistics import bootstrap_interval
from nnbench.protocol.study import Band
from nnbench.report.results import Results

MET, MISSED, NOT_TRAINED = "met", "missed", "not trained"
IN_WORDS = ("published_in_words", "band", "found_in_words", "verdict_in_words")
OVER_SEEDS: dict[str, Callable[[NDArray], float]] = {
    "mean": np.mean,
    "smallest": np.min,
    "largest": np.max,
    "range": np.ptp,
}
NUMBERS = ("published", "low_end", "high_end", "found", "low", "high")


def check(results: Results) -> pd.DataFrame:
    """Return one row for each band and each cell that it is about, in the order of the study's file.

    Columns: cell; what is to be reached, in words; published; the band, low_end to high_end, an open end not being a
    number; found; low and high, the 95 % bootstrap interval over seeds where that is a mean; seeds; finding, of the
    doctor; verdict: met, missed, or not trained; note; and the same in words, for people: published_in_words, band,
    found_in_words, verdict_in_words. No rows where the study has no band.
    """
    bands = [Band(**band) for band in (results.coverage.to_reach if results.coverage else ())]
    rows = [row | _in_words(band, row) for band in bands for row in _rows(results, band)]
    table = pd.DataFrame(rows, columns=["cell", "what", *NUMBERS, "seeds", "finding", "verdict", "note", *IN_WORDS])
    return table.astype(dict.fromkeys(NUMBERS, float))


def words(band: Band) -> str:
    """Return what a band is about: test/accuracy after epoch 1, smallest over seeds."""
    if band.finding is not None:
        return "the doctor's finding"
    epoch = "" if band.epoch is None else f" after epoch {band.epoch}"
    return f"{band.metric}{epoch}, {band.over_seeds} over seeds"


def _in_words(band: Band, row: Mapping[str, Any]) -> dict[str, str]:
    """Return what is published, the band and what was found as people read them."""
    write = per_cent if "accuracy" in band.metric else _plain
    if band.finding is not None:
        told = {"found_in_words": row["finding"], "verdict_in_words": row["verdict"]}  # the note is the evidence
        return {"published_in_words": "", "band": band.finding, **told}
    ends = f"{write(band.low)} to {write(band.high)}" if None not in (band.low, band.high) else ""
    open_end = f"at least {write(band.low)}" if band.high is None else f"at most {write(band.high)}"
    found, low, high = (row.get(name, np.nan) for name in ("found", "low", "high"))
    interval = f" ({write(low)} to {write(high)})" if np.isfinite(low) else ""
    return {
        "published_in_words": write(band.published),
        "band": ends or open_end,
        "found_in_words": "" if np.isnan(found) else f"{write(found)}{interval}",
        "verdict_in_words": ", ".join(filter(None, [row["verdict"], row["note"]])),
    }


def per_cent(share: float | None) -> str:
    """Write a share as 97.53 %; nothing where there is none."""
    return "" if share is None else f"{100 * share:.2f} %"


def _plain(number: float | None) -> str:
    return "" if number is None else f"{number:.3g}"


def _rows(results: Results, band: Band) -> Iterator[dict[str, Any]]:
    stated = {"what": words(band), "published": band.published, "low_end": band.low, "high_end": band.high}
    trained = results.cells[results.cells["cell"].isin(results.replicas["cell"])]
    chosen = [row for row in trained.itertuples() if band.chooses(row.settings)]
    for row in chosen:
        yield {
            "cell": row.cell,
            **stated,
            **(_number(results, band, row.cell) if band.finding is None else _found(results, band, row)),
        }
    if not chosen:
        asked = ", ".join(f"{name}={value}" for name, value in band.cells.items())
        yield {
            "cell": asked or "every network",
            **stated,
            "seeds": 0,
            "finding": "",
            "verdict": NOT_TRAINED,
            "note": "",
        }


def _found(results: Results, band: Band, cell: Any) -> dict[str, Any]:
    """Return what the doctor says of a cell."""
    num_seeds = int((results.replicas["cell"] == cell.cell).sum())
    verdict = MET if cell.finding == band.finding else MISSED
    return {"seeds": num_seeds, "finding": cell.finding, "verdict": verdict, "note": cell.evidence}


def _number(results: Results, band: Band, cell: str) -> dict[str, Any]:
    """Return the number of a cell, its interval, and whether it lies in the band."""
    values = _values(results, band, cell)
    if not len(values) or np.isnan(values).any():
        return {"seeds": len(values), "finding": "", **_without_number(results, band, cell)}
    low, high = bootstrap_interval(values) if band.over_seeds == "mean" else (np.nan, np.nan)
    number = round(float(OVER_SEEDS[band.over_seeds](values)), 12)  # a mean of hundreds of ones is not below one
    verdict = MET if band.holds(number) else MISSED
    return {
        "found": number, "low": low, "high": high, "seeds": len(values), "finding": "", "verdict": verdict,
        "note": _note(band, number, low, high),
    }  # fmt: skip


def _without_number(results: Results, band: Band, cell: str) -> dict[str, str]:
    """Return the verdict on a cell of which some seed has no number: divergence is a result, and it misses the band."""
    statuses = results.replicas.loc[results.replicas["cell"] == cell, "status"]
    num_diverged = int((statuses == "diverged").sum())
    if num_diverged and band.metric in _table(results, band):
        return {"verdict": MISSED, "note": f"no number, as {num_diverged} of {len(statuses)} seeds diverged"}
    return {"verdict": NOT_TRAINED, "note": "not measured"}


def _values(results: Results, band: Band, cell: str) -> NDArray:
    """Return the metric of each seed of a cell, (seeds,); nothing where it was not measured."""
    table = _table(results, band)
    rows = table[table["cell"] == cell]
    if band.epoch is not None:
        rows = rows[rows["epoch"] == band.epoch]
    return rows[band.metric].to_numpy(dtype=float) if band.metric in rows else np.empty(0)


def _table(results: Results, band: Band) -> pd.DataFrame:
    return results.replicas if band.epoch is None else results.history


def _note(band: Band, number: float, low: float, high: float) -> str:
    """Return on which side of the band a number lies, or that its interval leaves the question open."""
    if band.low is not None and number < band.low:
        return "below the band" + ("" if not high >= band.low else ", its interval reaches into it")
    if band.high is not None and number > band.high:
        return "above the band" + ("" if not low <= band.high else ", its interval reaches into it")
    sides = [
        side
        for side, outside in (
            ("below", band.low is not None and low < band.low),
            ("above", band.high is not None and high > band.high),
        )
        if outside
    ]
    return f"the interval reaches {' and '.join(sides)} the band" if sides else ""
