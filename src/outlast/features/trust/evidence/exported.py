"""Evidence as plain files, for a host with `openssl` and no outlast."""

from collections.abc import Callable
from pathlib import Path

from outlast.core.digest import Digest
from outlast.core.manifest import Revision
from outlast.features.trust.evidence.reading import EvidenceFound
from outlast.store import disk

_README = """\
record.dsse.json  the record: a DSSE envelope; its payload is the statement, in base64
timestamp-N.tsr   answers of timestamp authorities (RFC 3161) about record.dsse.json
manifest.json     the manifest that the record names by its sha256
licence-N         the licence texts that it names by their sha256

Check a timestamp, with the root certificates of the authority:
  openssl ts -verify -data record.dsse.json -in timestamp-1.tsr -CAfile roots.pem
Where those of the authority have expired since, check as of a time in which they were valid:
  openssl ts -verify -data record.dsse.json -in timestamp-1.tsr -CAfile roots.pem -attime SECONDS
Read the record:
  python3 -c 'import base64, json
print(base64.b64decode(json.load(open("record.dsse.json"))["payload"]).decode())'
"""


def write_evidence(
    folder: Path,
    revision: Revision,
    one: EvidenceFound,
    text_of: Callable[[Digest], bytes | None],
) -> Path:
    """Writes a record and what it names below `folder`, in a folder of its own."""
    path = folder / one.digest.hex[:16]
    files = {"README.txt": _README.encode(), "record.dsse.json": one.data}
    files["manifest.json"] = revision.to_bytes()
    for number, stamp in enumerate(one.stamps, 1):
        files[f"timestamp-{number}.tsr"] = stamp.record.response
    for number, text in enumerate(one.record.texts, 1):
        data = text_of(text.sha256)
        if data is not None:
            files[f"licence-{number}"] = data
    with disk.reporting(path):
        path.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (path / name).write_bytes(data)
    return path
