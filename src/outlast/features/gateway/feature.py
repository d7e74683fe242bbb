"""The feature as the core sees it: commands, and nothing that runs beside `serve`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from outlast.cli.feature import CommandsAlone
from outlast.core.errors import OutlastError
from outlast.ops.doctor import Finding, Health


class GatewayFeature(CommandsAlone):
    """Commands, and findings for `doctor`."""

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


GATEWAY: Final = GatewayFeature("gateway", "they are in the file of routes: gateway.toml")
