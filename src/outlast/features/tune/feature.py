"""The feature as the core sees it: commands, and nothing that runs beside `serve`."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from outlast.app import App
from outlast.core.errors import BadConfigError
from outlast.ops.doctor import Finding
from outlast.server.http.mount import Mount


class Tune:
    """Implements :class:`outlast.cli.feature.Feature`."""

    def settings(self, table: Mapping[str, Any]) -> None:
        if table:
            raise BadConfigError("[tune] has no settings")

    def mounts(self, app: App, settings: None) -> Iterable[Mount]:
        del app, settings
        return ()

    def services(self, app: App, settings: None) -> Iterable[AbstractContextManager[object]]:
        del app, settings
        return ()

    def checks(self, home: Path) -> Iterable[Finding]:
        del home
        return ()


TUNE: Final = Tune()
