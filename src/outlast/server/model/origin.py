"""What every answer says of where it came from: which manifest, which engine, and whether that is
kept off the network. In headers, and in a field of JSON that clients of OpenAI's API ignore. Pure.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

FIELD: Final = "outlast"
_STREAM: Final = "text/event-stream"
_JSON: Final = "application/json"
_FIRST_EVENT: Final = b"data: {"
_OTHER_EVENT: Final = re.compile(rb"^data: [^{]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Origin:
    """`manifest` is the sha256 of the manifest of the revision that answers, in hex; `engine` names
    the engine and its build; `sealed` says what keeps it off the network (empty: nothing does).
    `adapter`: the manifest of the adapter that it answers with, "" for none.
    """

    manifest: str
    engine: str
    sealed: tuple[str, ...] = ()
    adapter: str = ""

    @property
    def headers(self) -> Mapping[str, str]:
        found = {"X-Outlast-Manifest": f"sha256:{self.manifest}", "X-Outlast-Engine": self.engine}
        if self.adapter:
            found["X-Outlast-Adapter"] = f"sha256:{self.adapter}"
        if self.sealed:
            found["X-Outlast-Sealed"] = ", ".join(self.sealed)
        return found

    @property
    def field(self) -> Mapping[str, Any]:
        """What a JSON object of an answer gets as its field `outlast`."""
        adapter = {"adapter": f"sha256:{self.adapter}"} if self.adapter else {}
        return {
            "manifest": f"sha256:{self.manifest}",
            **adapter,
            "engine": self.engine,
            "sealed": list(self.sealed),
        }

    def with_adapter(self, manifest: str) -> "Origin":
        """The same, answering with the adapter of this manifest."""
        return replace(self, adapter=manifest)

    def stamped(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """`document` with the field."""
        return {**document, FIELD: self.field}


class Stamp:
    """Puts the field into an answer that passes in pieces: into the JSON object, or into that of a
    stream's first event. What is no such object passes as it is.
    """

    def __init__(self, origin: Origin, content_type: str) -> None:
        kind = content_type.partition(";")[0].strip().lower()
        self._start = {_STREAM: _FIRST_EVENT, _JSON: b"{"}.get(kind)
        self._added = json.dumps({FIELD: origin.field})[1:-1].encode()
        self._held = b""

    def take(self, piece: bytes) -> bytes:
        """The next bytes of the answer; what is not decided yet is kept for later."""
        if self._start is None:
            return piece
        data = self._held + piece
        head, found, rest = data.partition(self._start)
        if self._start == b"{" and head.strip():  # an array
            return self._done(data)
        inner = rest.lstrip()
        if not found or not inner:
            self._held = data
            no_object = _OTHER_EVENT.search(data) is not None or len(data) > _MOST_HELD
            return self._done(data) if no_object else b""
        comma = b"" if inner.startswith(b"}") else b","
        return self._done(head + found + self._added + comma + rest)

    def end(self) -> bytes:
        """What is left at the end of the answer."""
        return self._done(self._held)

    def _done(self, data: bytes) -> bytes:
        self._start, self._held = None, b""
        return data


_MOST_HELD: Final = 64 * 1024
"""Bytes that are kept while the beginning of an object is not there. Guess: an event is shorter."""
