"""A span of time on the command line."""

import click

from outlast.core.errors import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType[float]):
    """``90``, ``30m``, ``2h``: seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        del param, ctx
        text = str(value)
        unit = _UNITS.get(text[-1:], 0.0)
        try:
            found = float(text[:-1]) * unit if unit else float(text)
        except ValueError:
            found = -1.0
        if not 0 <= found < 1e9:
            raise UsageError(f"not a duration: {text[:60]!r}", hint="write it as 90, 30m or 2h")
        return found
