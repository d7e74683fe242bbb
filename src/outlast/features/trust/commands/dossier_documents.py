"""Lines of `dossier`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId


@document("dossier")
class DossierDocument(Document):
    """A dossier that was written."""

    type: Literal["dossier"] = "dossier"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    manifest: Annotated[Digest | None, "the manifest; null while files are arriving"]
    path: Annotated[Path, "the page"]
    sha256: Annotated[Digest, "of the page"]
    signature: Annotated[Path | None, "the file of the signature; null: it is not signed"]
    keys: Annotated[Sequence[str], "fingerprints of the keys that signed it"]
    sealed_runs: Annotated[int, "sealed runs of this manifest that it shows"]


@document("dossier")
class CheckedDossierDocument(Document):
    """A dossier whose signature was checked (`--check`). Whether the keys count, is not said."""

    type: Literal["dossier-checked"] = "dossier-checked"
    path: Annotated[Path, "the page"]
    keys: Annotated[Sequence[str], "fingerprints of the keys that signed it"]
    repo: Annotated[str, "the model that the signature names"]
    revision: Annotated[str, "the commit that it names"]
    manifest: Annotated[str, "the manifest that it names; empty: none"]
    made: Annotated[str, "when the page was written (ISO 8601, UTC), as it says"]
