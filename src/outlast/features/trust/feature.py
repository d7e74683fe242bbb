"""The feature as the core sees it."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from outlast.core.errors import OutlastError
from outlast.core.policy import Gate
from outlast.features.trust.settings import TrustSettings, read_settings
from outlast.ops.doctor import Finding, Health

if TYPE_CHECKING:
    from outlast.app import App
    from outlast.server.http.mount import Mount


class Trust:
    """Implements :class:`outlast.cli.feature.Feature`."""

    def settings(self, table: Mapping[str, Any]) -> TrustSettings:
        return read_settings(table)

    def mounts(self, app: "App", settings: TrustSettings) -> Iterable["Mount"]:
        del app, settings
        return ()

    def services(
        self, app: "App", settings: TrustSettings
    ) -> Iterable[AbstractContextManager[object]]:
        del app, settings
        return ()

    def checks(self, home: Path) -> Iterable[Finding]:
        """Rules in the archive that cannot be read refuse everything."""
        from outlast.features.trust.rules.assemble import make_gate  # noqa: PLC0415 - few have any

        gate = make_gate(home, TrustSettings())
        try:
            if gate is not None:
                gate.load()
        except OutlastError as error:
            yield Finding("rules", Health.WRONG, str(error), error.hint)


TRUST: Final = Trust()


def gate(home: Path, settings: TrustSettings) -> Gate | None:
    """The rules of the archive in `home`; None where there are none."""
    from outlast.features.trust.rules.assemble import make_gate  # noqa: PLC0415 - as above

    return make_gate(home, settings)
