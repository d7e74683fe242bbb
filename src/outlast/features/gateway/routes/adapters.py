"""Adapters of a route: further routes, of which a request names one as ``route+org/adapter``."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from outlast.core.errors import BadConfigError, BadNameError
from outlast.core.names import ADAPTER_MARK, Target
from outlast.features.gateway.routes.values import GatewayRoute

_MOST: Final = 256
"""Adapters of one route. Each takes memory beside its base."""


def adapter_routes(
    where: str, route: GatewayRoute, adapters: Sequence[str]
) -> Iterator[GatewayRoute]:
    """One for each of `adapters` (names in the archive), with the models of the archive among the
    targets of `route`: no other target has the adapter, and the base alone never stands in for it.
    Raises :class:`BadConfigError`, which names the table `where`.
    """
    if len(adapters) > _MOST:
        raise BadConfigError(f"{where}: a route has at most {_MOST} adapters")
    bases = [target for target in route.targets if target.local is not None]
    if adapters and (not bases or any(target.adapter is not None for target in bases)):
        raise BadConfigError(
            f"{where}: adapters need a base among the targets: a model of the archive, alone",
            hint="write targets = ['archive:org/base']",
        )
    for adapter in dict.fromkeys(adapters):
        try:
            found = Target.parse(adapter)
        except BadNameError as error:
            raise BadConfigError(f"{where}: {error}", hint=error.hint) from None
        yield replace(
            route,
            name=f"{route.name}{ADAPTER_MARK}{adapter}",
            targets=tuple(
                replace(base, name=f"{base.name}{ADAPTER_MARK}{adapter}", adapter=found)
                for base in bases
            ),
        )
