"""User names and passwords in the address of a store: kept apart from the address, so that nothing can write them.

An address travels without them through configurations, records, files and messages. They wait in a variable of the
environment, which reaches workers and kernels as well, until MLflow is asked.
"""

import json
import os
import re
from collections.abc import Sequence

KEPT = "NNBENCH_CREDENTIALS"  # the variable: JSON, an address without credentials -> the same with them
IN_TEXT = re.compile(r"(?<=://)[^/\s\"'<>]*@")
IN_ADDRESS = re.compile(r"(?<=://)[^/]*@")  # whatever characters a password has
OVERRIDE = re.compile(r"(\+{0,2}tracking\.uri=)(.*)", re.DOTALL)
QUOTED = re.compile(r"([\"'])(.*)\1", re.DOTALL)


def without_credentials(text: str) -> str:
    """Return text with no user:password@ in the addresses that it names."""
    for address in _kept().values():
        text = text.replace(_of(address), "")
    return IN_TEXT.sub("", text)


def hide(address: str) -> str:
    """Return an address without its credentials, which are kept for `complete`."""
    if not _of(address):
        return address
    plain = IN_ADDRESS.sub("", address, count=1)
    os.environ[KEPT] = json.dumps(_kept() | {plain: address})
    return plain


def complete(address: str) -> str:
    """Return an address with the credentials that were hidden, if there were any."""
    return _kept().get(address, address)


def hide_in_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the words of a command line with no credentials in `tracking.uri=ADDRESS`, before Hydra writes them."""
    return [_hide_in_override(argument) for argument in arguments]


def _hide_in_override(argument: str) -> str:
    override = OVERRIDE.fullmatch(argument)
    if override is None:
        return argument
    key, value = override.groups()
    if quoted := QUOTED.fullmatch(value):
        return f"{key}{quoted[1]}{hide(quoted[2])}{quoted[1]}"
    return key + ",".join(hide(address) for address in value.split(","))  # a sweep may name several


def _of(address: str) -> str:
    """Return the user:password@ of an address, nothing if it has none."""
    found = IN_ADDRESS.search(address)
    return found[0] if found else ""


def _kept() -> dict[str, str]:
    kept: dict[str, str] = json.loads(os.environ.get(KEPT, "{}"))
    return kept
