"""The elements of a long list in JSON, one at a time."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from outlast.features.trust.screening.lists.list_file import ListFile, malformed

_LIST: Final = re.compile(r'"results"\s*:\s*\[')
_SPACE: Final = " \t\r\n"


class JsonItems:
    """The elements of the list ``results``. `dated` is the document's ``search_performed_at``; it
    is known at the end, when the document without the elements was seen to be JSON, too.
    """

    def __init__(self, file: ListFile) -> None:
        self.dated = ""
        self._file = file
        self._texts = file.texts()
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_constant=self._constant
        )
        self._rest = ""
        self._before = ""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._skip_to_list()
        count = 0
        while (item := self._next(first=not count)) is not None:
            count += 1
            if count > self._file.tuning.rows:
                raise self._wrong(f"it has more than {self._file.tuning.rows:,} elements")
            yield item
        self._finish()

    def _skip_to_list(self) -> None:
        most = self._file.tuning.element
        while (found := _LIST.search(self._rest)) is None:
            if len(self._rest) > most or not self._more():
                raise self._wrong("it has no list 'results'")
        self._before = self._rest[: found.end()]
        self._rest = self._rest[found.end() :]

    def _next(self, *, first: bool) -> dict[str, Any] | None:
        """The next element; None at the end of the list."""
        if self._peek() == "]":
            return None
        if not first:
            if self._peek() != ",":
                raise self._wrong("its elements are not parted by commas")
            self._rest = self._rest[1:]
        if self._peek() != "{":
            raise self._wrong("an element of its list is not a record")
        while True:
            try:
                item, end = self._decoder.raw_decode(self._rest)
            except RecursionError:
                raise self._wrong("an element is nested too deeply") from None
            except ValueError as error:
                if len(self._rest) > self._file.tuning.element or not self._more():
                    raise self._wrong(f"not JSON, or an element is too large: {error}") from None
                continue
            self._rest = self._rest[end:]
            assert isinstance(item, dict)
            return item

    def _finish(self) -> None:
        """What is around the list has to be JSON."""
        tail, self._rest = self._rest, ""
        while self._more():
            tail += self._rest
            self._rest = ""
            if len(tail) > self._file.tuning.element:
                raise self._wrong("too much follows its list")
        try:
            around = self._decoder.decode(self._before + tail)
        except (ValueError, RecursionError):
            raise self._wrong("it is no JSON, or cut short") from None
        if not isinstance(around, dict) or around.get("results") != []:
            raise self._wrong("'results' is not the list of the document")
        self.dated = str(around.get("search_performed_at") or "")

    def _peek(self) -> str:
        """The next character that is no space."""
        while not (rest := self._rest.lstrip(_SPACE)):
            self._rest = ""
            if not self._more():
                raise self._wrong("it is cut short")
        self._rest = rest
        return rest[0]

    def _more(self) -> bool:
        text = next(self._texts, None)
        if text is None:
            return False
        self._rest += text
        return True

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise self._wrong("a record has one key twice")
        return found

    def _constant(self, text: str) -> Any:
        raise self._wrong(f"{text} is not JSON")

    def _wrong(self, problem: str) -> Exception:
        return malformed(self._file.name, problem)
