"""Serves catalogues under ``/catalogue/NAME/``: those that are made here, and those that are
followed, which their signatures prove wherever they come from.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from outlast.core.digest import Digest
from outlast.core.errors import (
    CatalogueRefusedError,
    IntegrityError,
    MalformedError,
    NotFoundError,
    UsageError,
)
from outlast.core.manifest import Revision
from outlast.core.names import RepoId, check_path
from outlast.core.policy import Action
from outlast.features.trust.catalogue.folders import (
    followed_folder,
    followed_names,
    own_folder,
    own_names,
    read_small,
)
from outlast.features.trust.catalogue.names import TargetName
from outlast.features.trust.catalogue.tuning import TUNING
from outlast.features.trust.catalogue.using.opened import OpenCatalogues
from outlast.intake.judging import require_revision
from outlast.mirror.access import Access
from outlast.mirror.asker import Asker
from outlast.server.http.exchange import Exchange
from outlast.server.http.mount import Mount
from outlast.store.archive import Archive
from outlast.store.layout import Layout

PREFIX: Final = "/catalogue"
_METADATA: Final = "metadata"
_TARGETS: Final = "targets"
_TIMESTAMP: Final = "timestamp.json"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_HIDDEN: Final = "."
MayRead = Callable[[Asker | None, RepoId], bool]


class ServedCatalogues:
    """Finds the bytes of a path below :data:`PREFIX`. Thread-safe. A manifest that the rules of
    `archive` do not allow to serve is refused: it is a list of files.
    """

    def __init__(
        self, home: Path, archive: Archive | None = None, may_read: MayRead = lambda _a, _r: True
    ) -> None:
        """`may_read`: whether who asks may know the files of a model."""
        self._home = home
        self._archive = archive
        self._may_read = may_read
        self._open = OpenCatalogues(home)

    def read(self, raw_path: str, asker: Asker | None = None) -> bytes:
        """The bytes of a raw (still quoted) path. Raises :class:`NotFoundError` (also for a
        manifest of a model that `asker` may not read), and :class:`RefusedByRulesError`.
        """
        try:
            path = check_path(unquote(raw_path.removeprefix(PREFIX).removeprefix("/")))
            name, _, rest = path.partition("/")
            data = self._bytes(name, rest)
            if rest.partition("/")[0] == _TARGETS:
                data = self._allowed(data, asker)
        except (UsageError, IntegrityError, MalformedError, CatalogueRefusedError):
            data = None
        if data is None:
            raise NotFoundError(
                f"no such file of a catalogue: {raw_path[:200]}", hint="try another"
            )
        return data

    def _bytes(self, name: str, path: str) -> bytes | None:
        room, _, rest = path.partition("/")
        if not rest or rest.rpartition("/")[2].startswith(_HIDDEN):
            return None
        if name in own_names(self._home):
            folder = own_folder(self._home, name)
            return read_small(folder / path, TUNING.manifest) if room in _ROOMS else None
        if name not in followed_names(self._home):
            return None
        if room == _METADATA:
            return read_small(followed_folder(self._home, name) / path, TUNING.role)
        return self._manifest(name, rest) if room == _TARGETS else None

    def _allowed(self, manifest: bytes | None, asker: Asker | None) -> bytes | None:
        """A manifest that may go to who asks: it is a list of files."""
        if manifest is None or self._archive is None:
            return manifest
        revision = Revision.from_bytes(manifest)
        if not self._may_read(asker, revision.repo):
            return None
        require_revision(self._archive, Action.SERVE, revision)
        return manifest

    def _manifest(self, name: str, path: str) -> bytes | None:
        """A manifest that a followed catalogue lists, if it is archived here. Others are not given
        out: a digest alone opens nothing.
        """
        folder, _, base = path.rpartition("/")
        digest, _, revision = base.partition(".")
        target = TargetName.parse(f"{folder}/{revision}")
        wanted = Digest(digest)
        for one in self._open.of_model(target.repo):
            entry = one.entry
            if one.record.name == name and (entry.name, entry.manifest) == (target, wanted):
                return read_small(Layout(self._home).manifest(wanted), TUNING.manifest)
        return None


_ROOMS: Final = frozenset({_METADATA, _TARGETS})


def mount(archive: Archive, access: Access) -> Mount:
    """The mount of an archive's catalogues. What `access` keeps from a client, it does not get here
    either.
    """
    served = ServedCatalogues(
        archive.layout.home,
        archive,
        lambda asker, repo: access.lists(asker or Asker(None), repo),
    )

    async def handle(exchange: Exchange) -> web.StreamResponse:
        path = exchange.request.rel_url.raw_path
        data = await asyncio.to_thread(served.read, path, exchange.asker)
        is_new = path.endswith(f"/{_TIMESTAMP}")
        exchange.sent += len(data) * (exchange.request.method == "GET")
        return web.Response(
            body=data,
            content_type="application/json",
            headers={"Cache-Control": "no-cache" if is_new else _FOR_EVER},
        )

    return Mount(PREFIX, "catalogue", handle)
