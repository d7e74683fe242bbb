"""Mends blobs with whom a scrub may ask; a node is opened when one is needed, and not before."""

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from outlast.app import OpenHome
from outlast.bucket.source import BucketSource
from outlast.core.closing import Closing
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from outlast.core.events import Note
from outlast.features.durability.parity.restore import restore
from outlast.features.durability.scrub.manifests import Askable
from outlast.features.durability.settings import StoreSetting
from outlast.fetch.mending import mend
from outlast.fetch.revision import FetchContext
from outlast.fetch.source_state import SOURCE_FAULTS
from outlast.fetch.transfer import Wishes
from outlast.node.scope import Neighbourhood
from outlast.p2p.coordinator import coordinator_for
from outlast.sources.base import Source
from outlast.store.archive import Archive

OpenAround = Callable[[], AbstractContextManager[Neighbourhood | None]]
"""Opens the nodes around, which takes a moment."""


def homes_of(stores: Sequence[StoreSetting], homes: OpenHome, control: Control) -> list[Source]:
    """The second homes that the settings name, as sources; one that cannot be opened is said."""
    found: list[Source] = []
    for one in stores:
        try:
            found.append(BucketSource(homes(one.url)))
        except OutlastError as error:
            control.emit(Note(f"the store {one.url} is not asked: {error}"))
    return found


class Mender(Closing):
    """Mends the blobs of an archive. Not thread-safe."""

    def __init__(
        self,
        archive: Archive,
        sources: Sequence[Source],
        around: OpenAround,
        wishes: Wishes,
        control: Control,
    ) -> None:
        self._archive = archive
        self._sources = sources
        self._open = around
        self._wishes = wishes
        self._control = control
        self._stack = contextlib.ExitStack()
        self._opened = False
        self._around: Neighbourhood | None = None

    def close(self) -> None:
        self._stack.close()

    def ask(self) -> Askable:
        """Who may be asked."""
        return Askable(self._sources, self._neighbourhood())

    def _neighbourhood(self) -> Neighbourhood | None:
        if not self._opened:
            self._opened = True
            self._around = self._stack.enter_context(self._open())
        return self._around

    def mend(self, blob: Digest) -> None:
        """Raises :class:`OutlastError` where it cannot be mended now."""
        with self._archive.writer() as writer:
            context = FetchContext(
                self._archive,
                writer,
                (),
                self._wishes,
                self._control,  # what lies here
            )
            with contextlib.suppress(*SOURCE_FAULTS):
                mend(context, blob, self._restore)
                return
            around = self._neighbourhood()
            coordinator = coordinator_for(around) if around is not None else None
            mend(replace(context, sources=self._sources, coordinator=coordinator), blob)

    def _restore(self, blob: Digest) -> bool:
        return restore(self._archive, blob, self._control.cancel)
