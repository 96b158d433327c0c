"""The folder list is the architecture: a room imports only from rooms below it, and no modules import in a circle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import emoprobe

HOUSE = Path(emoprobe.__file__).parent
# From the cellar to the street; a room imports from those before it in the list, and from itself.
ROOMS = (
    "errors",
    "options",
    "nodes",
    "registry",
    "system",
    "labels",
    "settings",
    "metrics",
    "models",
    "data",
    "prompts",
    "run",
    "beliefs",
    "readout",
    "analysis",
    "training",
    "checks",
    "report",
    "recipes",
    "api",
    "cli",
)


def modules(house: Path = HOUSE) -> dict[str, Path]:
    """Every module of the package by its dotted name below it; the package itself is ''."""
    found = {}
    for file in house.rglob("*.py"):
        parts = file.relative_to(house).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(file: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a file imports anywhere, in functions and for type checkers too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "emoprobe" and not node.level:
            base = node.module.removeprefix("emoprobe").lstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".lstrip(".")
                found.add(full if full in known else base)
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("emoprobe").lstrip(".") for alias in node.names if "emoprobe" in alias.name
            }
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import"
    return found


def room_of(module: str) -> str:
    return module.split(".")[0]


def graph(house: Path = HOUSE) -> dict[str, set[str]]:
    known = modules(house)
    return {name: imports(file, known) - {name} for name, file in known.items()}


def upward(edges: dict[str, set[str]]) -> list[str]:
    """Imports that go up, or to a room beside that comes later in the list."""
    return [
        f"{name} imports {other}"
        for name, others in sorted(edges.items())
        for other in sorted(others)
        if name not in ("", "__main__")
        and room_of(other) != room_of(name)
        and (other == "" or ROOMS.index(room_of(other)) > ROOMS.index(room_of(name)))
    ]


def test_every_file_lives_in_a_room():
    assert {room_of(name) for name in modules()} - {"", "__main__"} == set(ROOMS)


def test_no_room_imports_from_one_above_it():
    assert upward(graph()) == []


def test_no_modules_import_in_a_circle():
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
