"""The feature as the core sees it."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from outlast.app import App
from outlast.core.errors import OutlastError
from outlast.features.trust.screening.screening_log import ScreeningLog
from outlast.features.trust.settings import TrustSettings, read_settings
from outlast.ops.doctor import Finding, Health
from outlast.server.http.mount import Mount


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
        """The log of screenings is evidence: damage to it is told."""
        try:
            lines = ScreeningLog(home).damaged()
        except OutlastError as error:
            yield Finding("screenings", Health.WRONG, str(error), error.hint)
            return
        if lines:
            some = ", ".join(map(str, lines[:5]))
            yield Finding(
                "screenings",
                Health.WRONG,
                f"{len(lines)} lines of the log of screenings have changed: {some}",
                "the others are intact; compare with a backup of trust/screenings.jsonl",
            )


TRUST: Final = Trust()
