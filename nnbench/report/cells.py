"""Names that a reader of the notebook gives: of a cell, or of an optimizer. A mistyped one is an error, never silence.

Whatever takes such a name passes it through one of these first.
"""

from collections.abc import Iterable
from difflib import get_close_matches

from nnbench.report.results import Results

MOST_NAMED = 12  # known names in an error


def checked(results: Results, cell: str) -> str:
    """Return the name of a network that has a result; raises ValueError for any other, with the known names."""
    return _known("network", cell, results.replicas["cell"])


def checked_with_baselines(results: Results, cell: str) -> str:
    """Return the name of a network or baseline that has a result; raises ValueError for any other."""
    return _known("network or baseline", cell, [*results.replicas["cell"], *results.baselines["cell"]])


def checked_optimizer(results: Results, optimizer: str) -> str:
    """Return the name of an optimizer that some network with a result was trained by; raises ValueError else."""
    return _known("optimizer", optimizer, results.replicas["optimizer"])


def _known(noun: str, name: str, names: Iterable[str]) -> str:
    known = list(dict.fromkeys(names))
    if name in known:
        return name
    if not known:
        raise ValueError(f"there is no {noun} {name!r}, as no {noun} has a result")
    near = get_close_matches(str(name), known, n=1)
    # The nearest ones first, as a long list is cut off.
    listed = [*near, *(other for other in known if other not in near)][:MOST_NAMED]
    more = f" and {len(known) - len(listed)} more" if len(known) > len(listed) else ""
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"there is no {noun} {name!r}; known are {', '.join(listed)}{more}{meant}")
