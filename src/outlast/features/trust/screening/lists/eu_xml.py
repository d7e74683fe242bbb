"""The EU's list in XML, element by element. Entities are refused, and so is deep nesting."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from outlast.features.trust.screening.lists.list_file import ListFile, malformed


@dataclass(slots=True)
class EuEntity:
    """What one ``sanctionEntity`` says."""

    id: str
    names: list[str] = field(default_factory=list)
    programmes: list[str] = field(default_factory=list)
    kind: str = ""


class EuXml:
    """Iterates over the entities. `dated`: its ``generationDate``."""

    def __init__(self, file: ListFile) -> None:
        self.dated = ""
        self._file = file
        self._depth = 0
        self._entity: EuEntity | None = None
        self._done: list[EuEntity] = []
        self._count = 0
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._refuse
        self._parser = parser

    def __iter__(self) -> Iterator[EuEntity]:
        fed = 0
        try:
            for data in self._file.chunks():
                self._parser.Parse(data, False)
                fed += len(data)
                # What expat keeps is the token that has not ended yet.
                if fed - max(0, self._parser.CurrentByteIndex) > self._bound:
                    raise malformed(self._file.name, "an element is too large")
                yield from self._taken()
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise malformed(self._file.name, f"not XML: {error}") from None
        except (LookupError, UnicodeError):
            raise malformed(self._file.name, "its encoding is not known") from None
        yield from self._taken()

    @property
    def _bound(self) -> int:
        return self._file.tuning.element + self._file.tuning.chunk

    def _taken(self) -> list[EuEntity]:
        found, self._done = self._done, []
        return found

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > self._file.tuning.depth:
            raise malformed(self._file.name, "its elements are nested too deeply")
        local = name.rpartition(" ")[2]
        if self._depth == 1:
            if local != "export":
                raise malformed(self._file.name, "it is not the EU's list")
            self.dated = attributes.get("generationDate", "")
        elif local == "sanctionEntity":
            self._begin(attributes)
        elif self._entity is not None:
            self._part(self._entity, local, attributes)

    def _begin(self, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > self._file.tuning.rows:
            raise malformed(self._file.name, f"it has more than {self._file.tuning.rows:,} parties")
        given = attributes.get("euReferenceNumber") or attributes.get("logicalId", "")
        self._entity = EuEntity(given)

    def _part(self, entity: EuEntity, local: str, attributes: dict[str, str]) -> None:
        if local == "nameAlias":
            whole = attributes.get("wholeName", "") or " ".join(
                filter(None, (attributes.get(f"{p}Name", "") for p in ("first", "middle", "last")))
            )
            self._append(entity, entity.names, whole)
        elif local == "regulation" and (programme := attributes.get("programme", "")):
            self._append(entity, entity.programmes, programme)
        elif local == "subjectType":
            entity.kind = attributes.get("classificationCode") or attributes.get("code", "")

    def _append(self, entity: EuEntity, texts: list[str], text: str) -> None:
        texts.append(text)
        if len(texts) > self._file.tuning.names:
            raise malformed(self._file.name, f"the party {entity.id[:40]!r} has too many names")

    def _end(self, name: str) -> None:
        self._depth -= 1
        if name.rpartition(" ")[2] == "sanctionEntity" and self._entity is not None:
            self._done.append(self._entity)
            self._entity = None

    def _refuse(self, *_about: Any) -> None:
        """Entities are declared in a document type, and nowhere else."""
        raise malformed(self._file.name, "it declares a document type")
