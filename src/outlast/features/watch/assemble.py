"""Puts a watcher together from an archive, its hubs and the settings."""

import contextlib
import time
from collections.abc import Iterator, Sequence

from outlast.app import App
from outlast.core.control import Control
from outlast.core.events import Note
from outlast.features.watch.archive_queue import ArchiveQueue
from outlast.features.watch.follow import Follow
from outlast.features.watch.follows import read_follows
from outlast.features.watch.holdings import Holdings
from outlast.features.watch.memory import Memory
from outlast.features.watch.polls.asking import Context
from outlast.features.watch.polls.hub_pass import Rules
from outlast.features.watch.settings import WatchSettings
from outlast.features.watch.watch import Watcher, watching
from outlast.fetch.transfer import Wishes
from outlast.node.scope import Neighbourhood
from outlast.server.http.log import log_bug
from outlast.sources.base import Source
from outlast.sources.hub import HubSource
from outlast.store.archive import Archive


@contextlib.contextmanager
def open_watcher(
    archive: Archive,
    sources: Sequence[Source],
    settings: WatchSettings,
    control: Control,
    *,
    wishes: Wishes,
    around: Neighbourhood | None = None,
) -> Iterator[Watcher]:
    """A watcher of the hubs among `sources`, in real time. What is archived comes from all of them,
    and from `around`.
    """
    home = archive.layout.home

    def follows() -> tuple[Follow, ...]:
        return read_follows(home, settings.lists)

    with Memory.open(home) as memory:
        if memory.note:
            control.emit(Note(memory.note))
        context = Context(memory, control, time.time, control.cancel.wait)
        archiver = ArchiveQueue(
            archive, context, follows, sources=sources, wishes=wishes, around=around
        )
        yield Watcher(
            context=context,
            hubs=[source.watched() for source in sources if isinstance(source, HubSource)],
            follows=follows,
            holdings=Holdings(archive),
            rules=Rules(settings.every, settings.requests_per_day),
            archiver=archiver,
        )


def watching_beside(app: App, settings: WatchSettings) -> contextlib.AbstractContextManager[None]:
    """Watches the hubs behind a server while the block runs."""

    def make(control: Control) -> contextlib.AbstractContextManager[Watcher]:
        around = None if app.node is None else Neighbourhood(app.node)
        return open_watcher(
            app.archive, app.sources, settings, control, wishes=app.wishes, around=around
        )

    return watching(make, app.control, lambda error: log_bug("watch", error))
