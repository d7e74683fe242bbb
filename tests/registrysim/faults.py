"""What goes wrong on request: README.md has the actions."""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.registrysim.images import digest_of

_PAGE = b"<!doctype html><title>Welcome to our WLAN</title>"


@dataclass
class Answer:
    """What the server is about to send. `cut`: only half of it."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass
class Fault:
    """What goes wrong with `what`, where the path contains `path`, `count` times or always."""

    what: str
    action: str
    count: int | None = None
    path: str = ""
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    size: int = 0
    to: str = ""

    def apply(self, answer: Answer) -> None:
        """Spoils the answer."""
        _ACTIONS[self.action](self, answer)


def _flip(_: Fault, answer: Answer) -> None:
    if answer.body:
        answer.body = bytes([answer.body[0] ^ 1]) + answer.body[1:]


def _cut(_: Fault, answer: Answer) -> None:
    answer.cut = True


def _page(_: Fault, answer: Answer) -> None:
    answer.status, answer.body, answer.headers = 200, _PAGE, {"Content-Type": "text/html"}


def _giant(fault: Fault, answer: Answer) -> None:
    answer.body = b"{" + b" " * fault.size + b"}"


def _digest(_: Fault, answer: Answer) -> None:
    answer.headers["Docker-Content-Digest"] = digest_of(b"something else")


def _longer(_: Fault, answer: Answer) -> None:
    answer.body += b"x"


def _gzip(_: Fault, answer: Answer) -> None:
    answer.body = gzip.compress(answer.body)
    answer.headers["Content-Encoding"] = "gzip"


def _json(fault: Fault, answer: Answer) -> None:
    answer.status, answer.body = 200, fault.body


def _status(fault: Fault, answer: Answer) -> None:
    answer.status, answer.body, answer.headers = fault.status, fault.body, dict(fault.headers)


def _link(fault: Fault, answer: Answer) -> None:
    answer.headers["Link"] = f'<{fault.to}>; rel="next"'


def _redirect(fault: Fault, answer: Answer) -> None:
    answer.status, answer.body, answer.headers = 302, b"", {"Location": fault.to}


_ACTIONS: Mapping[str, Callable[[Fault, Answer], None]] = {
    "flip": _flip,
    "cut": _cut,
    "page": _page,
    "giant": _giant,
    "digest": _digest,
    "longer": _longer,
    "gzip": _gzip,
    "json": _json,
    "status": _status,
    "link": _link,
    "redirect": _redirect,
}
