"""Puts a watcher together from an archive, its hubs and the settings."""

import contextlib
import time
from collections.abc import Iterator, Sequence

from outlast.app import App
from outlast.core.control import Control
from outlast.core.errors import OutlastError
from outlast.core.events import Note
from outlast.features.watch.archive_queue import ArchiveQueue
from outlast.features.watch.follow import Follow
from outlast.features.watch.follows import read_follows
from outlast.features.watch.holdings import HeldModels
from outlast.features.watch.memory import Memory
from outlast.features.watch.polls.asking import Context
from outlast.features.watch.polls.hub_pass import Rules
from outlast.features.watch.polls.schedule import TUNING
from outlast.features.watch.settings import WatchSettings
from outlast.features.watch.telling.tell import open_channels
from outlast.features.watch.watch import Lookout, watching
from outlast.fetch.transfer import Wishes
from outlast.node.scope import Neighbourhood
from outlast.server.http.log import log_bug
from outlast.sources.base import Source
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive


@contextlib.contextmanager
def open_watcher(
    archive: Archive,
    sources: Sequence[Source],
    settings: WatchSettings,
    control: Control,
    *,
    wishes: Wishes,
    http: HttpSettings,
    around: Neighbourhood | None = None,
) -> Iterator[Lookout]:
    """What watches the hubs among `sources`, in real time. What is archived comes from all of them,
    and from `around`; alerts go where the settings say, which is reached as `http` says.
    """
    home = archive.layout.home

    def follows() -> tuple[Follow, ...]:
        return read_follows(home, settings.lists)

    with (
        Memory.open(home) as memory,
        open_channels(settings, http, archive, control) as channels,
    ):
        if memory.note:
            control.emit(Note(memory.note))
        context = Context(memory, control, time.time, control.cancel.wait, TUNING)
        archiver = ArchiveQueue(
            archive, context, follows, sources=sources, wishes=wishes, around=around
        )
        yield Lookout(
            context=context,
            hubs=[source.watched() for source in sources if isinstance(source, HubSource)],
            follows=follows,
            holdings=HeldModels(archive),
            rules=Rules(settings.every, settings.requests_per_day),
            channels=channels,
            archiver=archiver,
        )


def _wait_for_follows(archive: Archive, settings: WatchSettings, control: Control) -> None:
    """Nothing is written where nothing is followed yet. A list that is wrong is said later."""
    while True:
        try:
            if read_follows(archive.layout.home, settings.lists):
                return
        except OutlastError:
            return
        control.cancel.wait(TUNING.service)


def watching_beside(app: App, settings: WatchSettings) -> contextlib.AbstractContextManager[None]:
    """Watches the hubs behind a server while the block runs."""

    def make(control: Control) -> contextlib.AbstractContextManager[Lookout]:
        _wait_for_follows(app.archive, settings, control)
        around = None if app.node is None else Neighbourhood(app.node)
        return open_watcher(
            app.archive,
            app.sources,
            settings,
            control,
            wishes=app.wishes,
            http=app.http,
            around=around,
        )

    return watching(make, app.control, lambda error: log_bug("watch", error))
