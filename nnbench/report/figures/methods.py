"""Optimizers over all activations, activations over all optimizers, and where the differences come from."""

from nnbench.analysis import plots, tables
from nnbench.analysis.ranks import rank_methods
from nnbench.report.display import Paragraph
from nnbench.report.figures.canvas import axes, drawn_once, heading, sentences
from nnbench.report.results import Results
from nnbench.report.tables.comparisons import OTHER, shares_of

LESS = (
    "The ranks may join what the tables tell apart: their test (Friedman, then Nemenyi) sees only which of all was "
    "better on each seed, not by how much, and is made for 4 to 8 methods at once, so it finds less. That is no "
    "contradiction."
)


@drawn_once
def ranks(results: Results, by: str | None = None) -> Paragraph | None:
    """Draw the mean ranks of 4 to 8 optimizers or activations; those that a bar joins cannot be told apart.

    Both by default, and why there is none only where neither can be ranked.
    """
    grids, _ = results.grids()  # the tables say why there is none
    reasons, any_drawn = [], False
    for dataset in grids:
        for method in OTHER if by is None else [by]:
            try:
                ranking = rank_methods(results.of(dataset, "replicas"), by=method, over=OTHER[method])
            except ValueError as reason:
                reasons.append(f"No ranks of {method}s: {reason}.")
            else:
                plots.critical_differences(ranking, axes(2.6, heading(results, dataset)))
                any_drawn = True
    return Paragraph(LESS) if any_drawn else sentences(*reasons[:1])


@drawn_once
def interquartile_means(results: Results, by: str = "optimizer") -> None:
    """Draw the mean of the middle half of each optimizer's (or activation's) scores, with its interval."""
    grids, _ = results.grids()
    for dataset in grids:
        table = tables.interquartile_means(results.of(dataset, "replicas"), by=by, over=OTHER[by]).dropna()
        if len(table):
            plots.interquartile_means(table, axes(1.4 + 0.4 * len(table), heading(results, dataset)))


@drawn_once
def variance_shares(results: Results) -> None:
    """Draw what part of the differences between trainings goes with optimizer, activation, both together and seed."""
    for dataset in results.datasets:
        shares = shares_of(results, dataset)
        if len(shares):
            plots.variance_shares(shares, axes(1.8 + 0.8 * shares["of"].nunique(), heading(results, dataset)))
