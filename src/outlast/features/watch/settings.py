"""The section ``[watch]`` of the configuration file."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import urlsplit

from msgspec import Meta

from outlast.cli.config.section import (
    ConfigSection,
    Flag,
    Meaning,
    Text,
    Texts,
    keep_list_path,
    read_section,
)
from outlast.core.addresses import host_of
from outlast.core.errors import BadConfigError
from outlast.features.watch.follows import MAX_LISTS

_HOUR: Final = 3600.0
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,190}\Z")
_MOST_ADDRESSES: Final = 20
SENDMAIL: Final = "/usr/sbin/sendmail"


Requests: TypeAlias = Annotated[
    int, Meta(ge=1, le=10_000_000, description="the setting {!r} is not a number of requests")
]


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How to watch, and where to tell what changed. `every`: seconds between two polls of a
    follow; `requests_per_day`: to each hub, None: as the number of follows suggests.
    """

    lists: tuple[Path, ...] = ()
    every: float = 24 * _HOUR
    requests_per_day: int | None = None
    webhook: str = field(default="", repr=False)
    """A URL that may be secret; empty: none."""
    webhook_plain: bool = False
    """Whether it may be plain HTTP to another machine."""
    mail_to: tuple[str, ...] = ()
    sendmail: str = SENDMAIL


_DEFAULT: Final = WatchSettings()


class WatchSection(ConfigSection, frozen=True):
    """How hubs are watched for changes of the models that 'outlast follow' names."""

    lists: Annotated[
        Texts,
        Meaning(
            "Keep-lists whose lines are followed too: paths of files.",
            more="Their lines may name patterns, and have `budget=` and `priority=`",
            default="none",
        ),
    ] = ()
    every: Annotated[
        float,
        Meta(ge=0.05, le=8760, description="the setting {!r} is not a number of hours to 8760"),
        Meaning(
            "Hours between two polls of a model, as 24 or 0.5; longer, if that would be more "
            "requests than the setting requests-per-day has.",
        ),
    ] = _DEFAULT.every / _HOUR
    requests_per_day: Annotated[
        Requests | None,
        Meaning(
            "Most requests to one hub in 24 hours.",
            default="100, or one for each model where that is more",
            example=1000,
        ),
    ] = None
    webhook: Annotated[
        Text,
        Meaning(
            "A URL to which changes are sent (POST, JSON). It must begin with https, but on this "
            "machine.",
            default="none",
            secret=True,
        ),
    ] = _DEFAULT.webhook
    webhook_plain: Annotated[
        Flag, Meaning("Allow a webhook with plain http on another machine.")
    ] = _DEFAULT.webhook_plain
    mail_to: Annotated[
        Texts, Meaning("E-mail addresses to which changes are sent.", default="none")
    ] = ()
    sendmail: Annotated[
        Text, Meaning("The program that sends e-mail; it is called with -t and -i.")
    ] = _DEFAULT.sendmail


def read_settings(table: Mapping[str, Any]) -> WatchSettings:
    """What ``[watch]`` says. Raises :class:`BadConfigError`."""
    said = read_section(WatchSection, table, "[watch]")
    return WatchSettings(
        lists=tuple(
            keep_list_path("[watch]", text) for text in _few("lists", said.lists, MAX_LISTS)
        ),
        every=said.every * _HOUR,
        requests_per_day=said.requests_per_day,
        webhook=_webhook(said.webhook, plain=said.webhook_plain),
        webhook_plain=said.webhook_plain,
        mail_to=tuple(map(_address, _few("mail-to", said.mail_to, _MOST_ADDRESSES))),
        sendmail=said.sendmail,
    )


def _few(key: str, value: tuple[str, ...] | str, most: int) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else value
    if len(found) > most:
        raise BadConfigError(f"[watch]: the setting {key!r} has more than {most} entries")
    return tuple(dict.fromkeys(found))


def _address(text: str) -> str:
    if not _ADDRESS.match(text):
        raise BadConfigError(
            f"[watch]: the setting 'mail-to': not an e-mail address: {text[:200]!r}",
            hint="write it like me@example.org, without a name",
        )
    return text


def _webhook(url: str, *, plain: bool) -> str:
    """`url`, if it is empty, or alerts may be sent there: by https, on this machine, or (`plain`)
    by http. It may be secret: errors do not repeat it. Raises :class:`BadConfigError`.
    """
    if not url:
        return url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadConfigError("[watch]: the webhook is not a URL") from None
    usable = url.isascii() and url.isprintable() and " " not in url and len(url) <= 2048
    if not usable or parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise BadConfigError("[watch]: the webhook is not a URL", hint="write https://host/path")
    if parts.username is not None or parts.fragment:
        raise BadConfigError(
            "[watch]: the webhook's URL has a password or a fragment", hint="leave it out"
        )
    if parts.scheme == "http" and not plain and not _is_here(parts.hostname):
        raise BadConfigError(
            f"[watch]: the webhook at {host_of(url)} would be sent alerts in the clear",
            hint="write https://, or set webhook-plain = true",
        )
    return url


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
