"""What so many seeds can show: the smallest difference that is likely to be found, and the seeds that one needs.

The paired t test stands for the sign-flip test of `nnbench.analysis.comparison`, whose power is about the same where
differences are roughly normal. Its alpha is divided by the number of pairs, as Holm's correction does for the smallest
p; so the answers are on the safe side. Below `fewest_seeds` no difference can be found at all, however large.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from nnbench.analysis.comparison import ALPHA, FEWEST_SEEDS, REGION, cell_scores, fewest_seeds

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


def detectable_differences(
    replicas: pd.DataFrame, *, metric: str = "test/accuracy", wished: float = REGION
) -> pd.DataFrame:
    """Return what the seeds of each pair of cells can show, smallest detectable difference first.

    `replicas` is that of `nnbench.analysis.tables`, of one data set. One row for each pair: `first`, `second`; `seeds`,
    those that both have; `deviation`, the standard deviation of the paired differences; `detectable`, the difference
    that so many seeds find with power .8 (infinite where they find none); `wished`, and `seeds_needed` to find that
    one. Alpha is .05 over all pairs. Not a number (seeds_needed: missing) for fewer than two equal seeds. Equal cells
    have a deviation of 0. Raises ValueError as `nnbench.analysis.comparison.compare` does.
    """
    scores = cell_scores(replicas, metric=metric)
    pairs = list(combinations(scores.columns, 2))
    rows = []
    for first, second in pairs:
        differences = (scores[first] - scores[second]).dropna()
        deviation = float(differences.std()) if len(differences) > 1 else np.nan
        rows.append(
            {
                "first": first,
                "second": second,
                "seeds": len(differences),
                "deviation": deviation,
                "detectable": _detectable(deviation, len(differences), len(pairs)),
                "wished": wished,
                "seeds_needed": _needed(deviation, wished, len(pairs)),
            }
        )
    columns = ["first", "second", "seeds", "deviation", "detectable", "wished", "seeds_needed"]
    table = pd.DataFrame(rows, columns=columns).astype({"seeds_needed": "Int64"})
    return table.sort_values("detectable", kind="stable", ignore_index=True)


def _fewest(num_pairs: int) -> int:
    return max(FEWEST_SEEDS, fewest_seeds(num_pairs))


def _detectable(deviation: float, num_seeds: int, num_pairs: int) -> float:
    if np.isnan(deviation):
        return np.nan
    effect = smallest_effect(num_seeds, num_pairs=num_pairs)
    return effect if np.isinf(effect) else effect * deviation


def _needed(deviation: float, wished: float, num_pairs: int) -> object:
    if np.isnan(deviation):
        return pd.NA
    return _fewest(num_pairs) if deviation == 0 else seeds_needed(wished / deviation, num_pairs=num_pairs)
