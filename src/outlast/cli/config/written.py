"""How the configuration file writes what is set: the way back from the values to its text."""

import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

from outlast.cli.config.sections import DAYS
from outlast.swarm.schedule import Window

_UNITS: Final = (
    ("T", 10**12),
    ("Ti", 2**40),
    ("G", 10**9),
    ("Gi", 2**30),
    ("M", 10**6),
    ("Mi", 2**20),
    ("k", 10**3),
    ("Ki", 2**10),
)
_PAIR: Final = 2


def written(value: Any) -> Any:
    """A value of a setting as plain data of the file: rates and sizes stay numbers."""
    if isinstance(value, Enum | Path):
        return value.value if isinstance(value, Enum) else str(value)
    if isinstance(value, Window):
        return _window(value)
    if isinstance(value, Mapping):
        return {str(key): written(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return _address(*value) if _is_address(value) else [written(item) for item in value]
    return value


def toml(value: Any, unit: str = "") -> str:
    """Plain data as TOML; numbers of bytes as a person writes them."""
    if unit.startswith("bytes") and isinstance(value, int):
        return json.dumps(_amount(value, unit))
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {toml(item)}" for key, item in value.items())
        return f"{{{inside}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _key(name: str) -> str:
    return name if name.replace("-", "").isalnum() and name.isascii() else toml(name)


def _amount(count: int, unit: str) -> str:
    """Bytes, exactly: with the largest unit of which they are a multiple."""
    end = "B" if unit == "bytes" else ""
    found = (f"{count // factor}{name}{end}" for name, factor in _UNITS if count % factor == 0)
    return next(found, str(count)) if count else "0"


def _is_address(value: Any) -> bool:
    types = tuple(map(type, value))
    return len(types) == _PAIR and types == (str, int)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _window(window: Window) -> dict[str, Any]:
    times = [f"{minute // 60:02}:{minute % 60:02}" for minute in (window.start, window.end)]
    return {
        "days": ",".join(DAYS[day] for day in sorted(window.days)),
        "hours": "-".join(times),
        "up": _amount(window.up, "bytes/s"),
        "down": _amount(window.down, "bytes/s"),
    }
