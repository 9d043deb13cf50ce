"""The fingerprint of a cell: equal where the results are equal, different where they may differ."""

import hashlib
import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PROTOCOL_VERSION = 3  # raise it when the same configuration would give other results
OUTPUT_OPTIONS = {
    "tracking",
    "study",
    "progress",
    "report",
    "resume",
    "dry_run",
    "inspect",
    "plugins",
    "choices",
    "stack_size",
    "workers",
    "baselines",
    "about",
    "to_reach",
}
OF_BASELINES = ("model", "dataset", "seeds", "dtype")  # all that a baseline depends on
PLACES_OF_DATA = {
    "_target_",
    "root",
    "path",
    "test_path",
    "mirrors",
    "timeout",
}  # the content counts, not where it lies


def fingerprint(config: Mapping[str, Any], data_digest: str, activation_choices: Mapping[str, Any]) -> str:
    """Return SHA-256 over everything that determines the result of a resolved configuration, 64 hexadecimal digits.

    That is what `layer_activations` stands for, too, and the file of each plugin that the configuration uses.
    """
    determining = {key: value for key, value in config.items() if key not in OUTPUT_OPTIONS}
    if is_baseline(config):
        determining = {key: config[key] for key in OF_BASELINES}
    else:
        determining["layer_activations"] = [activation_choices[name] for name in config["layer_activations"] or []]
        if not config["tuning"]:  # nothing looks at the space
            determining["optimizer"] = {key: value for key, value in config["optimizer"].items() if key != "space"}
    determining["seeds"] = seed_list(config["seeds"])
    determining["dataset"] = {key: value for key, value in config["dataset"].items() if key not in PLACES_OF_DATA}
    plugins = sorted({name.rpartition(".")[0] for name in _targets(determining)} & set(config["plugins"]))
    determining["code"] = {name: hashlib.sha256(_code(name)).hexdigest() for name in plugins}
    determining |= {"data_digest": data_digest, "protocol_version": PROTOCOL_VERSION}
    text = json.dumps(_canonical(determining), sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def is_baseline(config: Mapping[str, Any]) -> bool:
    """Whether a resolved configuration is of a model that has a class of its own, not of our networks."""
    return "_target_" in config.get("model", {})


def seed_list(seeds: int | list[int]) -> list[int]:
    """Return the seeds that a count, n for 0 to n - 1, or a list stands for."""
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


def _targets(value: Any) -> Iterator[str]:
    """Yield every class that is named in a configuration."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield value["_target_"]
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _targets(entry)


def _code(module: str) -> bytes:
    """Return the file of a module; what it imports in turn is not looked at."""
    path = importlib.import_module(module).__file__
    return Path(path).read_bytes() if path else b""


def _canonical(value: Any) -> Any:
    """Return the value with whole floats as integers, so that 1 and 1.0 are the same setting."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(entry) for entry in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
