"""What the study was to reach."""

from nnbench.report import reached
from nnbench.report.display import Paragraph, Table, count, text
from nnbench.report.results import Results
from nnbench.report.tables.parts import table


def to_reach(results: Results) -> Table | Paragraph:
    """Return each band of the study with what was found, the 95 % interval, and whether it is met."""
    columns = {
        "cell": ("cell", text),
        "what": ("what", text),
        "published_in_words": ("source", text),
        "band": ("band", text),
        "found_in_words": ("found (95 % interval)", text),
        "seeds": ("seeds", count),
        "verdict_in_words": ("verdict", text),
    }
    return table("to_reach", reached.check(results), columns, otherwise="The study names no number to reach.")
