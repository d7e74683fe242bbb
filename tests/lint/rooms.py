"""Rooms (folders of src) stay small, and a class name means one thing."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable

from tests.lint.sources import Module

MOST_MODULES = 20


def crowded(modules: Iterable[Module], most: int = MOST_MODULES) -> dict[str, str]:
    """By folder, a message for each room with more than `most` modules. ``__init__.py``, which says
    what the room is for, is not counted.
    """
    rooms = Counter(
        module.path.rpartition("/")[0]
        for module in modules
        if not module.path.endswith("/__init__.py")
    )
    return {
        room: f"{room}: {count} modules, {most} are the most: a room is missing"
        for room, count in sorted(rooms.items())
        if count > most
    }


def twice(modules: Iterable[Module]) -> dict[str, str]:
    """By name, a message for each class name that several modules define at their top."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{module.path}:{node.lineno}")
    return {
        name: f"{found[0]}: class {name} is also in {', '.join(found[1:])}"
        for name, found in sorted(places.items())
        if len(found) > 1
    }
