"""The TARGET of a pull (a model by name, a manifest by digest, a link or a .torrent file), and from
where to pull it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import click

from outlast.app import Scope
from outlast.cli.config.values import check_source
from outlast.cli.edge import TargetType, host_and_port
from outlast.core.digest import Digest
from outlast.core.errors import BadNameError, MalformedError, NotFoundError
from outlast.core.names import Target
from outlast.ops.pull_link import LinkWanted
from outlast.server.node.peer_port import DEFAULT_PORT
from outlast.store import disk
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent.magnet import is_magnet, parse_magnet
from outlast.swarm.torrent.read import read_torrent

_SUFFIX: Final = ".torrent"
_PEER: Final = "peer:"


@dataclass(frozen=True, slots=True)
class TorrentFile:
    """A local .torrent file that was not read yet."""

    path: Path


Wanted: TypeAlias = Target | Digest | LinkWanted | TorrentFile


def parse_wanted(text: str) -> Wanted:
    """Parses TARGET: ``magnet:…``, a path that ends in ``.torrent``, 64 hex digits, or else
    ``org/name[@ref]``. Reads no file. Raises :class:`BadNameError`, :class:`MalformedError`.
    """
    if is_magnet(text):
        return LinkWanted(parse_magnet(text))
    if text.lower().endswith(_SUFFIX):
        return TorrentFile(Path(text))
    if Digest.is_valid(text.lower()):
        return Digest(text.lower())
    try:
        return Target.parse(text)
    except BadNameError as error:
        if "://" in text:
            hint = "write the model as org/name, and its hub with --from"
            raise BadNameError(str(error), hint=hint) from None
        raise


def read_wanted(wanted: Wanted) -> Target | Digest | LinkWanted:
    """Reads the torrent file, if `wanted` is one. Raises :class:`MalformedError`, and
    :class:`NotFoundError` if the file does not exist.
    """
    if not isinstance(wanted, TorrentFile):
        return wanted
    path = wanted.path
    with disk.reporting(path):
        try:
            with path.open("rb") as file:
                data = file.read(bencode.MAX_BYTES + 1)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFoundError(f"no torrent file at {path}", hint="check the path") from None
    if len(data) > bencode.MAX_BYTES:
        raise MalformedError(f"{path} is too large for a torrent file")
    return LinkWanted(read_torrent(data), data)


class WantedType(TargetType):
    """Any target; names are completed from the archive."""

    name = "target"

    def convert(  # type: ignore[override]  # a target is one of several things here
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Wanted:
        del param, ctx
        return parse_wanted(value) if isinstance(value, str) else value


WANTED = WantedType()


def parse_origins(
    words: Sequence[str], default: tuple[str, ...], *, named: bool = False
) -> tuple[tuple[str, ...], Scope]:
    """The meaning of all ``--from``: hubs, mirrors and sources of other kinds (without one
    `default`), and the nodes, which are ``lan``, ``swarm`` and ``peer:HOST:PORT`` (without one all
    that there are). `named`: one model is asked for, of which a source may have another name.
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
            urls.append(check_source(word, named=named))
    swarm = "swarm" in words
    scope = Scope(
        lan="lan" in words or swarm,
        peers=tuple(peers) if peers or not swarm else None,
        http="lan" in words or bool(peers),
        named="lan" in words or swarm,
    )
    return tuple(urls), scope
