"""The feature as the core sees it: commands, claims, and what `doctor` finds."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from outlast.app import App
from outlast.core.claims import Assessor
from outlast.core.errors import NotFoundError
from outlast.features.trust.assemble import assessor_of
from outlast.features.trust.checks import findings
from outlast.features.trust.settings import TrustSettings, read_settings
from outlast.ops.doctor import Finding
from outlast.server.http.mount import Mount
from outlast.store.archive import Archive


class Trust:
    """Implements :class:`outlast.cli.feature.Feature`."""

    def settings(self, table: Mapping[str, Any]) -> TrustSettings:
        return read_settings(table)

    def mounts(self, app: App, settings: TrustSettings) -> Iterable[Mount]:
        del app, settings
        return ()

    def services(
        self, app: App, settings: TrustSettings
    ) -> Iterable[AbstractContextManager[object]]:
        del app, settings
        return ()

    def checks(self, home: Path) -> Iterable[Finding]:
        try:
            with Archive(home) as archive:
                yield from findings(archive)
        except NotFoundError:  # there is no archive yet
            return


TRUST: Final = Trust()


def assessor(archive: Archive, settings: TrustSettings) -> Assessor:
    """Which claims hold of the revisions of an archive."""
    return assessor_of(archive, settings)
