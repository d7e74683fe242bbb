"""What the sections of the configuration file that are the core's say, as settings."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from outlast.cli.config.keys import (
    FileSection,
    S3Section,
    ServeSection,
    ShareSection,
    SwarmSection,
    WindowSection,
)
from outlast.cli.config.section import Table, read_section
from outlast.cli.config.settings import FileSettings, S3Settings, ServeSettings
from outlast.cli.config.values import (
    check_digest,
    check_host,
    check_network,
    check_region,
    check_source,
    check_token,
    check_tracker,
    check_url,
    parse_address,
    parse_form,
    parse_rate,
    parse_size,
    parse_unsafe,
)
from outlast.cli.feature import Listed
from outlast.core.errors import BadConfigError
from outlast.mirror.limits import IntakeLimits
from outlast.node.policy import SharePolicy
from outlast.sources.settings import S3Place
from outlast.swarm.schedule import DAY, Rates, Window
from outlast.swarm.settings import HostPort, SwarmSettings

T = TypeVar("T")

_MOST: Final = 1000
"""Entries of a list."""
_PATTERN_LIMIT: Final = 300
_BEYOND: Final = 10**18
"""Bytes that no size or rate has."""
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})\Z")


def read_file(table: Table, features: Sequence[Listed] = ()) -> FileSettings:
    """What a configuration file says. Features that have a section in it are imported, to read
    that. Raises :class:`BadConfigError`, which names the section and the key.
    """
    listed = {feature.name: feature for feature in features}
    said = read_section(FileSection, table, "", listed)
    copies = said.working_copies
    return FileSettings(
        home=said.home,
        sources=tuple(_told("from", url, check_source) for url in _texts(said.sources)),
        connections=said.connections,
        rate=_rate("limit-rate", said.limit_rate),
        form=_told("form", said.form, parse_form),
        tokens={
            _told("tokens", str(url), check_url): check_token(str(token), "[tokens]")
            for url, token in said.tokens.items()
        },
        working_copies=None
        if copies is None
        else _told("working-copies", _amount(copies), parse_size),
        gc_grace=said.gc_grace,
        recheck_days=said.recheck_days,
        identity=said.identity,
        swarm=swarm_settings(said.swarm),
        share=share_policy(said.share),
        serve=serve_settings(said.serve),
        s3=s3_settings(said.s3),
        features={
            name: feature.load().settings(_table(table[name], name))
            for name, feature in listed.items()
            if name in table and table[name] != {}  # an empty one says nothing: no import for it
        },
    )


def swarm_settings(table: Table) -> SwarmSettings:
    """What [swarm] says. Raises :class:`BadConfigError`."""
    said = read_section(SwarmSection, table, "[swarm]")
    rates = Rates(
        up=_rate("up", said.up),
        down=_rate("down", said.down),
        lan_up=_rate("lan-up", said.lan_up),
        lan_down=_rate("lan-down", said.lan_down),
    )
    return SwarmSettings(
        enabled=said.enabled,
        port=said.port,
        peer_port=said.peer_port,
        peers=_addresses("peers", _list("peers", said.peers)),
        trackers=_each("trackers", _list("trackers", said.trackers), check_tracker),
        dht=said.dht,
        dht_port=said.dht_port,
        dht_routers=_addresses("dht-routers", _list("dht-routers", said.dht_routers)),
        link_hosts=_each("link-hosts", _list("link-hosts", said.link_hosts), check_network),
        private=said.private,
        utp=said.utp,
        upnp=said.upnp,
        rates=rates,
        schedule=_schedule(said.schedule, rates),
    )


def share_policy(table: Table) -> SharePolicy:
    """What [share] says. Raises :class:`BadConfigError`."""
    said = read_section(ShareSection, table, "[share]")
    return SharePolicy(
        include=_patterns("include", said.include),
        exclude=_patterns("exclude", said.exclude),
        restricted=said.restricted,
        largest=_told("largest", _amount(said.largest), parse_size),
    )


def serve_settings(table: Table) -> ServeSettings:
    """What [serve] says. Raises :class:`BadConfigError`."""
    said = read_section(ServeSection, table, "[serve]")
    free, keep = said.keep_free, said.keep
    return ServeSettings(
        hosts=_each("hosts", _list("hosts", said.hosts), check_host),
        intake=IntakeLimits(
            hourly=_told("fetch-quota", _amount(said.fetch_quota), parse_size),
            keep_free=None if free is None else _told("keep-free", _amount(free), parse_size),
            keep=None if keep is None else _told("keep", _amount(keep), parse_size),
        ),
        unsafe=_told("unsafe", said.unsafe, parse_unsafe),
        allow_unsafe=_each("allow-unsafe", _list("allow-unsafe", said.allow_unsafe), check_digest),
    )


def s3_settings(table: Table) -> S3Settings:
    """What [s3] says. Raises :class:`BadConfigError`."""
    said = read_section(S3Section, table, "[s3]")
    return S3Settings(
        S3Place(
            endpoint=_told("endpoint", said.endpoint, check_url) if said.endpoint else "",
            region=_told("region", said.region, check_region),
        ),
        said.access_key_id,
        said.secret_access_key,
        said.session_token,
    )


def _addresses(key: str, values: Sequence[str]) -> tuple[HostPort, ...]:
    """Each address once; errors name `key`."""
    return tuple(dict.fromkeys(_told(key, value, parse_address) for value in values))


def _table(value: object, name: str) -> Table:
    if not isinstance(value, dict):
        raise BadConfigError(f"the setting {name!r} is not a table", hint=f"write [{name}]")
    return value


def _told(key: str, text: Any, parse: Callable[[Any], T]) -> T:
    """What `parse` makes of a text; its error names the setting."""
    try:
        return parse(text)
    except BadConfigError as error:
        raise BadConfigError(f"the setting {key!r}: {error}", hint=error.hint) from None


def _texts(value: tuple[str, ...] | str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _list(key: str, value: tuple[str, ...] | str) -> tuple[str, ...]:
    found = _texts(value)
    if len(found) > _MOST:
        raise BadConfigError(f"the setting {key!r} has more than {_MOST} entries")
    return found


def _each(key: str, values: Sequence[str], parse: Callable[[str], str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_told(key, value, parse) for value in values))


def _patterns(key: str, value: tuple[str, ...] | str) -> tuple[str, ...]:
    found = _list(key, value)
    for pattern in found:
        if not pattern or len(pattern) > _PATTERN_LIMIT or not pattern.isprintable():
            hint = "write it like org/* or org/name"
            raise BadConfigError(f"{key!r}: not a pattern: {pattern[:200]!r}", hint=hint)
    return found


def _amount(value: float | str) -> str:
    """A rate or size as a person would write it."""
    if isinstance(value, int):
        value = max(-1, min(value, _BEYOND))  # what is far beyond is not even a text
    return str(value)


def _rate(key: str, value: float | str) -> int:
    return _told(key, _amount(value), parse_rate)


def _schedule(entries: Sequence[Table], rates: Rates) -> tuple[Window, ...]:
    if len(entries) > _MOST:
        raise BadConfigError(f"the setting 'schedule' has more than {_MOST} entries")
    return tuple(_window(entry, rates) for entry in entries)


def _window(entry: Table, rates: Rates) -> Window:
    said = read_section(WindowSection, entry, "schedule")
    if said.up is None and said.down is None:
        raise BadConfigError("schedule: an entry has neither 'up' nor 'down'")
    start, end = _hours(said.hours)
    return Window(
        days=_days(said.days),
        start=start,
        end=end,
        up=rates.up if said.up is None else _rate("up", said.up),
        down=rates.down if said.down is None else _rate("down", said.down),
    )


def _days(value: object) -> frozenset[int]:
    """``daily``, or a list of days and ranges: ``mon-fri``, ``sat,sun``, ``fri-mon``."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if text == "daily":
        return frozenset(range(len(DAYS)))
    found: set[int] = set()
    for part in text.split(",")[: len(DAYS) + 1]:
        first, dash, last = (side.strip() for side in part.partition("-"))
        last = last if dash else first
        if first not in DAYS or last not in DAYS:
            hint = "write daily, mon-fri or sat,sun"
            raise BadConfigError(f"schedule: not days: {str(value)[:200]!r}", hint=hint)
        begin, count = DAYS.index(first), (DAYS.index(last) - DAYS.index(first)) % len(DAYS)
        found.update((begin + day) % len(DAYS) for day in range(count + 1))
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
