"""Mounts: handlers for paths below a prefix, beside the API that a server has by itself."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from outlast.server.http.exchange import Exchange

_TAKEN: Final = frozenset({"api", "healthz", "metrics", "models", "datasets", "spaces"})


@dataclass(frozen=True, slots=True)
class Mount:
    """`handle` answers every request for `prefix` and for what is below it. It runs on the event
    loop, after the token was checked; what it raises is answered as the hub's API answers it.

    `name` stands for these requests in the log and in the metrics. A prefix is one segment, as
    ``/ui``, and none of the hub's own.
    """

    prefix: str
    name: str
    handle: Callable[[Exchange], Awaitable[web.StreamResponse]]
    methods: frozenset[str] = frozenset({"GET", "HEAD"})

    def __post_init__(self) -> None:
        segment = self.prefix.removeprefix("/")
        if not self.prefix.startswith("/") or not segment or "/" in segment or segment in _TAKEN:
            raise ValueError(f"not a prefix for a mount: {self.prefix!r}")


class Mounts:
    """Finds the mount that a path belongs to."""

    def __init__(self, mounts: Iterable[Mount] = ()) -> None:
        """Raises ValueError where two of them have one prefix."""
        self._mounts: dict[str, Mount] = {}
        for mount in mounts:
            if self._mounts.setdefault(mount.prefix, mount) is not mount:
                raise ValueError(f"two mounts at {mount.prefix}")

    def find(self, raw_path: str) -> Mount | None:
        """The mount of a raw (still quoted) path. A file of a model whose organisation has the
        name of a prefix (``/ui/model/resolve/main/config.json``) stays the hub's.
        """
        if not self._mounts:
            return None
        parts = raw_path.partition("?")[0].split("/")
        mount = self._mounts.get(f"/{parts[1]}") if len(parts) > 1 and not parts[0] else None
        is_file = any(len(parts) > at + 2 and parts[at] == "resolve" for at in (2, 3))
        return None if is_file else mount
