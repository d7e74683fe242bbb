"""A line of JSON: what makes a type one, and what every line has.

A type is declared with ``@document("command", …)``. Its fields are what the line has, in that
order; each is ``Annotated`` with its meaning and unit. Its first field, `type`, names it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

VERSION: Final = 1
"""Of the lines of all commands: the field `v`. Within a version fields are added, and none is
removed or gets another meaning or type.
"""
OMITTED: Final[dict[str, Any]] = {"omitted": True}
"""Metadata of a field that the line does not have where its value is None. Metadata `name` is what
the line calls a field whose name Python does not allow.
"""


class Document:
    """A line that a command prints. `printed_by`: those that do."""

    __slots__ = ()
    type: str
    printed_by: ClassVar[tuple[str, ...]] = ()


T = TypeVar("T", bound=Document)
DOCUMENTS: Final[list[type[Document]]] = []
"""Those of the modules that are loaded: each command loads its own."""


@dataclass_transform(
    frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,)
)
def document(*commands: str) -> Callable[[type[T]], type[T]]:
    """Makes a frozen dataclass of a :class:`Document` that these commands print."""

    def declare(kind: type[T]) -> type[T]:
        # It is made once and printed: without the rest, a class takes half of the time to make.
        make = dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
        made = make(kind)
        made.printed_by = commands
        DOCUMENTS.append(made)
        return made

    return declare
