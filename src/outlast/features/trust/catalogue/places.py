"""Where the files of a catalogue are read: a folder (a disk, a bundle, a mounted share) or a web
server. What is read is bounded before it is taken, and believed by nothing but its signatures.
"""

import os
import stat
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from outlast.core.addresses import host_of, is_local
from outlast.core.errors import (
    BadNameError,
    CatalogueRefusedError,
    MalformedError,
    NotFoundError,
    UnreachableError,
    UsageError,
)
from outlast.core.names import check_path
from outlast.sources.http import HttpClient
from outlast.store import disk
from outlast.store.evidence.catalogues import brought_folder, brought_names

_ABSENT: Final = frozenset({403, 404, 410})
_MOST_URL: Final = 2048
BUNDLED: Final = "bundle:"
"""Before the name of a catalogue that a bundle brought."""


class CataloguePlace(Protocol):
    """Where the files of a catalogue are."""

    @property
    def name(self) -> str:
        """Its URL, or the path of the folder."""

    @property
    def is_near(self) -> bool:
        """Whether it is on this machine or its network: only then may it lead there."""

    def read(self, path: str, most: int) -> bytes:
        """A file of at most `most` bytes. Raises :class:`NotFoundError`, a transient error, or
        :class:`CatalogueRefusedError` for a longer one.
        """


class FolderPlace:
    """A folder."""

    def __init__(self, folder: Path, name: str | None = None) -> None:
        """`name`: what it is called, where that is not its path."""
        self._folder = folder
        self._name = name or str(folder)

    @property
    def name(self) -> str:
        return self._name

    @property
    def is_near(self) -> bool:
        return True

    def read(self, path: str, most: int) -> bytes:
        try:
            where = self._folder / check_path(unquote(path))
        except BadNameError as error:
            raise CatalogueRefusedError(
                f"a catalogue names a file that is not safe: {error}"
            ) from None
        with disk.reporting(where):
            try:
                # A named pipe would wait for a writer for ever.
                fd = os.open(where, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except (FileNotFoundError, NotADirectoryError):
                raise NotFoundError(
                    f"{self.name} has no {path}", hint="is it a catalogue?"
                ) from None
            with os.fdopen(fd, "rb") as file:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise CatalogueRefusedError(f"{where} is not a file")
                data = file.read(most + 1)
        return _bounded(data, most, path)


class WebPlace:
    """A folder on a web server, or a catalogue of another node (``http://NODE/catalogue/NAME``)."""

    def __init__(self, http: HttpClient, url: str) -> None:
        self._http = http
        self._url = url.rstrip("/")

    @property
    def name(self) -> str:
        return self._url

    @property
    def is_near(self) -> bool:
        return is_near(self._url)

    def read(self, path: str, most: int) -> bytes:
        with self._http.get(f"{self._url}/{path}") as response:
            if response.status in _ABSENT:
                raise NotFoundError(
                    f"{self._url} has no {path} (HTTP {response.status})",
                    hint="is it the address of a catalogue?",
                )
            if response.status != 200:
                raise UnreachableError(f"{host_of(self._url)} answers HTTP {response.status}")
            try:
                data = response.read_all(most)
            except MalformedError as error:
                raise CatalogueRefusedError(f"{path}: {error}") from error
        return _bounded(data, most, path)


def is_near(url: str) -> bool:
    """Whether the host of a URL, or of ``KIND+URL``, is this machine or one of its network, as far
    as its name tells.
    """
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError:
        return True
    return host == "localhost" or host.endswith(".localhost") or is_local(host)


def is_near_place(text: str) -> bool:
    """Whether a catalogue at this place may lead into this network, as a folder of it may."""
    return "://" not in text or is_near(text)


def open_brought(home: Path, name: str) -> FolderPlace:
    """The catalogue `name` as a bundle brought it into the archive in `home`. Raises
    :class:`NotFoundError`.
    """
    if name not in brought_names(home):
        raise NotFoundError(
            f"no bundle brought a catalogue {name[:60]!r}",
            hint="'outlast import' keeps what 'outlast export --catalogue' wrote",
        )
    return FolderPlace(brought_folder(home, name), BUNDLED + name)


def open_place(http: HttpClient, text: str, home: Path) -> FolderPlace | WebPlace:
    """The place that `text` names: an http or https URL, ``bundle:NAME`` for what a bundle brought
    into the archive in `home`, or the path of a folder. Raises :class:`UsageError`, and
    :class:`NotFoundError`.
    """
    if text.startswith(BUNDLED):
        return open_brought(home, text.removeprefix(BUNDLED))
    if "://" not in text:
        return FolderPlace(Path(os.path.abspath(text)))
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"not a URL: {text[:200]!r}: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or len(text) > _MOST_URL:
        raise UsageError(
            f"not the address of a catalogue: {text[:200]!r}",
            hint="write https://host/path, or the path of a folder",
        )
    if parts.username is not None or parts.query or parts.fragment or " " in text:
        raise UsageError("the address of a catalogue has no password, query or fragment")
    return WebPlace(http, text)


def _bounded(data: bytes, most: int, path: str) -> bytes:
    if len(data) > most:
        raise CatalogueRefusedError(f"{path} is longer than {most} bytes")
    return data
