"""``--from``: which hubs, mirrors and nodes a command may ask."""

from collections.abc import Sequence

from outlast.app import Scope
from outlast.cli.config.file import check_url
from outlast.cli.edge import host_and_port
from outlast.server.node.peer_port import DEFAULT_PORT

_PEER = "peer:"


def parse_origins(words: Sequence[str], default: tuple[str, ...]) -> tuple[tuple[str, ...], Scope]:
    """The meaning of all ``--from``: the URLs of hubs and mirrors (without one `default`), and the
    nodes, which are ``lan``, ``swarm`` and ``peer:HOST:PORT`` (without one all that there are).
    """
    if not words:
        return default, Scope()
    urls: list[str] = []
    peers: list[tuple[str, int]] = []
    for word in words:
        if word.startswith(_PEER):
            host, port = host_and_port(word.removeprefix(_PEER), DEFAULT_PORT)
            peers.append((host, port))
        elif word not in {"lan", "swarm"}:
            urls.append(check_url(word))
    swarm = "swarm" in words
    scope = Scope(
        lan="lan" in words or swarm,
        peers=tuple(peers) if peers or not swarm else None,
        http="lan" in words or bool(peers),
    )
    return tuple(urls), scope
