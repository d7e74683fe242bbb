"""What an OpenSSF model signature says: the digests of files, by path. It has no size, no revision
and no version, and the name in it is that of a folder: a renamed or an older model passes.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.core.manifest import Revision, load_json
from outlast.features.trust.foreign.openssf_bundle import MAX_SIGNATURE_FILE, MOST_PARTS
from outlast.features.trust.records.statement import STATEMENT_TYPE

PREDICATE: Final = "https://model_signing/signature/v1.0"
SIGNATURE_FILE: Final = "model.sig"
GIT_PATHS: Final = (".git", ".gitattributes", ".github", ".gitignore")
"""What model-signing leaves out by default, and takes no notice of where it checks."""
FILES: Final = "files"
_SHA256: Final = "sha256"
_HEX: Final = re.compile(r"([0-9a-f]{2}){16,64}\Z")
_MOST_NAME: Final = 4096


@dataclass(frozen=True, slots=True)
class ModelStatement:
    """`resources`: digests in hex, by path, or by piece of a file where `method` is not "files".
    `ignored`: paths that the signer left out on purpose.
    """

    name: str
    method: str
    algorithm: str
    ignored: tuple[str, ...]
    resources: Mapping[str, str]

    @property
    def has_whole_files(self) -> bool:
        """Whether its digests are those of a manifest, so that no file need be read."""
        return self.method == FILES and self.algorithm == _SHA256

    def leaves_out(self, path: str) -> bool:
        """Whether the signer left a file out on purpose."""
        return any(path == name or path.startswith(f"{name}/") for name in self.ignored)

    @classmethod
    def read(cls, payload: bytes) -> Self:
        """Raises :class:`MalformedError`."""
        document = load_json(payload, MAX_SIGNATURE_FILE, containers=MOST_PARTS)
        said = _object(document)
        if said.get("_type") != STATEMENT_TYPE or said.get("predicateType") != PREDICATE:
            raise MalformedError("a statement of another type or version")
        subjects = said.get("subject")
        if not isinstance(subjects, list) or len(subjects) != 1:
            raise MalformedError("a statement about more or less than one thing")
        predicate = _object(said.get("predicate"))
        how = _object(predicate.get("serialization"))
        rows = predicate.get("resources")
        if not isinstance(rows, list) or not rows:
            raise MalformedError("a statement without files")
        resources: dict[str, str] = {}
        algorithms = set()
        for name, algorithm, digest in map(_resource, rows):
            if resources.setdefault(name, digest) is not digest:
                raise MalformedError(f"{name[:100]!r} is there twice")
            algorithms.add(algorithm)
        _require_root(_object(subjects[0]), resources)
        ignored = how.get("ignore_paths", [])
        if not isinstance(ignored, list):
            raise MalformedError("the ignored paths are no list")
        return cls(
            name=_text(_object(subjects[0]).get("name")),
            method=_text(how.get("method")),
            algorithm=algorithms.pop() if len(algorithms) == 1 else "several",
            ignored=tuple(map(_text, ignored)),
            resources=resources,
        )


def statement_of(revision: Revision) -> tuple[bytes, int]:
    """The payload of a statement about all files of a revision but those that model-signing leaves
    out by default; and how many files it has.
    """
    left_out = (*GIT_PATHS, SIGNATURE_FILE)
    how = {
        "method": FILES,
        "hash_type": _SHA256,
        "allow_symlinks": False,
        "ignore_paths": list(left_out),
    }
    rows = [
        {"name": path, "algorithm": _SHA256, "digest": digest.hex}
        for path, digest in _digests(revision)
        if not any(path == name or path.startswith(f"{name}/") for name in left_out)
    ]
    root = hashlib.sha256(b"".join(bytes.fromhex(row["digest"]) for row in rows)).hexdigest()
    document = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": revision.repo.name, "digest": {_SHA256: root}}],
        "predicateType": PREDICATE,
        "predicate": {"serialization": how, "resources": rows},
    }
    return json.dumps(document, ensure_ascii=False).encode(), len(rows)


def _digests(revision: Revision) -> Iterator[tuple[str, Digest]]:
    for entry in revision.files:
        assert entry.sha256 is not None
        yield entry.path, entry.sha256


def _require_root(subject: Mapping[str, Any], resources: Mapping[str, str]) -> None:
    """The subject's digest is that of all digests, one after the other."""
    digest = _object(subject.get("digest")).get(_SHA256)
    found = hashlib.sha256(b"".join(map(bytes.fromhex, resources.values()))).hexdigest()
    if digest != found:
        raise MalformedError("the digest of the whole does not match those of the files")


def _resource(row: object) -> tuple[str, str, str]:
    said = _object(row)
    digest = _text(said.get("digest"))
    if not _HEX.match(digest):
        raise MalformedError("a file without a digest")
    return _text(said.get("name")), _text(said.get("algorithm")), digest


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError("a part of the statement is no JSON object")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MOST_NAME:
        raise MalformedError("a part of the statement is no text")
    return value
