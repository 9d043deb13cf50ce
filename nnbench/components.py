"""From the configuration of a group to its class, with every option checked.

A group's dictionary names its class by `_target_` and gives its keyword arguments; the class says which exist, of which
type (its annotations) and in which range (its own ValueError). Only classes of nnbench and of the modules listed in
`plugins` are ever looked up.
"""

import importlib
import inspect
import json
import operator
import signal
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import partial, reduce
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from nnbench.data import Source
from nnbench.nn.initializers import Initializer
from nnbench.nn.optimizers import Optimizer

LONGEST_VALUE = 300  # characters that an error message quotes
MISSING = "???"  # OmegaConf's mark for a value that the user has to give
# Where the classes of a group are; those of the other groups are in nnbench.nn.
HOMES = {"dataset": "nnbench.data", "tuning": "nnbench.protocol", "model": "nnbench.protocol"}
# What a class must be derived from, or which methods it must have, before one of it is built, which may do anything.
BASES = {"optimizer": Optimizer, "dataset": Source, "initializer": Initializer}
METHODS = {
    "activation": ("__call__",),
    "loss": ("__call__", "num_outputs", "probabilities", "predict"),
    "schedule": ("__call__",),
    "tuning": ("trials", "beyond"),
    "model": ("build",),
}


class ConfigError(Exception):
    """The configuration has problems; `problems` has one line for each."""

    def __init__(self, problems: Iterable[str]):
        self.problems = list(dict.fromkeys(problems))
        super().__init__("\n".join(self.problems))


def component(group: str, config: Mapping[str, Any], plugins: Iterable[str]) -> partial:
    """Return the class that a group's configuration names, with its keyword arguments bound and checked."""
    options = dict(config)
    kind = _look_up(group, options.pop("_target_", None), plugins)
    try:
        return bind(group, kind, options, later="params" if group == "optimizer" else None)
    except ConfigError:
        raise
    except Exception as error:  # a plugin is the user's own code and may raise anything
        target, reason = config["_target_"], f"{type(error).__name__}: {error}"
        raise ConfigError([f"{group}._target_ is {target!r}, which cannot be built: {reason}"]) from error


def bind(place: str, kind: type, options: Mapping[str, Any], *, later: str | None = None) -> partial:
    """Return a class with these keyword arguments, every one of them checked; `place` is where they stand.

    One argument may come `later`: an optimizer gets its parameters when training starts.
    """
    signature = inspect.signature(kind)
    hints = typing.get_type_hints(kind.__init__)  # type: ignore[misc]
    keywords = [name for name in signature.parameters if name != later]

    problems, typed = [], {}
    for key, value in options.items():
        if key not in keywords:
            problems.append(f"{place}.{key} is not an option of {kind.__name__}{nearest(key, keywords)}")
        elif value != MISSING:
            try:
                typed[key] = _typed(value, hints.get(key, Any))  # a plugin may do without annotations
            except ValidationError:
                is_number = hints[key] is str and isinstance(value, int | float)
                quoted = f", in quotes: '{place}.{key}=\"{show(value)}\"'" if is_number else ""
                problems.append(f"{place}.{key} is {show(value)}; it must be {_describe(hints[key])}{quoted}")
    required = [name for name in keywords if signature.parameters[name].default is inspect.Parameter.empty]
    missing = [name for name in required if options.get(name, MISSING) == MISSING]
    problems += [f"{place}.{name} is missing; set it with {place}.{name}=VALUE" for name in missing]
    if not missing:
        # Of what was refused above the class knows nothing, and may complain that it is not there.
        follow = complaints(kind, [{name: typed[name] for name in required if name in typed}]) if problems else []
        said = [problem for problem in _range_problems(kind, typed, required) if problem not in follow]
        problems += [f"{place}.{problem}" for problem in said] or [
            f"{place}.{key} is {value}; it must be a finite number"
            for key, value in typed.items()
            if isinstance(value, float) and not np.isfinite(value)
        ]
    if problems:
        raise ConfigError(problems)
    return partial(kind, **typed)


def _range_problems(kind: type, options: Mapping[str, Any], required: Iterable[str]) -> list[str]:
    """Return what a class says against its options: nothing, or what it says against each of them alone."""
    together = complaints(kind, [options])
    if not together:
        return []
    needed = {name: options[name] for name in required if name in options}
    return complaints(kind, [{**needed, name: value} for name, value in options.items()]) or together


def complaints(kind: type, attempts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the ValueErrors of building a class with each set of options."""
    place = (np.zeros((1, 1)),) if issubclass(kind, Optimizer) else ()  # parameters to optimize
    complaints = []
    for options in attempts:
        try:
            kind(*place, **options)
        except ValueError as error:
            complaints.append(str(error))
        except TypeError:  # a required option is not there, because its type was refused already
            continue
    return list(dict.fromkeys(complaints))


def nearest(word: str, known: Iterable[str], *, elsewhere: Iterable[str] = ()) -> str:
    """Return the end of a sentence about an unknown word: what is known, and what was probably meant.

    `elsewhere` are dotted names that are not listed but may be meant, by their last part: learning_rate, or lr.
    """
    word, known = str(word), sorted(map(str, known))
    full_by_name = {name.rpartition(".")[2]: name for name in [*elsewhere, *known]}
    initials = [name for name in full_by_name if word == "".join(part[:1] for part in name.split("_"))]
    matches = initials or get_close_matches(word, full_by_name, n=1, cutoff=0.5)
    meant = f"; did you mean {full_by_name[matches[0]]}?" if matches else ""
    return f"; known are {', '.join(known)}{meant}" if known else f"; it has none{meant}"


def _look_up(group: str, target: Any, plugins: Iterable[str]) -> type:
    """Return the class of that dotted name, if it is nnbench's own or of a module that the user listed."""
    if not isinstance(target, str):
        raise ConfigError([f"{group} has no _target_; choose it by name, such as {group}=NAME"])
    module_name, _, class_name = target.rpartition(".")
    allowed = [HOMES.get(group, "nnbench.nn"), *plugins]
    if module_name not in allowed:
        raise ConfigError(
            [
                f"{group}._target_ is {target!r}; it must be a class of {' or '.join(allowed)}, "
                "or of a module listed in plugins=[MODULE]"
            ]
        )
    try:
        kind = getattr(load_module(module_name), class_name)
    except AttributeError as error:
        raise ConfigError([f"{group}._target_ is {target!r}, which cannot be found: {error}"]) from error
    is_baseline = isinstance(getattr(kind, "draws", None), bool) and callable(getattr(kind, "build", None))
    if group == "model" and not is_baseline:
        raise ConfigError(
            [
                f"{group}._target_ is {target!r}; a baseline must say in `draws` whether a seed changes it, and have a "
                "method `build`"
            ]
        )
    if not isinstance(kind, type) or inspect.isabstract(kind) or not _suits(group, kind):
        wanted = f"derived from {BASES[group].__name__}" if group in BASES else f"with {', '.join(METHODS[group])}"
        raise ConfigError([f"{group}._target_ is {target!r}; it must be a class {wanted}"])
    return kind


def _suits(group: str, kind: type) -> bool:
    """Whether a class is of the kind that a group takes, as far as that shows before one of it is built."""
    methods = METHODS.get(group, ())
    # Looked up in the classes alone: every class can be called itself, which is not meant.
    has = all(any(name in vars(base) for base in kind.__mro__) for name in methods)
    return issubclass(kind, BASES.get(group, object)) and has


def load_module(name: str) -> types.ModuleType:
    """Import one of the modules that `_target_` may name."""
    if name.partition(".")[0] in sys.stdlib_module_names:
        raise ConfigError([f"plugins has {name}, which comes with Python; list modules of your own"])
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a plugin is the user's own code and may raise anything
        if isinstance(error, SystemExit) and error.code in (128 + signal.SIGTERM, 128 + signal.SIGHUP):
            raise
        raise ConfigError([f"plugins has {name}, which cannot be imported: {type(error).__name__}: {error}"]) from error


def _typed(value: Any, annotation: Any) -> Any:
    """Return the value as the annotated type; converted is only what JSON cannot tell apart: tuples and paths."""
    return TypeAdapter(_without_arrays(annotation)).validate_json(json.dumps(value), strict=True)


def _without_arrays(annotation: Any) -> Any:
    """Return the annotation less its arrays, which are for callers in Python: `float | NDArray` is a number here."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation
    members = [member for member in typing.get_args(annotation) if member != NDArray]
    return reduce(operator.or_, members)


def _describe(annotation: Any) -> str:
    """Return the name of a type for people."""
    annotation = _without_arrays(annotation)
    names = {
        float: "a number",
        int: "an integer",
        bool: "true or false",
        str: "text",
        Path: "a path",
        type(None): "null",
    }
    if annotation in names:
        return names[annotation]
    members = typing.get_args(annotation)
    if typing.get_origin(annotation) is Literal:
        return " or ".join(map(str, members))
    if typing.get_origin(annotation) is dict:
        return "a mapping"
    if typing.get_origin(annotation) is tuple:
        length = "" if Ellipsis in members else f"{len(members)} "
        return f"a list of {length}values, each {_describe(members[0])}"
    return " or ".join(_describe(member) for member in members)


def show(value: Any) -> str:
    """Return a value as an error message quotes it, in one line that is not too long to read."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}... ({len(text)} characters)"
