"""What the page of a cell's run says at its top, in Markdown."""

import re
from typing import TYPE_CHECKING

from nnbench.tracking.record import Record

if TYPE_CHECKING:
    import pandas as pd


def note(cell: Record, replicas: "pd.DataFrame") -> str:
    """Return what the page of the run says at its top, in Markdown."""
    if not len(replicas):
        where = "\n\nThe traceback is in the artifact `error.log`." if cell.status == "failed" else ""
        return f"**{cell.status}**: {_code(cell.cell['error'])}{where}"
    accuracy = replicas["test/accuracy"]
    spread = f" ± {accuracy.std():.2%} (standard deviation over {len(replicas)} seeds)" if len(replicas) > 1 else ""
    data = cell.cell["dataset"]
    diverged = int((replicas["status"] == "diverged").sum())
    samples = f"{data['train']} training, {data['validation']} validation, {data['test']} test samples"
    if cell.is_baseline:
        fits = "a fit for each seed" if cell.cell["draws"] else "one fit for all seeds, as it draws nothing"
        lines = [
            f"**Test accuracy {accuracy.mean():.2%}**{spread if cell.cell['num_fits'] > 1 else ''}.",
            f"The baseline {_words(cell.choices['model'])} on {_words(data['name'])}: {samples}; {fits}.",
            *(f"scikit-learn warns: {_code(warning)}" for warning in cell.cell["warnings"]),
        ]
        return "\n\n".join(lines)
    lines = [
        f"**Test accuracy {accuracy.mean():.2%}**{spread}.",
        f"{_words(cell.choices['optimizer'])} with {_words(cell.choices['activation'])} on {_words(data['name'])}: "
        f"{samples}.",
    ]
    if diverged:
        lines.append(f"{diverged} of {len(replicas)} seeds diverged and are scored at chance level.")
    if cell.cell["tuning"]:
        tuning = cell.cell["tuning"]
        chosen = ", ".join(f"{name} {value:g}" for name, value in tuning["chosen"].items())
        edge = ", which is still the edge of the grid" if tuning["at_edge"] else ""
        lines.append(
            f"Tuned in {tuning['num_trials']} trials: {chosen}{edge}. "
            f"With the configured values: {cell.untuned()['test/accuracy'].mean():.2%}."
        )
    finding = cell.cell["finding"]
    advice = f"; try {_code(finding['override'])}" if finding["override"] else ""
    lines.append(f"Doctor: {finding['name']} ({finding['evidence']}){advice}.")
    return "\n\n".join(lines)


def _words(name: str) -> str:
    """Return a name so that Markdown makes neither a link nor an element of it."""
    return re.sub(r"([\\`*\[\]<>])", r"\\\1", " ".join(name.split()))


def _code(text: str) -> str:
    """Return text as code of Markdown, whatever stands in it."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"
