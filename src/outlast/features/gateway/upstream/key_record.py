"""Which keys have worked: a provider that refuses a key it took before has banned it; one that
refuses a key it never took says that the operator's settings are wrong.

Kept over restarts as a digest of each endpoint's key, in the archive's folder.
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import Final

import msgspec

from outlast.core.errors import OutlastError
from outlast.features.gateway.routes.values import Endpoint
from outlast.store import disk

_MOST_BYTES: Final = 1024 * 1024
_log = logging.getLogger(__name__)


class KeyRecord:
    """The endpoints whose present key has worked. Belongs to one thread, but for :meth:`write`."""

    def __init__(self, path: Path | None) -> None:
        """`path` None: nothing is kept. A file that cannot be read counts as an empty one: then a
        ban looks as a wrong key once, and requests go on to the next target all the same.
        """
        self._path = path
        self._worked = self._read()

    def _read(self) -> dict[str, str]:
        if self._path is None:
            return {}
        try:
            with open(self._path, "rb") as file:
                data = file.read(_MOST_BYTES)
            return msgspec.json.decode(data, type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, msgspec.DecodeError) as error:
            _log.warning("which keys worked cannot be read: %s", error)
            return {}

    def worked(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint took its present key before, from this process or another one of
        the gateway's: to be asked when it refuses it, for the file is read again.
        """
        if endpoint.key is None:
            return False
        digest = _digest(endpoint)
        if self._worked.get(endpoint.name) != digest:
            said = self._read().get(endpoint.name)
            if said is not None:
                self._worked[endpoint.name] = said
        return self._worked.get(endpoint.name) == digest

    def note(self, endpoint: Endpoint) -> bool:
        """Notes that it took it. True where that is news, which :meth:`write` keeps."""
        if endpoint.key is None or self._worked.get(endpoint.name) == _digest(endpoint):
            return False
        self._worked[endpoint.name] = _digest(endpoint)
        return self._path is not None

    def write(self) -> None:
        """Keeps what was noted, beside what other processes have. Any thread; what the disk
        refuses is logged.
        """
        if self._path is None:
            return
        try:
            with disk.reporting(self._path):
                disk.make_dir(self._path.parent)
                lock = self._path.with_name(f"{self._path.name}.lock")
                with disk.locked(lock, exclusive=True):
                    self._write()
        except OutlastError as error:
            _log.warning("that a key worked is not kept: %s", error)

    def _write(self) -> None:
        assert self._path is not None
        temp = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        data = msgspec.json.encode({**self._read(), **self._worked})
        disk.write_temp(temp, data, disk.PRIVATE)
        disk.publish(temp, self._path)


def _digest(endpoint: Endpoint) -> str:
    said = f"{endpoint.urls}\0{endpoint.key or ''}"
    return hashlib.sha256(said.encode()).hexdigest()
