"""The swarm's settings in the environment, which go before the file's."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from outlast.cli.config.values import parse_address
from outlast.core.errors import BadConfigError
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
