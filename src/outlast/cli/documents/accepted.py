"""Lines of `accept`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.store.words.accepted import WordKind


@document("accept")
class AcceptedDocument(Document):
    """A revision that `run` uses by the operator's word."""

    type: Literal["accepted"] = "accepted"
    manifest: Annotated[Digest, "the sha256 of its manifest"]
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    how: Annotated[WordKind, "how it was given: added or adopted by hand, or accepted by digest"]
    since: Annotated[str, "when (ISO 8601, UTC)"]
    undone: Annotated[bool, "whether it was taken back now"]


@dataclass(frozen=True, slots=True)
class CodeFilePart:
    """A file of code."""

    path: Annotated[str, "its path in the model"]
    sha256: Annotated[Digest, "its sha256"]


@document("accept")
class AllowedCodeDocument(Document):
    """With --code: Python files of a model that `run` lets an engine import."""

    type: Literal["allowed_code"] = "allowed_code"
    repo: Annotated[RepoId, "the model"]
    digest: Annotated[Digest, "that of all files together"]
    files: Annotated[Sequence[CodeFilePart], "the files"]
    since: Annotated[str, "when that was said (ISO 8601, UTC)"]
    undone: Annotated[bool, "whether it was taken back now"]
