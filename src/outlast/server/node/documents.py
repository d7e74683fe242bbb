"""The JSON documents of the node API, made from what the archive knows."""

import base64
from collections.abc import Callable, Sequence
from typing import Any

from outlast.codec.payload import Payload
from outlast.core.digest import Digest
from outlast.core.offer import Offer
from outlast.node import payloads
from outlast.node.in_flight import Arriving, InFlight
from outlast.sources.peer_documents import CopiesSaid, ManifestSaid
from outlast.store.archive import Archive


def model(offer: Offer) -> dict[str, Any]:
    """A line of ``models``."""
    return {
        "repo": str(offer.repo),
        "commit": offer.commit.hex,
        "manifest": offer.manifest.hex,
        "refs": list(offer.refs),
        "files": offer.files,
        "bytes": offer.size,
        "partial": offer.partial,
        "restricted": offer.restricted,
        **({"unconfirmed": True} if offer.unconfirmed else {}),
        **({"made_from": [one.hex for one in offer.made_from]} if offer.made_from else {}),
    }


def statements(found: Sequence[bytes]) -> dict[str, Any]:
    """Signed statements, as their files are."""
    return {"statements": [base64.b64encode(data).decode() for data in found]}


def copies(said: CopiesSaid, start: int, stop: int) -> dict[str, Any]:
    """The page of ``copies`` with the manifests `start` to `stop` (exclusive)."""
    return {
        "holder": said.holder,
        "site": said.site,
        "free": said.free,
        "age": said.age,
        "rows": list(map(_said, said.manifests[start:stop])),
        "next": stop if stop < len(said.manifests) else None,
        "stores": [
            {"holder": one.holder, "site": one.site, "able": one.able} for one in said.stores
        ],
    }


def _said(row: ManifestSaid) -> dict[str, Any]:
    goal = row.goal
    return {
        "manifest": row.manifest.hex,
        "repo": str(row.repo),
        "commit": row.commit.hex,
        "bytes": row.size,
        "held": row.held.value,
        "goal": None if goal is None else {"copies": goal.copies, "where": list(goal.where)},
        "failed": list(row.failed),
        "seen": [
            {"holder": seen.holder, "age": seen.age, "host": seen.host, "port": seen.port}
            for seen in row.seen
        ],
        "stored": list(row.stored),
    }


def blob(
    archive: Archive,
    digest: Digest,
    in_flight: InFlight | None,
    arriving: Arriving | None,
    may: Callable[[Payload], bool],
) -> dict[str, Any] | None:
    """What is here of a blob; None where that is nothing, and nothing of it is on its way. Payloads
    that the peer may not have are left out.
    """
    form = archive.forms.of(digest)
    if form is not None and archive.has(digest, form.size):
        root = archive.index.root_of(digest)
        forms = [_payload(payload) for payload in payloads.held(archive, digest) if may(payload)]
        return _document(form.size, root, form.size, forms)
    if in_flight is None or not may(in_flight.payload):
        if arriving is None:
            return None
        return _document(arriving.size, None, min(arriving.here(), arriving.size - 1), [])
    payload = in_flight.payload
    root = payload.root if payload.is_plain else archive.index.root_of(digest)
    return _document(in_flight.size, root, in_flight.have, [_payload(payload)])


def _document(
    size: int, root: Digest | None, have: int, forms: list[dict[str, Any]]
) -> dict[str, Any]:
    name = None if root is None else root.hex
    return {"size": size, "root": name, "have": have, "forms": forms}


def _payload(payload: Payload) -> dict[str, Any]:
    return {
        "form": payload.form.value,
        "size": payload.size,
        "root": payload.root.hex,
        "bases": [{"sha256": base.sha256.hex, "size": base.size} for base in payload.bases],
    }
