"""Asks a hub for the objects of one commit by git's smart HTTP, protocol version 2 (gitprotocol-v2
and gitprotocol-http of git's documentation): without history, and without the bytes of files.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable
from urllib.parse import urlsplit

from outlast.codec.git.packs import MAX_PACK, read_pack
from outlast.core.digest import GitOid
from outlast.core.errors import MalformedError, RepoNotFoundError
from outlast.core.names import RepoId
from outlast.sources.base import Source
from outlast.sources.git.packets import DELIMITER, FLUSH, pack_in, packet, packets
from outlast.sources.http import HttpClient, Response
from outlast.sources.settings import origin
from outlast.sources.tuning import TUNING, Tuning

COMMIT_ALONE: Final = "tree:0"
COMMIT_AND_FOLDERS: Final = "blob:none"
_SERVICE: Final = "git-upload-pack"
_REFS: Final = f"/info/refs?service={_SERVICE}"
_VERSION: Final = {"Git-Protocol": "version=2"}
_NEEDED: Final = frozenset({"filter", "shallow"})


@runtime_checkable
class GitSource(Source, Protocol):
    """A source that keeps models as git repositories."""

    def repository(self, repo: RepoId) -> "GitRepository":
        """That of a model. Asks nothing yet."""


@dataclass(slots=True)
class GitRepository:
    """A repository at `url`, asked with `token`, if any: the password of a name that hubs do not
    look at. Used by one thread.
    """

    http: HttpClient
    url: str
    token: str | None = None
    tuning: Tuning = TUNING
    _place: str = field(default="", init=False)

    def objects(self, commit: GitOid, filters: str) -> dict[GitOid, tuple[str, bytes]]:
        """What the hub gives of a commit: kind and bytes, by their ids, which follow from these.
        Raises errors of sources, and :class:`MalformedError` where it does not speak the protocol,
        or leaves no files out.
        """
        place = self._place or self._found()
        order = [
            packet("command=fetch"),
            packet("object-format=sha1"),
            DELIMITER,
            packet("no-progress"),
            packet("ofs-delta"),
            packet(f"want {commit}"),
            packet("deepen 1"),
            packet(f"filter {filters}"),
            packet("done"),
            FLUSH,
        ]
        headers = {
            **_VERSION,
            "Content-Type": f"application/x-{_SERVICE}-request",
            "Accept": f"application/x-{_SERVICE}-result",
        }
        with self.http.ask(
            f"{place}/{_SERVICE}",
            headers=headers,
            body=b"".join(order),
            token=self._secret,
            timeout=self.tuning.git_s,
        ) as response:
            _require(response, "result")
            data = response.read_all(MAX_PACK + MAX_PACK // 64, self.tuning.git_s)
        return read_pack(pack_in(packets(data)))

    def _found(self) -> str:
        """Where the repository is, if the hub says that it can do what it takes."""
        headers = dict(_VERSION)
        with self.http.get(
            f"{self.url}{_REFS}", headers=headers, token=self._secret, timeout=self.tuning.git_s
        ) as response:
            _require(response, "advertisement")
            place = response.url.removesuffix(_REFS)
            if place == response.url or origin(place) != origin(self.url):
                raise MalformedError("the repository is at another place")
            data = response.read_all(self.tuning.git_offer, self.tuning.git_s)
        _require_abilities(packets(data))
        self._place = place
        return place

    @property
    def _secret(self) -> str | None:
        if self.token is None or ":" in self.token:
            return self.token
        return f"outlast:{self.token}"


def _require(response: Response, what: str) -> None:
    """Raises unless the answer is one of git."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
    if response.status != 200 or kind != f"application/x-{_SERVICE}-{what}":
        host = urlsplit(response.url).hostname
        raise RepoNotFoundError(f"{host} gives no repository of git (HTTP {response.status})")


def _require_abilities(lines: Iterable[bytes | None]) -> None:
    """Raises unless the hub speaks version 2, names objects by SHA-1, and can leave files out."""
    said = [line.rstrip(b"\n").decode(errors="replace") for line in lines if line is not None]
    abilities = dict(line.partition("=")[::2] for line in said)
    if "version 2" not in said:
        raise MalformedError("the hub does not speak version 2 of git's protocol")
    if abilities.get("object-format", "sha1") != "sha1":
        raise MalformedError("the hub names objects by another digest")
    if _NEEDED - set(abilities.get("fetch", "").split()):
        raise MalformedError("the hub cannot leave files out of what it sends")
