"""The sections [swarm] and [share] of the configuration, and the environment before them."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from outlast.cli.config.values import (
    amount,
    check_tracker,
    parse_address,
    parse_rate,
    parse_size,
    strings,
)
from outlast.core.errors import BadConfigError
from outlast.node.policy import SharePolicy
from outlast.swarm.schedule import DAY, Rates, Window
from outlast.swarm.settings import HostPort, SwarmSettings

T = TypeVar("T")
Table = Mapping[str, Any]

_SWARM: Final = frozenset(
    {
        *("enabled", "port", "peer-port", "peers", "trackers", "dht", "dht-routers", "dht-port"),
        *("private", "utp", "upnp", "up", "down", "lan-up", "lan-down", "schedule"),
    }
)
_SHARE: Final = frozenset({"include", "exclude", "restricted", "largest"})
_WINDOW: Final = frozenset({"days", "hours", "up", "down"})
_MOST: Final = 1000
"""Entries of a list."""
_PATTERN_LIMIT: Final = 300
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})\Z")


def swarm_settings(environ: Mapping[str, str], settings: Table) -> SwarmSettings:
    """What [swarm] says, or the environment before it. In private mode whatever announces is off,
    whoever asked for it. Raises :class:`BadConfigError`.
    """
    table = _table(settings, "swarm", _SWARM)
    default = SwarmSettings()
    private = _switch(environ, "OUTLAST_PRIVATE", _flag(table, "private", default.private))
    rates = Rates(*(_rate(table, key) for key in ("up", "down", "lan-up", "lan-down")))
    peers = [p for p in environ.get("OUTLAST_PEERS", "").split(",") if p.strip()]
    found = SwarmSettings(
        enabled=_switch(environ, "OUTLAST_SWARM", _flag(table, "enabled", default.enabled)),
        port=_port(environ, "OUTLAST_SWARM_PORT", table, "port", default.port),
        peer_port=_port(environ, "OUTLAST_PEER_PORT", table, "peer-port", default.peer_port),
        peers=_addresses("OUTLAST_PEERS", peers) or _addresses("peers", _list(table, "peers")),
        trackers=() if private else _each("trackers", _list(table, "trackers"), check_tracker),
        dht=_flag(table, "dht", default.dht) and not private,
        dht_port=_port(environ, "OUTLAST_DHT_PORT", table, "dht-port", default.dht_port),
        dht_routers=_addresses("dht-routers", _list(table, "dht-routers")),
        private=private,
        utp=_flag(table, "utp", default.utp),
        upnp=_flag(table, "upnp", default.upnp) and not private,
        rates=rates,
        schedule=_schedule(table, rates),
    )
    if found.dht_port and found.dht_port == found.port:
        raise BadConfigError("[swarm] port and dht-port are one", hint="name two ports, or none")
    return found


def share_policy(settings: Table) -> SharePolicy:
    """What [share] says. Raises :class:`BadConfigError`."""
    table = _table(settings, "share", _SHARE)
    default = SharePolicy()
    include = _patterns(table, "include") if "include" in table else default.include
    return SharePolicy(
        include=include,
        exclude=_patterns(table, "exclude"),
        restricted=_flag(table, "restricted", default.restricted),
        largest=_told("largest", amount(table, "largest", default.largest), parse_size),
    )


def _table(settings: Table, name: str, known: frozenset[str]) -> Table:
    table = settings.get(name, {})
    if not isinstance(table, dict):
        raise BadConfigError(f"the setting {name!r} is not a table", hint=f"write [{name}]")
    _check_keys(table, f"[{name}]", known)
    return table


def _check_keys(table: Table, where: str, known: frozenset[str]) -> None:
    if unknown := table.keys() - known:
        names = ", ".join(sorted(known))
        raise BadConfigError(f"{where}: unknown key {min(unknown)[:200]!r}", hint=f"known: {names}")


def _told(key: str, text: str, parse: Callable[[str], T]) -> T:
    """What `parse` makes of a text; its error names the setting."""
    try:
        return parse(text)
    except BadConfigError as error:
        raise BadConfigError(f"the setting {key!r}: {error}", hint=error.hint) from None


def _flag(table: Table, key: str, default: bool) -> bool:
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise BadConfigError(f"the setting {key!r} is neither true nor false")
    return value


def _switch(environ: Mapping[str, str], name: str, default: bool) -> bool:
    value = environ.get(name, "")
    if value not in {"", "0", "1"}:
        raise BadConfigError(f"{name} is neither 0 nor 1: {value[:200]!r}")
    return value == "1" if value else default


def _port(environ: Mapping[str, str], name: str, table: Table, key: str, default: int) -> int:
    """A port; 0 is any that is free."""
    value = table.get(key, default)
    if text := environ.get(name):
        key, value = name, int(text) if re.fullmatch("[0-9]{1,5}", text) else -1
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 65536:
        raise BadConfigError(f"{key!r} is not a port from 0 to 65535", hint="0 is any free port")
    return value


def _list(table: Table, key: str) -> list[str]:
    found = strings(table, key)
    if len(found) > _MOST:
        raise BadConfigError(f"the setting {key!r} has more than {_MOST} entries")
    return found


def _each(key: str, values: list[str], parse: Callable[[str], str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_told(key, value, parse) for value in values))


def _addresses(key: str, values: list[str]) -> tuple[HostPort, ...]:
    return tuple(dict.fromkeys(_told(key, value, parse_address) for value in values))


def _patterns(table: Table, key: str) -> tuple[str, ...]:
    found = _list(table, key)
    for pattern in found:
        if not pattern or len(pattern) > _PATTERN_LIMIT or not pattern.isprintable():
            hint = "write it like org/* or org/name"
            raise BadConfigError(f"{key!r}: not a pattern: {pattern[:200]!r}", hint=hint)
    return tuple(found)


def _rate(table: Table, key: str, default: int = 0) -> int:
    return _told(key, amount(table, key, default), parse_rate)


def _schedule(table: Table, rates: Rates) -> tuple[Window, ...]:
    entries = table.get("schedule", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        hint = 'write schedule = [{days = "mon-fri", hours = "08:00-18:00", up = "2M"}]'
        raise BadConfigError("the setting 'schedule' is not a list of tables", hint=hint)
    if len(entries) > _MOST:
        raise BadConfigError(f"the setting 'schedule' has more than {_MOST} entries")
    return tuple(_window(entry, rates) for entry in entries)


def _window(entry: Table, rates: Rates) -> Window:
    _check_keys(entry, "schedule", _WINDOW)
    if not entry.keys() & {"up", "down"}:
        raise BadConfigError("schedule: an entry has neither 'up' nor 'down'")
    start, end = _hours(entry.get("hours", "00:00-24:00"))
    return Window(
        days=_days(entry.get("days", "daily")),
        start=start,
        end=end,
        up=_rate(entry, "up", rates.up),
        down=_rate(entry, "down", rates.down),
    )


def _days(value: object) -> frozenset[int]:
    """``daily``, or a list of days and ranges: ``mon-fri``, ``sat,sun``, ``fri-mon``."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if text == "daily":
        return frozenset(range(len(_DAYS)))
    found: set[int] = set()
    for part in text.split(",")[: len(_DAYS) + 1]:
        first, dash, last = (side.strip() for side in part.partition("-"))
        last = last if dash else first
        if first not in _DAYS or last not in _DAYS:
            hint = "write daily, mon-fri or sat,sun"
            raise BadConfigError(f"schedule: not days: {str(value)[:200]!r}", hint=hint)
        begin, count = _DAYS.index(first), (_DAYS.index(last) - _DAYS.index(first)) % len(_DAYS)
        found.update((begin + day) % len(_DAYS) for day in range(count + 1))
    return frozenset(found)


def _hours(value: object) -> tuple[int, int]:
    """``08:00-18:00``: minutes of the day; what ends before it starts passes midnight."""
    matched = _HOURS.match(value.replace(" ", "")) if isinstance(value, str) else None
    numbers = [int(number) for number in matched.groups()] if matched else [99] * 4
    start, end = 60 * numbers[0] + numbers[1], 60 * numbers[2] + numbers[3]
    if max(numbers[1], numbers[3]) > 59 or start >= DAY or end > DAY:
        hint = "write it like 08:00-18:00 or 22:00-06:30"
        raise BadConfigError(f"schedule: not hours: {str(value)[:200]!r}", hint=hint)
    return start, end
