"""What so many seeds can show: the smallest difference that is likely to be found, and the seeds that one needs.

The paired t test stands for the sign-flip test of `nnbench.analysis.comparison`, whose power is about the same where
differences are roughly normal. Its alpha is divided by the number of pairs, as Holm's correction does for the smallest
p; so the answers are on the safe side. Below `fewest_seeds` no difference can be found at all, however large.
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

from nnbench.analysis.comparison import ALPHA, DECIMALS, FEWEST_SEEDS, REGION, cell_scores, fewest_seeds

POWER = 0.8
MOST_SEEDS = 10_000_000  # nobody trains as many


def paired_t_power(effect: float, num_seeds: int, *, alpha: float = ALPHA) -> float:
    """Return the chance that a two-sided paired t test finds a difference of `effect` standard deviations.

    The deviation is that of the paired differences. Cohen, 1988, Statistical Power Analysis for the Behavioral
    Sciences, chapter 2, with the noncentral t distribution in place of his tables.
    """
    from scipy.stats import nct, t

    freedom = num_seeds - 1
    critical = t.isf(alpha / 2, freedom)
    shift = effect * np.sqrt(num_seeds)
    far_tail = nct.cdf(-critical, freedom, shift)  # scipy has NaN where it is next to nothing
    return float(nct.sf(critical, freedom, shift) + np.nan_to_num(far_tail))


def smallest_effect(num_seeds: int, *, num_pairs: int = 1, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the difference, in standard deviations of the paired differences, that is found with that power.

    Infinity for fewer seeds than any difference takes, see `nnbench.analysis.comparison.fewest_seeds`.
    """
    from scipy.optimize import brentq

    if num_seeds < _fewest(num_pairs):
        return np.inf
    highest = 1.0
    while paired_t_power(highest, num_seeds, alpha=alpha / num_pairs) < power:
        highest *= 2
    return float(brentq(lambda effect: paired_t_power(effect, num_seeds, alpha=alpha / num_pairs) - power, 0, highest))


def seeds_needed(effect: float, *, num_pairs: int = 1, alpha: float = ALPHA, power: float = POWER) -> int:
    """Return the number of seeds with which a difference of `effect` standard deviations is found with that power.

    Raises ValueError for an effect that is not above 0, or that takes more than ten million seeds.
    """
    if not effect > 0:
        raise ValueError(f"the effect is {effect}; no number of seeds finds one that is not above 0")
    lowest = highest = _fewest(num_pairs)
    while paired_t_power(effect, highest, alpha=alpha / num_pairs) < power:
        lowest, highest = highest, 2 * highest
        if highest > MOST_SEEDS:
            raise ValueError(
                f"the effect is {effect}; it takes more than {MOST_SEEDS} seeds, so it is none in practice"
            )
    while lowest < highest:
        middle = (lowest + highest) // 2
        if paired_t_power(effect, middle, alpha=alpha / num_pairs) < power:
            lowest = middle + 1
        else:
            highest = middle
    return highest


@dataclass(frozen=True)
class Rivalry:
    """What it takes to tell a cell from its nearest rival; scores and differences are in the unit of the metric.

    `verdict` is the cell's: better, equivalent, cannot tell, or worse. `difference` is its mean lead on the `seeds`
    that both have, negative where the rival leads there; `deviation` is the standard deviation of the paired
    differences. If the two truly differ by that much, `seeds_needed` seeds in all tell them apart with power .8, alpha
    being .05 over all `num_pairs` pairs of cells; None where no number of seeds that anyone trains does. `detectable`
    is the smallest difference that the present seeds find with that power; infinite where they find none.
    """

    cell: str
    rival: str
    verdict: str
    seeds: int
    difference: float
    deviation: float
    detectable: float
    seeds_needed: int | None
    num_pairs: int

    @property
    def to_draw_level(self) -> float:
        """By how much the rival's mean would have to rise to meet the cell's; 0 if it does already."""
        return max(self.difference, 0.0)


def nearest_rival(
    replicas: pd.DataFrame, pairs: pd.DataFrame, *, cell: str, metric: str = "test/accuracy"
) -> Rivalry | None:
    """Return what would change the verdict on a cell: how it stands to the nearest cell that it is not told apart from.

    `pairs` is the table of `nnbench.analysis.comparison.compare` or `compare_with` for these replicas and metric. The
    nearest is the one with the smallest difference among those with the verdict "cannot tell", or among all where there
    are none. None where no other cell has two equal seeds. Raises ValueError as `compare` does.
    """
    known = pairs[((pairs["first"] == cell) | (pairs["second"] == cell)) & (pairs["seeds"] > 1)]
    if not len(known):
        return None
    unclear = known[known["verdict"] == "cannot tell"]
    pair = (unclear if len(unclear) else known).sort_values("difference", kind="stable").iloc[0]
    leads = pair["first"] == cell
    rival = pair["second"] if leads else pair["first"]
    scores = cell_scores(replicas, metric=metric)
    num_pairs = comb(scores.shape[1], 2)
    differences = (scores[cell] - scores[rival]).dropna().round(DECIMALS)
    difference, deviation = float(differences.mean()), float(differences.std())
    return Rivalry(
        cell=cell,
        rival=str(rival),
        verdict="worse" if pair["verdict"] == "better" and not leads else str(pair["verdict"]),
        seeds=len(differences),
        difference=difference,
        deviation=deviation,
        detectable=_detectable(deviation, smallest_effect(len(differences), num_pairs=num_pairs)),
        seeds_needed=_seeds_or_none(deviation, abs(difference), num_pairs),
        num_pairs=num_pairs,
    )


def detectable_differences(
    replicas: pd.DataFrame, *, cell: str | None = None, metric: str = "test/accuracy", wished: float = REGION
) -> pd.DataFrame:
    """Return what the seeds of each pair of cells can show, smallest detectable difference first.

    `replicas` is that of `nnbench.analysis.tables`, of one data set. With a `cell` there are only its own pairs. One
    row for each pair: `first`, `second`; `seeds`, those that both have; `deviation`, the standard deviation of the
    paired differences; `detectable`, the difference that so many seeds find with power .8 (infinite where they find
    none); `wished`, and `seeds_needed` to find that one. Alpha is .05 over all pairs, with a `cell` too. Not a number
    (seeds_needed: missing) for fewer than two equal seeds. Equal cells have a deviation of 0. Raises ValueError as
    `nnbench.analysis.comparison.compare` does.
    """
    scores = cell_scores(replicas, metric=metric)
    num_pairs = comb(scores.shape[1], 2)
    effects: dict[int, float] = {}  # by number of seeds
    rows = []
    for first, second in combinations(scores.columns, 2):
        if cell is not None and cell not in (first, second):
            continue
        differences = (scores[first] - scores[second]).dropna()
        num_seeds = len(differences)
        deviation = float(differences.std()) if num_seeds > 1 else np.nan
        if num_seeds not in effects:
            effects[num_seeds] = smallest_effect(num_seeds, num_pairs=num_pairs)
        rows.append(
            {
                "first": first,
                "second": second,
                "seeds": num_seeds,
                "deviation": deviation,
                "detectable": _detectable(deviation, effects[num_seeds]),
                "wished": wished,
                "seeds_needed": _needed(deviation, wished, num_pairs),
            }
        )
    columns = ["first", "second", "seeds", "deviation", "detectable", "wished", "seeds_needed"]
    table = pd.DataFrame(rows, columns=columns).astype({"seeds_needed": "Int64"})
    return table.sort_values("detectable", kind="stable", ignore_index=True)


def _fewest(num_pairs: int) -> int:
    return max(FEWEST_SEEDS, fewest_seeds(num_pairs))


def _detectable(deviation: float, effect: float) -> float:
    """Return an effect in the unit of the deviation; an infinite one stays so, whatever the deviation."""
    return effect if np.isinf(effect) and not np.isnan(deviation) else effect * deviation


def _needed(deviation: float, wished: float, num_pairs: int) -> object:
    if np.isnan(deviation):
        return pd.NA
    return _fewest(num_pairs) if deviation == 0 else seeds_needed(wished / deviation, num_pairs=num_pairs)


def _seeds_or_none(deviation: float, difference: float, num_pairs: int) -> int | None:
    """Return the seeds that a difference takes, None if it is 0 or takes more than MOST_SEEDS."""
    if difference == 0:
        return None
    if deviation == 0:
        return _fewest(num_pairs)
    try:
        return seeds_needed(difference / deviation, num_pairs=num_pairs)
    except ValueError:
        return None
