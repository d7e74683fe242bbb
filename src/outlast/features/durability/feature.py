"""The feature as the core sees it."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from outlast.app import App
from outlast.features.durability.copies.service import keeping_beside
from outlast.features.durability.parity.finding import parity_findings
from outlast.features.durability.scrub.service import scrubbing_beside
from outlast.features.durability.settings import CopiesSettings, read_settings
from outlast.ops.doctor import Finding
from outlast.server.http.mount import Mount


class Durability:
    """Implements :class:`outlast.cli.feature.Feature`."""

    def settings(self, table: Mapping[str, Any]) -> CopiesSettings:
        return read_settings(table)

    def mounts(self, app: App, settings: CopiesSettings) -> Iterable[Mount]:
        del app, settings
        return ()

    def services(
        self, app: App, settings: CopiesSettings
    ) -> Iterable[AbstractContextManager[object]]:
        if app.node is not None and (settings.active or settings.stores or app.node.settings.peers):
            yield keeping_beside(app, app.node, settings)
        if settings.scrub.active:
            yield scrubbing_beside(app, settings.scrub, settings.stores)

    def checks(self, home: Path) -> Iterable[Finding]:
        yield from parity_findings(home)


DURABILITY: Final = Durability()
