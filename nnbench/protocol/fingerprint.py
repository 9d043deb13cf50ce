"""The fingerprint of a cell: equal where the results are equal, different where they may differ."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

PROTOCOL_VERSION = 1  # raise it when the same configuration would give other results
OUTPUT_OPTIONS = {"tracking", "study", "progress", "report", "resume", "dry_run", "inspect", "plugins", "choices"}
PLACES_OF_DATA = {
    "_target_",
    "root",
    "path",
    "test_path",
    "mirrors",
    "timeout",
}  # the content counts, not where it lies


def fingerprint(config: Mapping[str, Any], data_digest: str) -> str:
    """Return SHA-256 over everything that determines the result of a resolved configuration, 64 hexadecimal digits."""
    determining = {key: value for key, value in config.items() if key not in OUTPUT_OPTIONS}
    determining["seeds"] = seed_list(config["seeds"])
    determining["dataset"] = {key: value for key, value in config["dataset"].items() if key not in PLACES_OF_DATA}
    determining |= {"data_digest": data_digest, "protocol_version": PROTOCOL_VERSION}
    text = json.dumps(_canonical(determining), sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def seed_list(seeds: int | list[int]) -> list[int]:
    """Return the seeds that a count, n for 0 to n - 1, or a list stands for."""
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


def _canonical(value: Any) -> Any:
    """Return the value with every number that can be a float as one, so that 1 and 1.0 are the same setting."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(entry) for entry in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
