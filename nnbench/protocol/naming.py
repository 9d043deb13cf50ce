"""What a cell is called: flat settings, and the shortest label that tells it from the others."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from nnbench.protocol.fingerprint import OF_BASELINES, OUTPUT_OPTIONS, PLACES_OF_DATA, is_baseline

ALWAYS_NAMED = ("optimizer", "activation")
NAMED_IF_DIFFERENT = ("dataset", "model", "loss", "initializer", "schedule", "tuning")
NAMES_OF_BASELINES = ("model",)
OF_STUDIES = ("study", "about", "to_reach")  # what a file of experiments/ says of itself
SETTING = "setting"  # a file that sets several keys at once; it has no key of its own
WATCHING = ("target_accuracy", "diagnostics")  # what is measured of a training changes nothing in it


def flat_settings(config: Mapping[str, Any], choices: Mapping[str, str]) -> dict[str, Any]:
    """Return a resolved configuration without levels: a group is named by its choice, its options as group.option.

    Of a baseline it has nothing that is for networks alone.
    """
    if is_baseline(config):
        config = {key: value for key, value in config.items() if key in OF_BASELINES or key in OUTPUT_OPTIONS}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key in choices and isinstance(value, Mapping):
            flat[key] = choices[key]
            flat |= {f"{key}.{option}": entry for option, entry in value.items() if option != "_target_"}
        elif key not in OF_STUDIES:
            flat[key] = value
    if choices.get(SETTING):
        flat[SETTING] = choices[SETTING]
    return flat


def labels(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a label for each cell from its flat settings.

    Of networks optimizer and activation always, of baselines the model, then the other groups in which those of a kind
    differ, then the options in which cells of equal choices differ.
    """
    names = [""] * len(settings)
    networks = [place for place, entry in enumerate(settings) if "optimizer" in entry]
    baselines = [place for place, entry in enumerate(settings) if "optimizer" not in entry]
    for places, always in ((networks, ALWAYS_NAMED), (baselines, NAMES_OF_BASELINES)):
        of_kind = [settings[place] for place in places]
        groups = [*always, *(group for group in NAMED_IF_DIFFERENT if group not in always and _differ(of_kind, group))]
        places_by_words: dict[str, list[int]] = {}
        for place in places:
            places_by_words.setdefault(" ".join(_words(settings[place], groups)), []).append(place)
        for words, alike in places_by_words.items():
            options = _options([settings[place] for place in alike])
            for place, told in zip(alike, options, strict=True):
                names[place] = " ".join([words, *told])
    return names


def data_labels(data: Sequence[tuple[str, Hashable, Mapping[str, Any]]]) -> list[str]:
    """Return what each data set is called: by its name, and by what tells it from others of that name.

    Each has a name, a key and its options. Equal keys get equal labels, different keys different ones.
    """
    options_by_key = {(name, key): options for name, key, options in reversed(data)}
    label_by_key: dict[tuple[str, Hashable], str] = {}
    for name in dict.fromkeys(name for name, _, _ in data):
        keys = [entry for entry in dict.fromkeys((other, key) for other, key, _ in data) if entry[0] == name]
        for entry, told in zip(keys, _options([options_by_key[entry] for entry in keys]), strict=True):
            label = " ".join([name, *told])
            number = 1 + sum(other == label for other in label_by_key.values())
            label_by_key[entry] = label if number == 1 else f"{label} ({number})"  # nothing but its content differs
    return [label_by_key[name, key] for name, key, _ in data]


def differing_settings(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in which options networks differ beside optimizer, activation and seeds.

    The options of an optimizer are compared among cells of that optimizer alone, those of an activation likewise.
    """
    found: dict[str, None] = {}
    for group in ALWAYS_NAMED:
        for choice in dict.fromkeys(str(entry.get(group)) for entry in settings):
            alike = [entry for entry in settings if str(entry.get(group)) == choice]
            keys = dict.fromkeys(key for entry in alike for key in entry if key.startswith(f"{group}."))
            found |= dict.fromkeys(key for key in keys if key != "optimizer.space" and _differ(alike, key))
    for key in dict.fromkeys(key for entry in settings for key in entry):
        group, _, option = key.partition(".")
        place = group == "dataset" and (not option or option in PLACES_OF_DATA)
        known = (*ALWAYS_NAMED, *OUTPUT_OPTIONS, *WATCHING, "seeds", SETTING)
        if group not in known and not place and _differ(settings, key):
            found[key] = None
    return list(found)


def _words(entry: Mapping[str, Any], groups: Sequence[str]) -> list[str]:
    by_layer = entry.get("layer_activations")
    layers = "+".join(map(str, by_layer)) if isinstance(by_layer, list) else ""
    return [layers if group == "activation" and layers else str(entry.get(group)) for group in groups]


def _options(alike: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return for each of the cells of equal choices the options in which they differ, or the setting that says all."""
    by_setting = [str(entry.get(SETTING, "")).rpartition("/")[2] for entry in alike]
    if len(alike) > 1 and len({*by_setting, ""}) > len(alike):
        return [[name] for name in by_setting]
    known = dict.fromkeys(key for entry in alike for key in entry)
    keys = [key for key in known if key.partition(".")[0] not in OUTPUT_OPTIONS and _differ(alike, key)]
    names = [key.rpartition(".")[2] for key in keys]
    told = [name if names.count(name) == 1 else key for key, name in zip(keys, names, strict=True)]
    return [
        [f"{name}={_short(entry[key])}" for key, name in zip(keys, told, strict=True) if key in entry]
        for entry in alike
    ]


def _short(value: Any) -> str:
    """Return a value as people write it on a command line: 1e+10, [64,32]."""
    if isinstance(value, list):
        return f"[{','.join(map(_short, value))}]"
    brief = f"{value:g}" if isinstance(value, float) else str(value)
    return brief if not isinstance(value, float) or float(brief) == value else str(value)


def _differ(settings: Sequence[Mapping[str, Any]], key: str) -> bool:
    return len({str(entry.get(key)) for entry in settings}) > 1
