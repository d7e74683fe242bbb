"""Starts `outlast` with some constants replaced; run as ``python -m tests.serve.tuned``."""

import importlib
import json
import sys
from types import ModuleType
from typing import Any

from outlast.__main__ import run


def replace(name: str, value: Any) -> None:
    """Gives a constant of a module, or a field of its `TUNING`, another value, by its full name:
    ``outlast.fetch.tuning.TUNING.first_wait``. The default instance itself is changed, because it
    is what everything was, or will be, given.
    """
    parts = name.split(".")
    owner: Any = importlib.import_module(parts[0])
    for end in range(2, len(parts)):
        part = parts[end - 1]
        if isinstance(owner, ModuleType) and not hasattr(owner, part):
            owner = importlib.import_module(".".join(parts[:end]))
        else:
            owner = getattr(owner, part)
    before = getattr(owner, parts[-1])
    if isinstance(before, tuple) and isinstance(value, list):
        value = tuple(value)
    if isinstance(owner, ModuleType):
        setattr(owner, parts[-1], value)
    else:
        object.__setattr__(owner, parts[-1], value)  # it is frozen


def start(values: dict[str, Any], sabotage: str, features: list[str]) -> None:
    """Replaces `values`, runs the Python of `sabotage`, and then the command of ``sys.argv`` with
    the `features`, each ``module:attribute`` of a `Listed`.
    """
    for name, value in values.items():
        replace(name, value)
    exec(sabotage, {"__name__": "sabotage"})  # noqa: S102 - it is a test's
    found = []
    for feature in features:
        module, _, attribute = feature.partition(":")
        found.append(getattr(importlib.import_module(module), attribute))
    run(found)


if __name__ == "__main__":
    start(*json.loads(sys.argv.pop(1)))
