"""The table of faults names tests that are there."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
ROWS = [line for line in (TESTS / "FAULTS.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]


def test_every_test_of_the_table_is_there():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", "\n".join(ROWS))
    there = {
        (path.relative_to(TESTS).as_posix(), node.name)
        for path in TESTS.rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert len(named) > 80
    assert not set(named) - there


def test_every_row_has_a_promise_and_a_test_and_no_number_is_left_out():
    assert all(len(row.split("|")) == 5 and "::" in row for row in ROWS)
    numbers = re.findall(r"\((\d+)(?: to (\d+))?\)", "\n".join(row.split("|")[1] for row in ROWS))
    told = {number for first, last in numbers for number in range(int(first), int(last or first) + 1)}
    assert told == set(range(1, 41))
