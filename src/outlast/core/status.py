"""What a running node says of itself, for ``outlast status``: plain values. Sizes and totals are in
bytes, rates in bytes per second, times in seconds; an unknown name is empty.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import (
    Annotated,
    Any,
    Final,
    Self,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

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

    source: Annotated[str, "the source"]
    received: Annotated[int, "bytes from it"]


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """A payload under way: file `path` of a model, in a `form` (plain, capsule, thin) of `size`
    bytes, of which `have` are here, in `pieces` of 1 MiB. No connected peer has `lacking` of them.
    `fetcher`: this node fetches it from the origin for its LAN. `state`: fetching, waiting,
    verifying, seeding or failed. `waits_for`: why nothing comes, for people; empty if it comes.
    """

    repo: Annotated[str, "the model; empty if it is not known"]
    path: Annotated[str, "the file; empty if it is not known"]
    blob: Annotated[str, "its sha256 in hex"]
    form: Annotated[str, "what is exchanged: `plain`, `capsule` or `thin` (a delta)"]
    state: Annotated[str, "`fetching`, `waiting`, `verifying`, `seeding` or `failed`"]
    size: Annotated[int, "bytes"]
    have: Annotated[int, "bytes that are here"]
    pieces: Annotated[int, "pieces of 1 MiB"]
    lacking: Annotated[int, "pieces that no connected peer has"]
    fetcher: Annotated[bool, "whether this node fetches it from the origin for its LAN"]
    waits_for: Annotated[str, "why nothing comes, for a person; empty if it comes"]
    down_rate: Annotated[float, "bytes per second"]
    up_rate: Annotated[float, "bytes per second"]
    sources: Annotated[tuple[SourceShare, ...], "where it came from"] = ()


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A peer that bytes go to or come from, over ``tcp``, ``utp`` or ``http``: what program it
    says it is, and the `form` of what it trades with us.
    """

    address: Annotated[str, "host and port"]
    client: Annotated[str, "the program that it says it is"]
    transport: Annotated[str, "`tcp`, `utp` or `http`"]
    form: Annotated[str, "what is exchanged: `plain`, `capsule` or `thin`"]
    down_rate: Annotated[float, "bytes per second from it"]
    up_rate: Annotated[float, "bytes per second to it"]
    received: Annotated[int, "bytes from it"]
    sent: Annotated[int, "bytes to it"]
    banned: Annotated[bool, "whether it sent wrong bytes"] = False


@dataclass(frozen=True, slots=True)
class NeighbourStatus:
    """A node that was heard on this LAN, `heard` seconds ago, or one that the operator named
    (`static`); `node` is its id in hex.
    """

    node: Annotated[str, "its id in hex"]
    address: Annotated[str, "host"]
    peer_port: Annotated[int, "port of its API"]
    swarm_port: Annotated[int, "port of its BitTorrent"]
    static: Annotated[bool, "whether the operator named it"]
    heard: Annotated[float, "seconds since it was heard"]


@dataclass(frozen=True, slots=True)
class TrackerStatus:
    """A tracker, how many peers it named last, and what is wrong with it."""

    url: Annotated[str, "its URL"]
    peers: Annotated[int, "peers that it named last"]
    problem: Annotated[str, "what is wrong, for a person; empty if nothing is"] = ""


@dataclass(frozen=True, slots=True)
class DhtStatus:
    """The distributed hash table: how many of its nodes are known here."""

    enabled: Annotated[bool, "whether it is used"]
    nodes: Annotated[int, "nodes of it that are known here"]


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """What the mirror in a process may keep of what it fetched for clients, what that takes, and
    how many revisions it dropped since it started.
    """

    limit: Annotated[int, "bytes; 0: there is no mirror with a quota"] = 0
    taken: Annotated[int, "bytes that only such revisions take, promised ones included"] = 0
    dropped: Annotated[int, "revisions that were dropped since it started"] = 0
    freed: Annotated[int, "bytes of the disk that this freed"] = 0


@dataclass(frozen=True, slots=True)
class RulesStatus:
    """How often the operator's rules said what, since the process started. `asked`: whether there
    are any; `reported`: what was done, and would be refused if the rules were enforced.
    """

    asked: Annotated[bool, "whether the archive has rules"] = False
    allowed: Annotated[int, "actions that they allow"] = 0
    refused: Annotated[int, "actions that they do not allow"] = 0
    reported: Annotated[
        int, "actions that they do not allow, and that were done: they only report"
    ] = 0


@dataclass(frozen=True, slots=True)
class ParityStatus:
    """Parity beside the blobs, when the node last looked: how many files, and what they take; and
    how many blobs lack what the operator wants.
    """

    files: Annotated[int, "blobs that have parity"] = 0
    size: Annotated[int, "bytes of the disk that it takes"] = 0
    lacking: Annotated[int, "blobs that lack the parity that the settings want"] = 0


@dataclass(frozen=True, slots=True)
class CopiesStatus:
    """A model that has a goal: so many `copies` count of the `goal`, one of them `here`; `sites`
    are those that lack one. `absent` copies are on nodes that do not answer, but count for a while
    yet; `failed` ones are on nodes that did not pass a challenge, and do not count.
    """

    repo: Annotated[str, "the model"]
    commit: Annotated[str, "the revision; empty if no node has one"]
    manifest: Annotated[str, "its manifest; empty if no node has one"]
    size: Annotated[int, "bytes of its files"]
    goal: Annotated[int, "copies that are wanted"]
    copies: Annotated[int, "copies that count towards the goal"]
    absent: Annotated[int, "those of them whose node does not answer now"]
    failed: Annotated[int, "copies that do not count: their node did not pass a challenge"]
    here: Annotated[bool, "whether this node holds one"]
    met: Annotated[bool, "whether the goal is met"]
    sites: Annotated[str, "sites of the goal without a copy, with commas; empty if there is none"]
    note: Annotated[str, "what this node does about it, for a person; empty: nothing"] = ""
    stores: Annotated[str, "sites whose second home holds a copy that counts, with commas"] = ""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A process with a swarm: `command` says what it was started for, `node` is its id in hex,
    `uptime` counts seconds, `received` and `sent` count since it started. It is `seeding` so many
    payloads.
    """

    pid: Annotated[int, "process id"]
    command: Annotated[str, "what the process was started for"]
    version: Annotated[str, "of outlast"]
    node: Annotated[str, "its id in hex"]
    uptime: Annotated[float, "seconds"]
    peer_port: Annotated[int, "port of its API"]
    swarm_port: Annotated[int, "port of its BitTorrent"]
    private: Annotated[bool, "whether it talks to static peers alone"]
    down_rate: Annotated[float, "bytes per second"]
    up_rate: Annotated[float, "bytes per second"]
    received: Annotated[int, "bytes since it started"]
    sent: Annotated[int, "bytes since it started"]
    seeding: Annotated[int, "payloads that it seeds"]
    dht: Annotated[DhtStatus, "the distributed hash table"]
    trackers: Annotated[tuple[TrackerStatus, ...], "trackers that it uses"] = ()
    transfers: Annotated[tuple[TransferStatus, ...], "payloads under way"] = ()
    peers: Annotated[tuple[PeerStatus, ...], "peers that bytes go to or come from"] = ()
    neighbours: Annotated[tuple[NeighbourStatus, ...], "nodes that it knows"] = ()
    quota: Annotated[QuotaStatus, "of the mirror in this process"] = field(
        default_factory=QuotaStatus
    )
    damaged: Annotated[int, "blobs of its archive that are known to be damaged"] = 0
    rules: Annotated[RulesStatus, "what the operator's rules said"] = field(
        default_factory=RulesStatus
    )
    damaged_files: Annotated[
        tuple[str, ...], "some of them by the names of their files, as `org/name: path`"
    ] = ()
    copies: Annotated[tuple[CopiesStatus, ...], "models with a goal, the least met first"] = ()
    parity: Annotated[ParityStatus, "parity beside the blobs"] = field(default_factory=ParityStatus)

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
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(value, Mapping) or set(value) != names:
        raise MalformedError(f"{name!r} has not the fields of a {kind.__name__}")
    return kind(**{key: _field(hints[key], value[key], key) for key in names})


def _field(kind: Any, value: object, name: str) -> Any:
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple) or len(value) > _MOST_ROWS:
            raise MalformedError(f"{name!r} is not a list")
        return tuple(_field(get_args(kind)[0], item, name) for item in value)
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
