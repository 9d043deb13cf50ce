"""From labels as text, (samples,), to class names and labels in 0..num_classes-1; what a name may be."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

# Of a name: a terminal obeys some of them, a table breaks at others, and half a pair of surrogates cannot be written.
NO_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
MAX_NAME = 1000  # characters; a question of a survey is a name of some hundred


def class_names_of(label_texts: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels: by value if all are integers, else in alphabetical order."""
    distinct = sorted(set(label_texts))
    # Python makes no integer of some thousand digits; such a name is refused later, see `problem_of_name`.
    if all(re.fullmatch(rf"[+-]?[0-9]{{1,{MAX_NAME}}}", text) for text in distinct):
        distinct.sort(key=int)  # stable, so that 1 and 001, which stay two classes, have a fixed order
    return tuple(distinct)


def encode(label_texts: Sequence[str], class_names: tuple[str, ...]) -> NDArray:
    """Return the position of each label in `class_names`, (samples,)."""
    position_by_name = {class_name: position for position, class_name in enumerate(class_names)}
    return np.fromiter((position_by_name[text] for text in label_texts), dtype=np.intp, count=len(label_texts))


def problem_of_name(name: str) -> str | None:
    """Return what is wrong with the name of a class or a column."""
    if not name:
        return "is empty"
    if len(name) > MAX_NAME:
        return f"has {len(name)} characters, but at most {MAX_NAME} are allowed"
    if found := NO_CHARACTERS.search(name):
        return f"is {name!r}, with {found[0]!r}, which is no character to be shown"
    return None


def look_alike(class_names: tuple[str, ...]) -> list[str]:
    """Return a warning for each class that differs from one before it in spaces at its ends or in how é is coded."""
    first_by_look: dict[str, str] = {}
    warnings = []
    for name in class_names:
        first = first_by_look.setdefault(unicodedata.normalize("NFC", name.strip()), name)
        if first != name:
            warnings.append(f"classes {first!r} and {name!r} look alike and are two")
    return warnings
