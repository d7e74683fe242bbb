"""How a node joins the swarm of one payload."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JoinOptions:
    """`peers` (IP address, port) are tried at once. `in_order`: a client reads the file while it
    is fetched. `stripe`: this node's number among the nodes that fetch the payload, and how many
    those are; see :mod:`outlast.swarm.client.picker`.
    """

    trackers: tuple[str, ...] = ()
    peers: Collection[tuple[str, int]] = ()
    in_order: bool = False
    stripe: tuple[int, int] | None = None
