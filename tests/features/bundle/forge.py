"""Bundles whose sums are right and whose contents are what a test says: written from the format's
document alone, so that anything may stand in them.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rfc8785

from outlast.codec import kernels

BLOCK, ROWS = 4096, 4
GIT = "a" * 40
_NOTHING: Mapping[str, Any] = {}
_HEADER = struct.Struct("<8sHHIIIHHIQQ32s40x")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def manifest(name: str, files: Mapping[str, bytes], change: Mapping[str, Any] = _NOTHING) -> bytes:
    """That of a model; `change` replaces keys."""
    entries: list[dict[str, Any]] = [
        {"path": path, "size": len(data), "sha256": sha256(data)}
        for path, data in sorted(files.items())
    ]
    document: dict[str, Any] = {
        "type": "outlast-manifest-v1",
        "kind": "model",
        "name": name,
        "commit": GIT,
    }
    return rfc8785.dumps({**document, "files": entries, **change})


def payload(
    blob: bytes, stored: bytes | None = None, change: Mapping[str, Any] = _NOTHING
) -> tuple[dict[str, Any], bytes]:
    """An entry of the contents, and the bytes in the stream: a capsule if `stored` is given."""
    data = blob if stored is None else stored
    entry = {
        "blob": sha256(blob),
        "size": len(blob),
        "form": "plain" if stored is None else "capsule",
        "length": len(data),
    }
    return {**entry, **change}, data


class Forged:
    """A bundle of one model. `contents` and `records` may be changed before it is written."""

    def __init__(
        self,
        manifests: list[bytes],
        payloads: list[tuple[dict[str, Any], bytes]],
        name: str = "org/name",
    ) -> None:
        self.records = manifests
        self.body = b"".join(manifests)
        records: list[dict[str, Any]] = []
        offset = 0
        for data in manifests:
            path = f"manifests/{sha256(data)}.json"
            records.append(
                {"path": path, "sha256": sha256(data), "size": len(data), "offset": offset}
            )
            offset += len(data)
        entries: list[dict[str, Any]] = []
        for entry, data in payloads:
            entries.append({**entry, "offset": offset})
            offset += len(data)
            self.body += data
        model = {
            "kind": "model",
            "name": name,
            "private": False,
            "gated": False,
            "tags": ["license:mit"],
            "facts": {},
            "manifests": sorted(sha256(data) for data in manifests),
            "refs": [{"name": "main", "commit": GIT}],
        }
        self.contents: dict[str, Any] = {
            "type": "outlast-bundle-v1",
            "layout": {"block": BLOCK, "rows": ROWS, "group": 16, "parity": 0},
            "sequence": 1,
            "since": None,
            "assumed": {"blobs": [], "manifests": []},
            "models": [model],
            "records": records,
            "payloads": entries,
        }

    def write(self, folder: Path, encoded: bytes | None = None) -> Path:
        """`encoded`: the contents, where they are not to be the canonical JSON."""
        data = rfc8785.dumps(self.contents) if encoded is None else encoded
        padded = data + bytes(-len(data) % BLOCK)
        stream = padded + self.body
        name = hashlib.sha256(data).digest()
        blocks = [stream[at : at + BLOCK] for at in range(0, len(stream), BLOCK)]
        sums = []
        for part in range(-(-len(blocks) // ROWS)):
            mine = blocks[part * ROWS : (part + 1) * ROWS]
            sums.append(self._part(folder, name, part, mine, (len(stream), len(data))))
        for record in self.records:
            path = folder / "manifests" / f"{sha256(record)}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(record)
        if encoded is None:
            self._document(folder, sums)
        return folder

    def _part(
        self, folder: Path, name: bytes, part: int, blocks: list[bytes], lengths: tuple[int, int]
    ) -> dict[str, Any]:
        head = _HEADER.pack(
            *(b"\x89OLB\r\n\x1a\n", 1, 0, part, BLOCK, ROWS, 16, 0, len(blocks), *lengths, name)
        )
        head += struct.pack("<Q", kernels.xxh3(head))
        data = head
        for row, block in enumerate(blocks):
            whole = block.ljust(BLOCK, b"\0")
            place = struct.pack("<32sIIQ", name, part, row, kernels.xxh3(whole))
            data += whole + struct.pack("<Q", kernels.xxh3(place))
        data += head
        path = folder / "parts" / f"{part:05}.olb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {"number": part, "size": len(data), "sha256": sha256(data)}

    def _document(self, folder: Path, sums: list[dict[str, Any]]) -> None:
        document = {
            "type": "outlast-bundle-file-v1",
            "id": sha256(rfc8785.dumps(self.contents)),
            "contents": self.contents,
            "made": "2026-11-30T00:00:00+00:00",
            "parts": sums,
        }
        write_document(folder, document)


def write_document(folder: Path, document: Mapping[str, Any]) -> None:
    """bundle.json, with the right check."""
    rest = {key: value for key, value in document.items() if key != "check"}
    check = sha256(rfc8785.dumps(rest))
    (folder / "bundle.json").write_bytes(rfc8785.dumps({**rest, "check": check}))


def read_document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "bundle.json").read_bytes())
    return found
