"""Pulls, for a Python program. Importing it loads the rooms of the network."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from outlast.api.settings import Settings
from outlast.api.values import Plan, file_of, told
from outlast.app import Scope, open_hubs, open_neighbourhood
from outlast.core.control import Control
from outlast.core.errors import UsageError
from outlast.core.names import Target
from outlast.fetch.file_filter import Selection
from outlast.fetch.transfer import Wishes
from outlast.intake.form_policy import FormWishes
from outlast.node.scope import Neighbourhood
from outlast.ops import pull as ops
from outlast.store.archive import Archive as Store

LAN: Final = "lan"


@dataclass(frozen=True, slots=True)
class Sourcing:
    """What to take, from where, and how: the arguments of a pull. None: as the settings say. The
    word `LAN` among the `urls` is no URL: it says that the word of neighbours counts.
    """

    include: tuple[str, ...]
    exclude: tuple[str, ...]
    urls: tuple[str, ...]
    token: str | Mapping[str, str] | None
    forms: FormWishes
    connections: int | None = None
    rate: int | None = None
    swarm: bool = False
    strict: bool = False


def pull(
    store: Store, settings: Settings, target: Target, sourcing: Sourcing, control: Control
) -> ops.Pulled:
    """Archives `target`."""
    return _pull(store, settings, target, sourcing, control, dry_run=False)


def plan(
    store: Store, settings: Settings, target: Target, sourcing: Sourcing, control: Control
) -> Plan:
    """What `pull` would do."""
    done = _pull(store, settings, target, sourcing, control, dry_run=True)
    found = done.plan
    here = {entry.path for entry in found.here}
    return Plan(
        repo=str(found.repo),
        ref=found.ref,
        commit=found.commit.hex,
        source=found.source,
        files=tuple(file_of(entry, archived=entry.path in here) for entry in found.wanted),
        to_fetch=tuple(file_of(entry, archived=False) for entry in found.to_fetch),
        left_out=len(found.left_out),
        fetch_bytes=found.fetch_bytes - found.resumed,
        free_bytes=found.free,
        fits=found.fits,
        warnings=told(done.suspects),
    )


def _pull(
    store: Store,
    settings: Settings,
    target: Target,
    sourcing: Sourcing,
    control: Control,
    *,
    dry_run: bool,
) -> ops.Pulled:
    config = settings.config
    urls = [url for url in sourcing.urls if url != LAN]
    named = LAN in sourcing.urls
    if named and not sourcing.swarm:
        raise UsageError(f"from_={LAN!r} asks neighbours", hint="say swarm=True, too")
    hubs = settings.upstreams(urls, sourcing.token) if urls or not named else []
    wishes = Wishes(
        connections=sourcing.connections or config.connections,
        rate=config.rate if sourcing.rate is None else sourcing.rate,
        forms=sourcing.forms,
    )
    with (
        open_hubs(hubs, settings.http()) as sources,
        neighbourhood(store, settings, control, swarm=sourcing.swarm, named=named) as around,
    ):
        return ops.pull(
            store,
            target,
            sources,
            selection=Selection(sourcing.include, sourcing.exclude),
            wishes=wishes,
            control=control,
            around=around,
            dry_run=dry_run,
            strict=sourcing.strict,
        )


@contextmanager
def neighbourhood(
    store: Store,
    settings: Settings,
    control: Control,
    *,
    swarm: bool,
    named: bool = False,
    command: str = "pull",
) -> Iterator[Neighbourhood | None]:
    """Nothing listens on the network unless the caller asked for the swarm."""
    if not swarm:
        yield None
        return
    if not settings.config.swarm.enabled:
        raise UsageError(
            "swarm=True, and the configuration turns the swarm off",
            hint="leave swarm out, or set [swarm] enabled = true",
        )
    scope = Scope(named=named)
    with open_neighbourhood(store, settings.node(), control, scope, command=command) as around:
        yield around
