"""What a cell is called: flat settings, and the shortest label that tells it from the others."""

from collections.abc import Mapping, Sequence
from typing import Any

from nnbench.protocol.fingerprint import OUTPUT_OPTIONS

ALWAYS_NAMED = ("optimizer", "activation")
NAMED_IF_DIFFERENT = ("dataset", "model", "loss", "initializer", "schedule", "tuning")


def flat_settings(config: Mapping[str, Any], choices: Mapping[str, str]) -> dict[str, Any]:
    """Return a resolved configuration without levels: a group is named by its choice, its options as group.option."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key in choices and isinstance(value, Mapping):
            flat[key] = choices[key]
            flat |= {f"{key}.{option}": entry for option, entry in value.items() if option != "_target_"}
        elif key != "study":
            flat[key] = value
    return flat


def labels(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a label for each cell from its flat settings.

    Optimizer and activation always, the other groups where cells differ in them, then the options in which cells of
    equal choices differ.
    """
    groups = [*ALWAYS_NAMED, *(group for group in NAMED_IF_DIFFERENT if _differ(settings, group))]
    return [" ".join([*_words(entry, groups), *_options(entry, groups, settings)]) for entry in settings]


def _words(entry: Mapping[str, Any], groups: Sequence[str]) -> list[str]:
    by_layer = entry.get("layer_activations")
    layers = "+".join(map(str, by_layer)) if isinstance(by_layer, list) else ""
    return [layers if group == "activation" and layers else str(entry.get(group)) for group in groups]


def _options(entry: Mapping[str, Any], groups: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    alike = [other for other in settings if _words(other, groups) == _words(entry, groups)]
    keys = [key for key in entry if key.partition(".")[0] not in OUTPUT_OPTIONS and _differ(alike, key)]
    names = [key.rpartition(".")[2] for key in keys]
    told = [name if names.count(name) == 1 else key for key, name in zip(keys, names, strict=True)]
    return [f"{name}={_short(entry[key])}" for key, name in zip(keys, told, strict=True)]


def _short(value: Any) -> str:
    """Return a value as people write it on a command line: 1e+10, [64,32]."""
    if isinstance(value, list):
        return f"[{','.join(map(_short, value))}]"
    brief = f"{value:g}" if isinstance(value, float) else str(value)
    return brief if not isinstance(value, float) or float(brief) == value else str(value)


def _differ(settings: Sequence[Mapping[str, Any]], key: str) -> bool:
    return len({str(entry.get(key)) for entry in settings}) > 1
