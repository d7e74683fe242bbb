"""Names in a catalogue: of targets, of roles, of files, and of catalogues themselves.

A target's path is ``org/name/REVISION`` (``datasets/org/name/REVISION``). A publisher's namespace
is an organisation.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from outlast.core.digest import GitOid
from outlast.core.errors import BadNameError, MalformedError
from outlast.core.names import RepoId, RepoKind
from outlast.store.evidence.catalogues import check_catalogue

__all__ = [
    "EVERYTHING",
    "OTHERS",
    "TargetName",
    "bins_prefix",
    "check_catalogue",
    "check_organisation",
    "check_publisher",
    "metadata_path",
    "namespace",
    "organisation_of",
    "publisher_of",
    "publisher_role",
    "target_path",
]

OTHERS: Final = "others"
"""The role of all names that no publisher has."""
_PUBLISHER: Final = "publisher-"
_BIN: Final = re.compile(r"\.[0-9]{1,2}-[0-9a-f]{1,8}\Z")
EVERYTHING: Final = ("*/*", "*/*/*", "datasets/*/*/*")
"""The patterns of `OTHERS`: a star of TUF matches no slash."""


@dataclass(frozen=True, slots=True)
class TargetName:
    """A revision as a catalogue names it."""

    repo: RepoId
    revision: GitOid

    @property
    def path(self) -> str:
        return f"{self.repo}/{self.revision}"

    @classmethod
    def parse(cls, path: str) -> "TargetName":
        """Raises :class:`MalformedError`."""
        name, _, revision = path.rpartition("/")
        try:
            found = cls(RepoId.parse(name), GitOid(revision))
        except (BadNameError, MalformedError):
            found = None
        if found is None or found.path != path:
            raise MalformedError(f"not the name of a revision in a catalogue: {path[:200]!r}")
        return found


def organisation_of(repo: RepoId) -> str:
    """In lower case, as namespaces are compared; empty for a model without one."""
    organisation, slash, _ = repo.name.partition("/")
    return organisation.lower() if slash else ""


def check_organisation(text: str) -> str:
    """`text`, if an organisation can have it. Raises :class:`BadNameError`."""
    RepoId(RepoKind.MODEL, f"{text}/x")
    if "/" in text:
        raise BadNameError(f"not an organisation: {text[:100]!r}", hint="write it without a model")
    return text


def check_publisher(organisation: str) -> str:
    """`organisation`, if it may have a publisher: its role may not have the name of another's bin.
    Raises :class:`BadNameError`.
    """
    if _BIN.search(check_organisation(organisation)):
        raise BadNameError(f"{organisation}: a bin of another publisher could have this name")
    return organisation


def publisher_role(organisation: str) -> str:
    """The role of a publisher."""
    return _PUBLISHER + organisation


def publisher_of(role: str) -> str | None:
    """The organisation whose role this is."""
    return role.removeprefix(_PUBLISHER) if role.startswith(_PUBLISHER) else None


def namespace(organisation: str) -> tuple[str, ...]:
    """The patterns of a publisher's role."""
    return f"{organisation}/*/*", f"datasets/{organisation}/*/*"


def bins_prefix(role: str, bits: int) -> str:
    """How the bins of a role are called. More bins later are others: no snapshot may forget one."""
    return f"{role}.{bits}"


def metadata_path(role: str, version: int | None) -> str:
    """The file of a role below a catalogue's address; None: the timestamp, which has no number."""
    number = "" if version is None else f"{version}."
    return f"metadata/{number}{quote(role, safe='')}.json"


def target_path(path: str, sha256: str) -> str:
    """The file of a target, as consistent snapshots of TUF name it."""
    folder, slash, name = path.rpartition("/")
    return f"targets/{quote(folder)}{slash}{sha256}.{quote(name, safe='')}"
