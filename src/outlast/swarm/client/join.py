"""How a node joins the swarm of one payload."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JoinOptions:
    """`peers` (IP address, port) are tried at once. `in_order`: somebody reads the file while it
    comes. `stripe`: the node's number in a crowd that is known, and how many that has; see
    `swarm.choice`.
    """

    trackers: tuple[str, ...] = ()
    peers: Collection[tuple[str, int]] = ()
    in_order: bool = False
    stripe: tuple[int, int] | None = None
