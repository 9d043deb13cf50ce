"""Scores: every seed, the table of optimizers and activations, leads on equal seeds, baselines."""

import math

from nnbench.analysis import plots
from nnbench.analysis.comparison import fewest_seeds, too_many_pairs
from nnbench.report import cells
from nnbench.report.display import Paragraph
from nnbench.report.figures.canvas import axes, drawn, drawn_once, heading, note, of_drawn
from nnbench.report.results import Results

MOST_BESIDE = 8  # networks beside the baselines


@drawn_once
def accuracies(results: Results) -> Paragraph | None:
    """Draw each seed and each mean with its interval."""
    for dataset in results.datasets:
        board = drawn(results, dataset)
        replicas = of_drawn(results, dataset, results.of(dataset, "replicas"))
        plots.accuracy_points(replicas, board, axes(1.2 + 0.42 * len(board), heading(results, dataset)))
    return note(results)


@drawn_once
def heatmap(results: Results) -> Paragraph | None:
    """Draw the mean accuracy of each optimizer with each activation; cells like the best one have a frame."""
    any_drawn, notes = False, []
    for dataset in results.datasets:
        replicas = results.of(dataset, "replicas")
        if min(replicas["optimizer"].nunique(), replicas["activation"].nunique()) > 1:
            ax = axes(1.6 + 0.75 * replicas["optimizer"].nunique(), heading(results, dataset))
            plots.heatmap(replicas, results.board(dataset), results.pairs(dataset), ax)
            any_drawn = True
            num_pairs = math.comb(len(results.board(dataset)), 2)
            needed = fewest_seeds(num_pairs)
            if too_many_pairs(num_pairs):
                notes.append(f"Nothing on {dataset} is told apart, as there are too many pairs, so all have a frame.")
            elif results.pairs(dataset)["seeds"].max() < needed:
                notes.append(f"With fewer than {needed} seeds nothing on {dataset} is told apart, so all have a frame.")
    if notes:
        return Paragraph(" ".join(notes))
    return None if any_drawn else Paragraph("There is no grid of several optimizers and several activations.")


@drawn_once
def differences(results: Results, cell: str | None = None) -> Paragraph | None:
    """Draw the leader (or another network) against each other one: mean paired difference with its interval.

    Raises ValueError for a name that no network has.
    """
    compared = [name for name in results.datasets if len(results.board(name)) > 1]
    if cell is not None:
        cells.checked(results, cell)
        compared = [name for name in compared if cell in set(results.board(name)["cell"])]
    for dataset in compared:
        board, leader = drawn(results, dataset), cell or results.leader(dataset)
        pairs = results.pairs_of(dataset, leader)
        kept = {*board["cell"], leader}
        pairs = pairs[pairs["first"].isin(kept) & pairs["second"].isin(kept)]
        if pairs["difference"].isna().all():  # no seeds in common, as the table shows
            continue
        ax = axes(1.6 + 0.35 * len(board), heading(results, dataset))
        plots.paired_differences(results.of(dataset, "replicas"), pairs, ax, cell=leader)
    return note(results, compared) if compared else None


@drawn_once
def baselines(results: Results) -> None:
    """Draw the baselines beside the best network of each optimizer."""
    datasets = [name for name in results.datasets if len(results.of(name, "baselines"))]
    for dataset in datasets:
        replicas, board = results.of(dataset, "replicas"), results.board(dataset)
        optimizers = replicas[["cell", "optimizer"]].drop_duplicates()
        best = list(board.merge(optimizers, on="cell").drop_duplicates("optimizer")["cell"][:MOST_BESIDE])
        ax = axes(1.6 + 0.42 * (len(results.baseline_board(dataset)) + len(best)), heading(results, dataset))
        plots.baselines(replicas, results.of(dataset, "baselines"), ax, cells=best)
