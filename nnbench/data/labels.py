"""From labels as text, (samples,), to class names and labels in 0..num_classes-1."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def class_names_of(label_texts: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels: by value if all are integers, else in alphabetical order."""
    distinct = sorted(set(label_texts))
    if all(re.fullmatch(r"[+-]?[0-9]+", text) for text in distinct):
        distinct.sort(key=int)  # stable, so that 1 and 001, which stay two classes, have a fixed order
    return tuple(distinct)


def encode(label_texts: Sequence[str], class_names: tuple[str, ...]) -> NDArray:
    """Return the position of each label in `class_names`, (samples,)."""
    position_by_name = {class_name: position for position, class_name in enumerate(class_names)}
    return np.fromiter((position_by_name[text] for text in label_texts), dtype=np.intp, count=len(label_texts))
