"""Settings of the swarm and of S3 in the environment, which go before the file's."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from outlast.cli.config.settings import S3Settings
from outlast.cli.config.values import check_region, check_url, parse_address
from outlast.core.errors import BadConfigError
from outlast.sources.settings import S3Place
from outlast.swarm.settings import HostPort, SwarmSettings

_SHOWN: Final = 200


def swarm_of(said: SwarmSettings, environ: Mapping[str, str]) -> SwarmSettings:
    """The settings that hold, where the file has `said` something. In private mode all that
    announces is off, even where the file turns it on. Raises :class:`BadConfigError`.
    """
    private = _switch(environ, "OUTLAST_PRIVATE", said.private)
    found = replace(
        said,
        enabled=_switch(environ, "OUTLAST_SWARM", said.enabled),
        port=_port(environ, "OUTLAST_SWARM_PORT", said.port),
        peer_port=_port(environ, "OUTLAST_PEER_PORT", said.peer_port),
        dht_port=_port(environ, "OUTLAST_DHT_PORT", said.dht_port),
        peers=_peers(environ) or said.peers,
        private=private,
        trackers=() if private else said.trackers,
        dht=said.dht and not private,
        upnp=said.upnp and not private,
    )
    if found.dht_port and found.dht_port == found.port:
        raise BadConfigError("[swarm] port and dht-port are one", hint="name two ports, or none")
    return found


def s3_of(said: S3Settings, environ: Mapping[str, str]) -> S3Settings:
    """Where S3 is and the keys to it, by the variables that programs for S3 read. Keys of the
    environment and of the file are never mixed. Raises :class:`BadConfigError`.
    """
    place = S3Place(
        _first(environ, ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), check_url)
        or said.place.endpoint,
        _first(environ, ("AWS_REGION", "AWS_DEFAULT_REGION"), check_region) or said.place.region,
    )
    key = environ.get("AWS_ACCESS_KEY_ID", "")
    secret = environ.get("AWS_SECRET_ACCESS_KEY", "")
    session = environ.get("AWS_SESSION_TOKEN", "")
    if not (key or secret or session):
        return replace(said, place=place)
    return S3Settings(place, key, secret, session)


def _first(
    environ: Mapping[str, str], names: Sequence[str], check: Callable[[str], str]
) -> str | None:
    """What the first of these variables that is set says, checked; an error names it."""
    name = next((name for name in names if environ.get(name)), None)
    if name is None:
        return None
    try:
        return check(environ[name])
    except BadConfigError as error:
        raise BadConfigError(f"{name}: {error}", hint=error.hint) from None


def _switch(environ: Mapping[str, str], name: str, default: bool) -> bool:
    value = environ.get(name, "")
    if value not in {"", "0", "1"}:
        raise BadConfigError(f"{name} is neither 0 nor 1: {value[:_SHOWN]!r}")
    return value == "1" if value else default


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    """A port; 0 is any that is free."""
    text = environ.get(name)
    if not text:
        return default
    value = int(text) if re.fullmatch("[0-9]{1,5}", text) else -1
    if not 0 <= value <= 65535:
        raise BadConfigError(f"{name!r} is not a port from 0 to 65535", hint="0 is any free port")
    return value


def _peers(environ: Mapping[str, str]) -> tuple[HostPort, ...]:
    texts = [text for text in environ.get("OUTLAST_PEERS", "").split(",") if text.strip()]
    try:
        return tuple(dict.fromkeys(map(parse_address, texts)))
    except BadConfigError as error:
        raise BadConfigError(f"the setting 'OUTLAST_PEERS': {error}", hint=error.hint) from None
