"""How a person writes rates, sizes, URLs and addresses; each is checked where it is read."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from outlast.bucket.objects import check_place
from outlast.core.digest import Digest
from outlast.core.errors import BadConfigError, BadNameError
from outlast.core.names import check_path
from outlast.core.sizes import bytes_of
from outlast.intake.form_policy import FormWish
from outlast.intake.formats.allowed import UnsafeWish
from outlast.sources.kinds import S3, STORE, SourceAddress, parse_source
from outlast.swarm.settings import HostPort

_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\.?\Z")
_NUMERIC: Final = re.compile(r"[0-9.]+\Z")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]\Z")
_REGION: Final = re.compile(r"[A-Za-z0-9-]{1,40}\Z")
_PORT: Final = re.compile(r"[0-9]{1,5}\Z")
_TRACKERS: Final = frozenset({"http", "https", "udp"})
_URL_LIMIT: Final = 2048


def check_url(url: str) -> str:
    """`url` without a slash at its end, if it can be a source."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadConfigError(f"not a URL: {url!r}: {error}") from None
    del port
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadConfigError(f"not an http or https URL: {url!r}", hint="write https://host")
    if parts.username is not None or parts.password is not None:
        raise BadConfigError(
            f"a password in the URL of {parts.hostname} would be seen in logs",
            hint="put tokens into HF_TOKEN or the configuration's [tokens]",
        )
    if not url.isascii() or not url.isprintable() or parts.query or parts.fragment or " " in url:
        raise BadConfigError(f"not the URL of a hub: {url!r}")
    return url.rstrip("/")


def check_source(text: str, *, named: bool = False) -> str:
    """`text` as it is written in full, if it is the URL of a hub, or a source of another kind. It
    may say what the model is called there if that is the `named` one, which the user asks for.
    """
    at = parse_source(text)
    if at.other_name and not named:
        raise BadConfigError(
            f"{text[:200]!r} says what one model is called there, and many may be asked for",
            hint="write that with --from of the pull of that model",
        )
    url = os.path.abspath(at.url) if at.is_local else _CHECKS.get(at.kind, check_url)(at.url)
    return str(SourceAddress(at.kind, url, at.other_name))


def _check_bucket(url: str) -> str:
    """``s3://BUCKET/PREFIX`` without a slash at its end."""
    bucket, _, prefix = url.removeprefix("s3://").rstrip("/").partition("/")
    hint = "write s3://BUCKET or s3://BUCKET/PREFIX"
    if not _BUCKET.match(bucket) or ".." in bucket:
        raise BadConfigError(f"not the name of a bucket: {bucket[:200]!r}", hint=hint)
    try:
        return f"s3://{bucket}/{check_path(prefix)}" if prefix else f"s3://{bucket}"
    except BadNameError as error:
        raise BadConfigError(f"not the start of a name in {bucket}: {error}", hint=hint) from None


_CHECKS: Final[Mapping[str, Callable[[str], str]]] = {S3: _check_bucket, STORE: check_place}
"""What checks the URLs of kinds that are not http."""


def check_region(name: str) -> str:
    """`name`, if a region of a store of objects can have it: it is a part of a host name."""
    if not _REGION.match(name):
        raise BadConfigError(f"not a region: {name[:200]!r}", hint="write it as eu-central-1")
    return name


def check_host(name: str) -> str:
    """`name`, if a machine can have it: a host name without a port, in small letters."""
    plain = name.strip().lower().removesuffix(".")
    if not _HOST.match(plain) or ".." in plain:
        hint = "write it as models.example, without a port"
        raise BadConfigError(f"not a host name: {name[:200]!r}", hint=hint)
    return plain


def check_tracker(url: str) -> str:
    """`url`, if it can be a tracker's. What follows a "?" may be secret: errors do not show it."""
    shown = url.partition("?")[0][:200]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadConfigError(f"not a URL: {shown!r}") from None
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= _URL_LIMIT
    named = bool(parts.hostname) and parts.username is None and not parts.fragment
    if parts.scheme not in _TRACKERS or not plain or not named or port == 0:
        hint = "write https://host/announce or udp://host:port"
        raise BadConfigError(f"not the URL of a tracker: {shown!r}", hint=hint)
    return url


def check_network(text: str) -> str:
    """A network as CIDR (``10.1.0.0/16``) or one address; as CIDR."""
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError:
        hint = "write 192.168.1.0/24, 192.168.1.7 or fd00:1::/64"
        raise BadConfigError(f"not a network or address: {text[:200]!r}", hint=hint) from None


def parse_address(text: str) -> HostPort:
    """A name or address and a port: ``host:port``, ``192.0.2.7:port``, ``[2001:db8::7]:port``."""
    host, _, port = text.strip().rpartition(":")
    number = int(port) if _PORT.match(port) else 0
    found = _ip(host[1:-1], 6) if host[:1] == "[" and host[-1:] == "]" else _host(host)
    if found is None or not 0 < number < 65536:
        hint = "write host:port, 192.0.2.7:8091 or [2001:db8::7]:8091"
        raise BadConfigError(f"not an address with a port: {text[:200]!r}", hint=hint)
    return found, number


def _host(text: str) -> str | None:
    if _NUMERIC.match(text):
        return _ip(text, 4)
    return text if _HOST.match(text) and ".." not in text else None


def _ip(text: str, version: int) -> str | None:
    """An IP address of that version that a node can have."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    right = found.version == version and text.isprintable() and len(text) < 100
    return str(found) if right and not found.is_multicast and not found.is_unspecified else None


def check_token(token: str, where: str) -> str:
    """`token` without space around it, if it can be one; errors name `where` it stands."""
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadConfigError(f"the token in {where} holds characters that no token has")
    return token


def parse_form(value: Any) -> FormWish:
    """``plain``, ``capsule`` or ``auto``."""
    try:
        return FormWish(value)
    except ValueError:
        known = ", ".join(wish.value for wish in FormWish)
        raise BadConfigError(f"not a form: {value!r}", hint=f"known: {known}") from None


def parse_unsafe(value: Any) -> UnsafeWish:
    """``withhold`` or ``allow``."""
    try:
        return UnsafeWish(value)
    except ValueError:
        known = ", ".join(wish.value for wish in UnsafeWish)
        raise BadConfigError(f"not a wish: {value!r}", hint=f"known: {known}") from None


def check_digest(text: str) -> str:
    """A sha256 in hex. Raises :class:`BadConfigError`."""
    if not Digest.is_valid(text):
        raise BadConfigError(f"not a sha256: {text[:80]!r}", hint="'outlast show' prints it")
    return text


def parse_rate(text: str) -> int:
    """``10M``, ``500k``, ``1.5MiB``: bytes (per second). 0 means no limit."""
    value = bytes_of(text.strip().lower().removesuffix("/s"), 1e12)
    if value is None:
        raise BadConfigError(f"not a rate: {text!r}", hint="write it like 500k, 10M or 1.5MiB")
    return value


def parse_size(text: str) -> int:
    """``50GB``, ``1.5TiB``: bytes."""
    value = bytes_of(text)
    if value is None:
        raise BadConfigError(f"not a size: {text!r}", hint="write it like 500MB, 50GB or 1.5TiB")
    return value
