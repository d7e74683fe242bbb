"""The elements of a long list in JSON, one at a time."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from outlast.features.trust.screening.lists.list_file import ListFile, malformed

_LIST: Final = re.compile(r'"results"\s*:\s*\[')
_DATE: Final = re.compile(r'"search_performed_at"\s*:\s*"([^"\\]{4,40})"')
_SPACE: Final = " \t\r\n"


class JsonItems:
    """The elements of the list ``results`` of a document. `dated` is its ``search_performed_at``,
    as far as it was met outside of the elements; it is known at the end.
    """

    def __init__(self, file: ListFile) -> None:
        self.dated = ""
        self._file = file
        self._texts = file.texts()
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_constant=self._constant
        )
        self._rest = ""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._skip_to_list()
        count = 0
        while (item := self._next()) is not None:
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
        self._note(self._rest[: found.start()])
        self._rest = self._rest[found.end() :]

    def _next(self) -> dict[str, Any] | None:
        """The next element; None at the end of the list."""
        first = self._strip(_SPACE + ",")
        if first == "]":
            return None
        if first != "{":
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
        """What follows the list: it has to end."""
        tail = self._rest[1:]
        while self._more():
            tail += self._rest
            self._rest = ""
            if len(tail) > self._file.tuning.element:
                raise self._wrong("too much follows its list")
        if not tail.rstrip().endswith("}"):
            raise self._wrong("it is cut short")
        self._note(tail)

    def _strip(self, characters: str) -> str:
        """The first character that is none of these."""
        while not (rest := self._rest.lstrip(characters)):
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

    def _note(self, text: str) -> None:
        found = _DATE.search(text)
        if found is not None:
            self.dated = found[1]

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise self._wrong("a record has one key twice")
        return found

    def _constant(self, text: str) -> Any:
        raise self._wrong(f"{text} is not JSON")

    def _wrong(self, problem: str) -> Exception:
        return malformed(self._file.name, problem)
