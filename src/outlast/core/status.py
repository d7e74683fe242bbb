"""What a running node says of itself, for ``outlast status``: plain values. Sizes and totals are in
bytes, rates in bytes per second, times in seconds; an unknown name is empty.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self, TypeVar, get_args, get_origin, get_type_hints

from outlast.core.errors import MalformedError

STATUS_TYPE: Final = "outlast-status-v1"
MAX_STATUS_BYTES: Final = 64 * 1024 * 1024
_MOST_ROWS = 100_000
_MOST_TEXT = 4096
_MOST = 1 << 62

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SourceShare:
    """How many bytes of a transfer a source gave."""

    source: str
    received: int


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """A payload under way: file `path` of a model, in a `form` (plain, capsule, thin) of `size`
    bytes, of which `have` are here, in `pieces` of 1 MiB. No connected peer has `lacking` of them.
    `fetcher`: this node fetches it from the origin for its LAN. `state`: fetching, waiting,
    verifying, seeding or failed. `waits_for`: why nothing comes, for people; empty if it comes.
    """

    repo: str
    path: str
    blob: str
    form: str
    state: str
    size: int
    have: int
    pieces: int
    lacking: int
    fetcher: bool
    waits_for: str
    down_rate: float
    up_rate: float
    sources: tuple[SourceShare, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A peer that bytes go to or come from, over ``tcp``, ``utp`` or ``http``: what program it
    says it is, and the `form` of what it trades with us.
    """

    address: str
    client: str
    transport: str
    form: str
    down_rate: float
    up_rate: float
    received: int
    sent: int
    banned: bool = False


@dataclass(frozen=True, slots=True)
class NeighbourStatus:
    """A node that was heard on this LAN, `heard` seconds ago, or one that the operator named
    (`static`); `node` is its id in hex.
    """

    node: str
    address: str
    peer_port: int
    swarm_port: int
    static: bool
    heard: float


@dataclass(frozen=True, slots=True)
class TrackerStatus:
    """A tracker, how many peers it named last, and what is wrong with it."""

    url: str
    peers: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DhtStatus:
    """The distributed hash table: how many of its nodes are known here."""

    enabled: bool
    nodes: int


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A process with a swarm: `command` says what it was started for, `node` is its id in hex,
    `uptime` counts seconds, `received` and `sent` count since it started. It is `seeding` so many
    payloads.
    """

    pid: int
    command: str
    version: str
    node: str
    uptime: float
    peer_port: int
    swarm_port: int
    private: bool
    down_rate: float
    up_rate: float
    received: int
    sent: int
    seeding: int
    dht: DhtStatus
    trackers: tuple[TrackerStatus, ...] = ()
    transfers: tuple[TransferStatus, ...] = ()
    peers: tuple[PeerStatus, ...] = ()
    neighbours: tuple[NeighbourStatus, ...] = ()

    @property
    def ratio(self) -> float | None:
        """Bytes given for each byte that came; None where none came."""
        return self.sent / self.received if self.received else None

    def to_json(self) -> dict[str, Any]:
        return {"type": STATUS_TYPE, **asdict(self)}

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Reads what another process says; raises :class:`MalformedError`."""
        if not isinstance(document, dict) or document.get("type") != STATUS_TYPE:
            raise MalformedError("not the status of a node")
        return _read(
            cls, {key: value for key, value in document.items() if key != "type"}, "status"
        )


def _read(kind: type[T], value: object, name: str) -> T:
    """`value` as one of the classes above: every field, and nothing else."""
    hints = get_type_hints(kind)
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(value, Mapping) or set(value) != names:
        raise MalformedError(f"{name!r} has not the fields of a {kind.__name__}")
    return kind(**{key: _field(hints[key], value[key], key) for key in names})


def _field(kind: Any, value: object, name: str) -> Any:
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple) or len(value) > _MOST_ROWS:
            raise MalformedError(f"{name!r} is not a list")
        return tuple(_read(get_args(kind)[0], item, name) for item in value)
    if kind is str:
        right = isinstance(value, str) and len(value) <= _MOST_TEXT
    elif kind is bool:
        right = isinstance(value, bool)
    elif kind is int:
        right = type(value) is int and 0 <= value <= _MOST
    elif kind is float:
        right = isinstance(value, int | float) and type(value) is not bool and 0 <= value <= _MOST
    else:
        return _read(kind, value, name)
    if not right:
        raise MalformedError(f"{name!r} is not a {kind.__name__} that makes sense")
    return value
