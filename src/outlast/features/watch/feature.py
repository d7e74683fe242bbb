"""The feature as the core sees it."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from outlast.app import App
from outlast.core.errors import OutlastError
from outlast.features.watch.assemble import watching_beside
from outlast.features.watch.follows import own_follows
from outlast.features.watch.settings import WatchSettings, read_settings
from outlast.ops.doctor import Finding, Health
from outlast.server.http.mount import Mount
from outlast.sources.hub import HubSource


class Watch:
    """Implements :class:`outlast.cli.feature.Feature`."""

    def settings(self, table: Mapping[str, Any]) -> WatchSettings:
        return read_settings(table)

    def mounts(self, app: App, settings: WatchSettings) -> Iterable[Mount]:
        del app, settings
        return ()

    def services(
        self, app: App, settings: WatchSettings
    ) -> Iterable[AbstractContextManager[object]]:
        if not any(isinstance(source, HubSource) for source in app.sources):
            return []
        return [watching_beside(app, settings)]

    def checks(self, home: Path) -> Iterable[Finding]:
        """A list that cannot be read stops all watching: a cron job may say so to no reader."""
        try:
            own_follows(home)
        except OutlastError as error:
            yield Finding("watch", Health.WRONG, str(error), error.hint)


WATCH: Final = Watch()
