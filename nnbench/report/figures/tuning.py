"""What tuning saw and what it was worth."""

from functools import partial

from nnbench.analysis import plots
from nnbench.report.display import Paragraph
from nnbench.report.figures.canvas import axes, drawn_once, heading, note, of_drawn, panels
from nnbench.report.results import Results


@drawn_once
def learning_rates(results: Results) -> Paragraph | None:
    """Draw validation accuracy against learning rate over the trials of tuning; the chosen rate is marked."""
    if "learning_rate" not in results.tuning:
        return None if not results.any_tuned else Paragraph("No learning rate was tuned.")
    chosen = results.chosen_rates()
    for dataset in results.tuning["dataset"].unique():
        tuning = of_drawn(results, dataset, results.of(dataset, "tuning"))
        if len(tuning):
            panels(tuning, partial(plots.learning_rates, chosen=chosen), heading(results, dataset))
    return note(results)


@drawn_once
def price_of_tuning(results: Results) -> Paragraph | None:
    """Draw what tuning gained: an arrow from the untuned to the tuned mean of each cell."""
    for dataset in results.untuned["dataset"].unique():
        untuned = of_drawn(results, dataset, results.of(dataset, "untuned"))
        if len(untuned):
            ax = axes(1.6 + 0.35 * untuned["cell"].nunique(), heading(results, dataset))
            plots.price_of_tuning(results.of(dataset, "replicas"), untuned, ax)
    return note(results) if len(results.untuned) else None
