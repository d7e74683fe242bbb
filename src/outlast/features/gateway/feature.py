"""The feature as the core sees it: commands, and nothing that runs beside `serve`."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from outlast.core.errors import BadConfigError, OutlastError
from outlast.ops.doctor import Finding, Health

if TYPE_CHECKING:
    from outlast.app import App
    from outlast.server.http.mount import Mount


class GatewayFeature:
    """Implements :class:`outlast.cli.feature.Feature`."""

    def settings(self, table: Mapping[str, Any]) -> None:
        if table:
            raise BadConfigError("[gateway] has no settings: gateway.toml has them")

    def mounts(self, app: "App", settings: None) -> Iterable["Mount"]:
        del app, settings
        return ()

    def services(self, app: "App", settings: None) -> Iterable[AbstractContextManager[object]]:
        del app, settings
        return ()

    def checks(self, home: Path) -> Iterable[Finding]:
        """A file of keys that cannot be read lets no user in, and what was spent is nowhere else
        than in the database.
        """
        from outlast.features.gateway.accounts.accounts import (  # noqa: PLC0415 - few have any
            FOLDER,
        )
        from outlast.features.gateway.accounts.database import (  # noqa: PLC0415 - likewise
            MADE,
            open_database,
        )
        from outlast.features.gateway.accounts.keys import UserKeys  # noqa: PLC0415 - likewise
        from outlast.features.gateway.accounts.tables import (  # noqa: PLC0415 - likewise
            FILE,
            read_tables,
        )

        folder = home / FOLDER
        for title, look in (
            ("gateway keys", lambda: UserKeys(folder).all()),
            ("gateway usage", lambda: open_database(folder).close()),
            ("gateway.toml", lambda: read_tables(home / FILE)),
        ):
            if title == "gateway usage" and not (folder / MADE).exists():
                continue
            try:
                look()
            except OutlastError as error:
                yield Finding(title, Health.WRONG, str(error), error.hint)


GATEWAY: Final = GatewayFeature()
