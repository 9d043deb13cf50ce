"""Each room imports its own libraries and the rooms before it, and nothing else.

ruff's `banned-api` says so while one types, but whoever may import one of its libraries may, for ruff, import them
all, and it knows nothing of rooms. Here is the whole table; a new import is a decision, and a line of this file.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "nnbench"

ROOMS_BEFORE = {
    "nn": set(),
    "data": set(),
    "protocol": {"nn", "data"},
    "analysis": set(),
    "tracking": {"nn", "data", "protocol", "analysis"},  # analysis draws the confusion matrix that is kept
    "report": {"protocol", "analysis", "tracking"},
    "sweep": {"nn", "data", "protocol", "analysis", "tracking", "report", "components", "grid", "settings", "terminal"},
}
LIBRARIES = {
    "nn": {"numpy"},
    "data": {"PIL", "numpy", "pandas", "pooch", "pyarrow", "sklearn"},
    "protocol": {"numpy", "sklearn"},
    "analysis": {"matplotlib", "numpy", "pandas", "scipy", "seaborn"},
    "tracking": {"filelock", "mlflow", "numpy", "pandas", "threadpoolctl", "yaml"},
    "report": {"jupyter_client", "jupytext", "matplotlib", "nbclient", "nbconvert", "numpy", "pandas", "yaml"},
    "sweep": {"filelock", "numpy", "pandas", "threadpoolctl"},
    # The modules at the top join the rooms, so they may import all of them, but few libraries.
    "app": {"hydra", "omegaconf"},
    "composition": {"hydra", "omegaconf", "yaml"},
    "grid": {"hydra", "omegaconf", "yaml"},
    "settings": {"numpy", "pydantic"},
    "components": {"numpy", "pydantic"},
    "terminal": {"numpy", "pandas", "rich"},
    "commands": {"click"},
}


def imported_modules(path: Path) -> Iterator[tuple[str, str]]:
    """Yield place and full name of everything that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        place = f"{path.relative_to(PACKAGE.parent)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from ((place, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place}: a relative import"
            yield from ((place, f"{node.module}.{alias.name}") for alias in node.names)


def imports_by_room() -> dict[str, list[tuple[str, str]]]:
    imports: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        imports.setdefault(room, []).extend(imported_modules(path))
    return imports


IMPORTS = imports_by_room()


@pytest.mark.parametrize("room", IMPORTS)
def test_a_room_imports_only_its_own_libraries(room):
    allowed = LIBRARIES.get(room, set()) | sys.stdlib_module_names | {"nnbench"}
    assert not [f"{place} imports {name}" for place, name in IMPORTS[room] if name.split(".")[0] not in allowed]


@pytest.mark.parametrize("room", [path.parent.name for path in sorted(PACKAGE.glob("*/__init__.py"))])
def test_a_room_imports_only_the_rooms_before_it(room):
    allowed = ROOMS_BEFORE[room] | {room, "__version__"}
    ours = [(place, name.removeprefix("nnbench.")) for place, name in IMPORTS[room] if name.startswith("nnbench")]
    assert not [f"{place} imports nnbench.{name}" for place, name in ours if name.split(".")[0] not in allowed]
