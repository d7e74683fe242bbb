"""Which holders count as one, and what would be lost with a hub: pure functions.

Two URLs of one host, or of hosts of one registrable name, are one holder; so are all nodes on the
LAN that no operator named, and all peers that trackers and the DHT name: one machine can
be many of those. What a holder says to have is not proved by saying so.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from outlast.core.names import RepoId

STRANGERS: Final = "strangers on the LAN"
SWARM: Final = "swarm"
_SECOND_LEVELS: Final = frozenset({"ac", "co", "com", "edu", "gov", "net", "org"})
_COUNTRY: Final = 2


def group_of(url_or_host: str) -> str:
    """What counts as one holder with all others of that group: the registrable name of the host,
    or its address. Which names can be registered is guessed: the last two labels, or three below
    ``co.uk`` and the like. Too wide a guess makes two holders one, and never one two.
    """
    host = url_or_host
    if host.startswith("s3://"):
        return "s3"  # which says of no two buckets that two stores have them
    if "://" in url_or_host:
        try:
            host = urlsplit(url_or_host).hostname or url_or_host
        except ValueError:
            return url_or_host
    host = host.partition("%")[0].strip("[]").rstrip(".").lower()
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        labels = host.split(".")
    country = len(labels) > _COUNTRY and len(labels[-1]) == _COUNTRY
    return ".".join(labels[-3:] if country and labels[-2] in _SECOND_LEVELS else labels[-2:])


@dataclass(frozen=True, slots=True)
class Risked:
    """A model of `size` bytes: the groups that hold all of it, those of them that are hubs or other
    places which the configuration names, and whether it is all here.
    """

    repo: RepoId
    size: int
    groups: frozenset[str]
    hubs: frozenset[str]
    here: bool


@dataclass(frozen=True, slots=True)
class HubLoss:
    """What would have no other known holder if `hub` went away: the models `only_here`, which this
    archive would be the last to have, and those that would be `lost`.
    """

    hub: str
    only_here: tuple[Risked, ...]
    lost: tuple[Risked, ...]

    @property
    def models(self) -> int:
        return len(self.only_here) + len(self.lost)

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return self.lost_size + sum(kept.size for kept in self.only_here)

    @property
    def lost_size(self) -> int:
        return sum(kept.size for kept in self.lost)


def losses(kept: Iterable[Risked]) -> tuple[HubLoss, ...]:
    """What depends on one hub alone, for each hub of which that is so; the worst first."""
    alone: dict[str, list[Risked]] = {}
    for one in kept:
        if len(one.groups) == 1 and one.groups <= one.hubs:
            alone.setdefault(next(iter(one.groups)), []).append(one)
    found = (_loss(hub, models) for hub, models in alone.items())
    return tuple(sorted(found, key=lambda loss: (-loss.lost_size, -loss.size, loss.hub)))


def _loss(hub: str, models: Iterable[Risked]) -> HubLoss:
    ordered = sorted(models, key=lambda one: (-one.size, one.repo))
    here = tuple(one for one in ordered if one.here)
    return HubLoss(hub, here, tuple(one for one in ordered if not one.here))


def risk_order(holders: Mapping[RepoId, int | None]) -> list[RepoId]:
    """The models in the order in which they should be asked for: those of which nothing is known,
    then those with the fewest holders.
    """

    def rank(repo: RepoId) -> tuple[int, RepoId]:
        count = holders[repo]
        return (-1 if count is None else count, repo)

    return sorted(holders, key=rank)
