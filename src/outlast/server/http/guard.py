"""Access: bearer tokens."""

import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from outlast.core.errors import BadConfigError

_FILE_LIMIT = 1024 * 1024
_HINT = "--tokens names a text file with a line NAME TOKEN for each client"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a line of the file of tokens gives: the name of its user, and the private and gated
    models (globs over what ``outlast ls`` shows) that it opens.
    """

    name: str
    models: tuple[str, ...] = ()


class Tokens:
    """The bearer tokens that open a server: lines of ``TOKEN``, ``NAME TOKEN`` or
    ``NAME TOKEN MODEL…`` in a file, where MODEL is a glob.
    """

    def __init__(self, path: Path) -> None:
        try:
            if os.stat(path).st_size > _FILE_LIMIT:
                raise BadConfigError(f"{path} is too large for a file of tokens", hint=_HINT)
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise BadConfigError(
                f"cannot read the tokens in {path}: {reason}", hint=_HINT
            ) from error
        self._grants: dict[bytes, Grant] = {}
        for line in lines:
            words = line.split("#")[0].split()
            if words:
                name, token, *models = words if len(words) > 1 else ("user", *words)
                before = self._grants.get(_digest(token), Grant(name))
                self._grants[_digest(token)] = Grant(before.name, (*before.models, *models))
        if not self._grants:
            raise BadConfigError(f"{path} holds no token", hint=_HINT)

    def grant_of(self, request: web.Request) -> Grant | None:
        """What the token that a request carries gives; None where it carries none of ours."""
        token = bearer(request)
        if token is None:
            return None
        sent = _digest(token)
        found = None
        for digest, grant in self._grants.items():  # all of them, so that time tells nothing
            if hmac.compare_digest(digest, sent):
                found = grant
        return found


def bearer(request: web.Request) -> str | None:
    """The bearer token that a request carries, as it came; None where it carries none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
