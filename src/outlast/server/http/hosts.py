"""Whom a request is meant for: names that a browser may know this server by, and pages of others.

A page can let its own name lead to this machine (DNS rebinding) and is then of one origin with a
server here, for the browser. What it cannot choose is the ``Host`` that the browser sends: the
page's own name. So names are answered only where they are this server's. Addresses always are: a
page whose origin is an address came from what listens there.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from outlast.server.http.replies import closing, failure

_LOOPBACK: Final = ("localhost", "ip6-localhost", "ip6-loopback")
_PRIVATE: Final = ("local", "lan", "internal", "home.arpa", "localdomain")
"""Top-level names that are not for sale: a machine's own name may end with them on its LAN."""
_AUTHORITY: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})(?:%[A-Za-z0-9._~%-]{1,64})?\]"
    r"|(?P<name>[A-Za-z0-9._-]{1,255}))(?::[0-9]{1,5})?\Z"
)
_CROSSED: Final = frozenset({"cross-site", "same-site"})
_DATA: Final = frozenset({"api", "resolve", "raw", "metrics", "v1", "v2", "outlast"})
"""Segments of paths that pages of others may not even lead their visitors to."""


_MOST_KNOWN: Final = 100


class Hosts:
    """The names that a server answers to."""

    def __init__(
        self, listen: str, named: Iterable[str] = (), *, local_pages: bool = False
    ) -> None:
        """`listen` is the address that it listens on (empty: all of them), `named` are further
        names. Where others can reach it, this machine's own name counts too. With `local_pages`,
        pages of other servers on loopback may use this one.
        """
        self._local_pages = local_pages
        names = {*_LOOPBACK, *map(_plain, named)}
        if not _is_address(listen) and listen:
            names.add(_plain(listen))
        if not _is_loopback(listen):
            own = _plain(socket.gethostname())
            label = own.partition(".")[0]
            names |= {own, label, *(f"{label}.{end}" for end in _PRIVATE)}
        self._names = frozenset(names - {""})
        self._known: set[str] = set()
        """Authorities that were found to be this server's: clients send the same ones."""

    def knows(self, authority: str) -> bool | None:
        """Whether ``name:port`` is this server; None where it is no such text at all."""
        if authority in self._known:
            return True
        found = self._knows(authority)
        if found and len(self._known) < _MOST_KNOWN:
            self._known.add(authority)
        return found

    def _knows(self, authority: str) -> bool | None:
        matched = _AUTHORITY.match(authority)
        if matched is None:
            return None
        if matched["six"] is not None:
            return True if _is_address(matched["six"]) else None
        name = _plain(matched["name"])
        return _is_address(name) or name in self._names or name.endswith(".localhost")

    def refusal(self, request: web.Request) -> web.Response | None:
        """The answer to a request that is not for this server, or that a page of another sent."""
        sent = request.headers.getall("Host", [])
        if len(sent) > 1 or (not sent and request.version >= (1, 1)):
            return closing(failure(400, "", "a request needs one Host header"))
        authorities = list(sent)
        if not request.raw_path.startswith(("/", "*")):
            authorities.append(_authority(request.raw_path))
        for authority in authorities:
            known = self.knows(authority)
            if known is None:
                return closing(failure(400, "", "the Host header is no name with a port"))
            if not known:
                text = (
                    "this server does not answer to the name in the Host header; its operator "
                    "can allow names with 'outlast serve --host NAME' or the setting 'hosts'"
                )
                return failure(421, "", text)
        return self._crossed(request, sent)

    def _crossed(self, request: web.Request, sent: list[str]) -> web.Response | None:
        """Refuses what a browser sends on behalf of another site's page. A link to a page of ours
        may be followed from anywhere.
        """
        origins = [_authority(origin).lower() for origin in request.headers.getall("Origin", [])]
        if origins and self._local_pages and all(map(_is_local, origins)):
            return None
        foreign = any(origin not in {host.lower() for host in sent} for origin in origins)
        if any(
            word.strip().lower() in _CROSSED
            for value in request.headers.getall("Sec-Fetch-Site", [])
            for word in value.split(",")
        ):
            foreign = foreign or not _is_visit(request)
        if not foreign:
            return None
        return failure(403, "", "pages of other sites may not use this server")


def _is_visit(request: web.Request) -> bool:
    headers, segments = request.headers, request.rel_url.raw_path.split("/")
    return (
        request.method in {"GET", "HEAD"}
        and headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest") == "document"
        and not _DATA & set(segments)
    )


def _authority(url: str) -> str:
    """The host and port of a URL; a text that is none where it has none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.netloc if parts.scheme in {"http", "https"} else ""


def _is_local(authority: str) -> bool:
    matched = _AUTHORITY.match(authority)
    return matched is not None and _is_loopback(matched["six"] or matched["name"])


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_loopback(listen: str) -> bool:
    if not _is_address(listen):
        return _plain(listen) in _LOOPBACK
    return ipaddress.ip_address(listen.partition("%")[0]).is_loopback
