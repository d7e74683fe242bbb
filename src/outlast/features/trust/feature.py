"""The feature as the core sees it."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from outlast.app import App
from outlast.core.errors import OutlastError
from outlast.features.trust.catalogue.folders import followed_names, read_record
from outlast.features.trust.catalogue.library import has_library
from outlast.ops.doctor import Finding, Health
from outlast.server.http.mount import Mount


class Trust:
    """Implements :class:`outlast.cli.feature.Feature`."""

    def settings(self, table: Mapping[str, Any]) -> None:
        del table

    def mounts(self, app: App, settings: None) -> Iterable[Mount]:
        del settings
        home = app.archive.layout.home
        if not has_library():
            return
        from outlast.features.trust.catalogue.using.mount import mount  # noqa: PLC0415 - of [trust]

        yield mount(home)

    def services(self, app: App, settings: None) -> Iterable[AbstractContextManager[object]]:
        del app, settings
        return ()

    def checks(self, home: Path) -> Iterable[Finding]:
        """A record that cannot be read: which root is trusted is not known any more."""
        for name in followed_names(home):
            try:
                read_record(home, name)
            except OutlastError as error:
                yield Finding("catalogue", Health.WRONG, str(error), error.hint)


TRUST: Final = Trust()
