"""The JSON documents of peers, read as hostile: types, bounds and names are checked here, and any
fault raises :class:`MalformedError`.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from outlast.codec.format import BaseRef
from outlast.codec.payload import Form, Payload
from outlast.core.addresses import plain_address
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import BadNameError, MalformedError
from outlast.core.keep_list import MAX_COPIES, Goal, is_site
from outlast.core.manifest import MAX_FILE_SIZE, MAX_FILES
from outlast.core.names import RepoId, check_ref
from outlast.core.offer import Offer
from outlast.core.records.lineage import MOST_ANCESTORS

MOST_MODELS: Final = 1000
"""In one page."""
_MOST_REFS = 1000
_MOST_FORMS = 16
_MOST_BASES = 64
_MOST_BYTES = 1 << 62
MOST_SEEN: Final = 16
"""Holders of one manifest that a node names."""
_MOST_FAILED = 100
MOST_STORES: Final = 16
"""Second homes that a node names."""
_MOST_SECONDS = 10**9
MOST_STATEMENTS: Final = 64
"""Signed statements about one manifest that a node gives. Guess: a publisher, its revocation, and
two observers for two years."""
_NODE = re.compile(r"[0-9a-f]{40}\Z")
_HOLDER = re.compile(r"[0-9a-f]{16}\Z")


@dataclass(frozen=True, slots=True)
class PeerNode:
    """The node at a peer port: its id (20 bytes), its version, and its ports."""

    node: bytes
    version: str
    swarm_port: int
    peer_port: int
    private: bool


@dataclass(frozen=True, slots=True)
class HeldThere:
    """A peer's claim about a blob of `size` bytes: it has `have` bytes of it (all if whole), and
    seeds `forms`. `root` is that of the plain bytes.
    """

    size: int
    root: Digest | None
    have: int
    forms: tuple[Payload, ...]

    @property
    def whole(self) -> bool:
        return self.have == self.size


class HeldAs(StrEnum):
    """Whether a node has all files of a manifest: `OWN` by its operator's wish, `COPY` because
    other nodes needed a copy.
    """

    NONE = "none"
    OWN = "own"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class HolderSeen:
    """A node that holds a manifest, how many seconds ago it last said so, and where that was:
    the IP address and peer port; empty if that is not known.
    """

    holder: str
    age: int
    host: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class ManifestSaid:
    """What a node says of a manifest, whose files have `size` bytes: whether it holds them, how
    many copies it wants there to be (None: it does not say), which holders failed its challenges,
    and which it has heard of, itself first, the last one heard first.
    """

    manifest: Digest
    repo: RepoId
    commit: GitOid
    size: int
    held: HeldAs
    goal: Goal | None = None
    failed: tuple[str, ...] = ()
    seen: tuple[HolderSeen, ...] = ()
    stored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreSaid:
    """A second home that a node reaches: `holder` names it, it counts as one at `site`. `able`: the
    node can write there, as far as it knows.
    """

    holder: str
    site: str
    able: bool


@dataclass(frozen=True, slots=True)
class CopiesSaid:
    """What a node says of the copies that it holds and wants. `holder` names its archive for ever
    (16 hex digits); at its `site` it would take `free` bytes of copies more. It said so `age`
    seconds ago. It reaches `stores`.
    """

    holder: str
    site: str
    free: int
    age: int = 0
    manifests: tuple[ManifestSaid, ...] = ()
    stores: tuple[StoreSaid, ...] = ()


def read_node(document: object) -> PeerNode:
    row = _mapping(document)
    node = _text(row, "node", 40)
    if not _NODE.match(node) or _count(row, "outlast", 1) != 1:
        raise MalformedError("not a node of a version that this outlast understands")
    return PeerNode(
        node=bytes.fromhex(node),
        version=_text(row, "version", 100),
        swarm_port=_count(row, "swarm_port", 65535),
        peer_port=_count(row, "peer_port", 65535),
        private=_flag(row, "private"),
    )


def read_models(document: object) -> tuple[list[Offer], int | None]:
    """A page of models, and where the next one begins."""
    page = _mapping(document)
    rows = _list(page, "models", MOST_MODELS)
    following = None if page.get("next") is None else _count(page, "next", 10**9)
    return [_read_model(_mapping(row)) for row in rows], following


def _read_model(row: dict[str, Any]) -> Offer:
    refs = _list(row, "refs", _MOST_REFS)
    try:
        repo = RepoId.parse(_text(row, "repo", 300))
        names = tuple(check_ref(str(ref)) for ref in refs)
    except BadNameError as error:
        raise MalformedError(f"a model with a bad name: {error}") from error
    return Offer(
        repo=repo,
        commit=GitOid(_text(row, "commit", 40)),
        manifest=Digest(_text(row, "manifest", 64)),
        refs=names,
        files=_count(row, "files", MAX_FILES),
        size=_count(row, "bytes", _MOST_BYTES),
        partial=_flag(row, "partial"),
        restricted=_flag(row, "restricted") if "restricted" in row else False,
        unconfirmed=_flag(row, "unconfirmed") if "unconfirmed" in row else False,
        made_from=_ancestors(row) if "made_from" in row else (),
    )


def _ancestors(row: dict[str, Any]) -> tuple[Digest, ...]:
    found = _list(row, "made_from", MOST_ANCESTORS)
    return tuple(Digest(_text({"": one}, "", 64)) for one in found)


def read_payloads(document: object, asked: Iterable[Digest]) -> dict[Digest, HeldThere]:
    """The payloads of the blobs that were asked for; others are refused."""
    found = _mapping(_mapping(document).get("payloads"))
    names = {blob.hex: blob for blob in asked}
    if unknown := found.keys() - names.keys():
        raise MalformedError(f"payloads of a blob that was not asked for: {min(unknown)[:64]!r}")
    return {names[name]: _read_held(names[name], _mapping(row)) for name, row in found.items()}


def _read_held(blob: Digest, row: dict[str, Any]) -> HeldThere:
    size, root = _count(row, "size", MAX_FILE_SIZE), row.get("root")
    held = HeldThere(
        size=size,
        root=None if root is None else Digest(_text(row, "root", 64)),
        have=_count(row, "have", size),
        forms=tuple(
            _read_payload(blob, _mapping(form)) for form in _list(row, "forms", _MOST_FORMS)
        ),
    )
    for payload in held.forms:
        if payload.is_plain and (
            payload.size != size or payload.root != (held.root or payload.root)
        ):
            raise MalformedError(f"{blob.short}… is said to be two different files")
    return held


def _read_payload(blob: Digest, row: dict[str, Any]) -> Payload:
    try:
        form = Form(_text(row, "form", 20))
    except ValueError:
        raise MalformedError(f"{blob.short}… in an unknown form") from None
    bases = [_mapping(base) for base in _list(row, "bases", _MOST_BASES)]
    payload = Payload(
        blob=blob,
        form=form,
        size=_count(row, "size", MAX_FILE_SIZE),
        root=Digest(_text(row, "root", 64)),
        bases=tuple(
            BaseRef(Digest(_text(base, "sha256", 64)), _count(base, "size", MAX_FILE_SIZE))
            for base in bases
        ),
    )
    if payload.size == 0 or bool(payload.bases) != (form is Form.DELTA):
        raise MalformedError(f"{blob.short}… in an impossible form")
    return payload


def read_copies(document: object, most: int = MOST_MODELS) -> tuple[CopiesSaid, int | None]:
    """A page of what a node says of up to `most` copies, and where the next one begins."""
    page = _mapping(document)
    following = None if page.get("next") is None else _count(page, "next", 10**9)
    site = _text(page, "site", 32)
    if not is_site(site):
        raise MalformedError("'site' is not the name of a site")
    said = CopiesSaid(
        holder=_holder(page.get("holder")),
        site=site,
        free=_count(page, "free", _MOST_BYTES),
        age=_count(page, "age", _MOST_SECONDS),
        manifests=tuple(_read_said(_mapping(r)) for r in _list(page, "rows", most)),
        stores=tuple(_read_store(_mapping(r)) for r in _stores(page, "stores")),
    )
    return said, following


def _read_said(row: dict[str, Any]) -> ManifestSaid:
    try:
        repo = RepoId.parse(_text(row, "repo", 300))
        held = HeldAs(_text(row, "held", 10))
    except BadNameError as error:
        raise MalformedError(f"a model with a bad name: {error}") from error
    except ValueError:
        raise MalformedError("'held' is an unknown word") from None
    return ManifestSaid(
        manifest=Digest(_text(row, "manifest", 64)),
        repo=repo,
        commit=GitOid(_text(row, "commit", 40)),
        size=_count(row, "bytes", _MOST_BYTES),
        held=held,
        goal=None if row.get("goal") is None else _read_goal(_mapping(row["goal"])),
        failed=tuple(map(_holder, _list(row, "failed", _MOST_FAILED))),
        seen=tuple(map(_read_seen, _list(row, "seen", MOST_SEEN))),
        stored=tuple(map(_holder, _stores(row, "stored"))),
    )


def _stores(row: dict[str, Any], key: str) -> list[Any]:
    """A node without second homes may say nothing of them."""
    return _list(row, key, MOST_STORES) if key in row else []


def _read_store(row: dict[str, Any]) -> StoreSaid:
    site = _text(row, "site", 32)
    if not is_site(site):
        raise MalformedError("the 'site' of a store is not the name of a site")
    return StoreSaid(_holder(row.get("holder")), site, _flag(row, "able"))


def _read_goal(row: dict[str, Any]) -> Goal:
    copies, where = _count(row, "copies", MAX_COPIES), _list(row, "where", MAX_COPIES)
    sites = tuple(site for site in where if isinstance(site, str) and is_site(site))
    if len({*sites}) != len(where) or not len(sites) <= copies or not copies:
        raise MalformedError("'where' is not a list of as many sites as copies, or fewer")
    return Goal(copies, sites)


def _read_seen(value: object) -> HolderSeen:
    row = _mapping(value)
    host, port = plain_address(_text(row, "host", 64)), _count(row, "port", 65535)
    return HolderSeen(_holder(row.get("holder")), _count(row, "age", _MOST_SECONDS), host, port)


def _holder(value: object) -> str:
    if not isinstance(value, str) or not _HOLDER.match(value):
        raise MalformedError("a holder that is not 16 hex digits")
    return value


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError("expected a JSON object")
    return value


def _list(row: dict[str, Any], key: str, most: int) -> list[Any]:
    value = row.get(key)
    if not isinstance(value, list) or len(value) > most:
        raise MalformedError(f"{key!r} is not a list of up to {most}")
    return value


def _text(row: dict[str, Any], key: str, most: int) -> str:
    value = row.get(key)
    if not isinstance(value, str) or len(value) > most:
        raise MalformedError(f"{key!r} is not a text of up to {most} characters")
    return value


def _count(row: dict[str, Any], key: str, most: int) -> int:
    value = row.get(key)
    if type(value) is not int or not 0 <= value <= most:
        raise MalformedError(f"{key!r} is not a number up to {most}")
    return value


def _flag(row: dict[str, Any], key: str) -> bool:
    value = row.get(key)
    if not isinstance(value, bool):
        raise MalformedError(f"{key!r} is neither true nor false")
    return value


def read_statements(document: Any) -> tuple[bytes, ...]:
    """The files of an answer to ``statements``; what they say is not looked at."""
    rows = document.get("statements") if isinstance(document, dict) else None
    if not isinstance(rows, list) or len(rows) > MOST_STATEMENTS:
        raise MalformedError("a peer's list of statements is none, or too long")
    try:
        return tuple(base64.b64decode(row, validate=True) for row in rows)
    except (TypeError, ValueError):
        raise MalformedError("a peer's statement is not in base64") from None
