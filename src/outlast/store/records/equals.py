"""Which models of other places are the same as one here: their files have the same digests. That
two names are alike says nothing, and that they differ neither.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Self

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import BadNameError, CorruptError, MalformedError
from outlast.core.names import RepoId
from outlast.store.records.facts import load_document

MOST_EQUALS: Final = 32
"""Of one model; the newest are kept. Guess: it has as many names at most."""
MOST_DIGESTS: Final = 8
"""That one of them names: the largest files tell the most."""
_MOST_TEXT: Final = 1000
_MOST: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Equal:
    """What `hub` calls `name`, at its commit or listing `there`, has `files` of the `of` files of
    our `commit`, which are `size` of `of_size` bytes, and `more` others. `digests` are those of the
    largest files that both have; `when` it was seen is in ISO 8601, UTC.
    """

    hub: str
    name: RepoId
    there: GitOid
    commit: GitOid
    files: int
    of: int
    size: int
    of_size: int
    more: int
    when: str
    digests: tuple[Digest, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether each of the two has all files of the other."""
        return self.files == self.of and not self.more

    @property
    def share(self) -> float:
        """The part of our bytes that are there, from 0 to 1."""
        return self.size / self.of_size if self.of_size else float(self.files == self.of)


@dataclass(frozen=True, slots=True)
class Equals:
    """The models of other places that have files of one here, the newest first."""

    known: tuple[Equal, ...] = ()

    def with_one(self, new: Equal) -> Self:
        """The same with `new` in place of what was known of that name at that hub."""
        others = (one for one in self.known if (one.hub, one.name) != (new.hub, new.name))
        return type(self)((new, *others)[:MOST_EQUALS])

    def names_at(self, hub: str) -> list[RepoId]:
        """What the model is called at a hub: the name with the most of its bytes first. Compare the
        digests of what comes by such a name: a hub may change it.
        """
        there = (one for one in self.known if one.hub == hub and one.files)
        return [one.name for one in sorted(there, key=lambda one: (-one.whole, -one.share))]

    def encode(self) -> bytes:
        document = {"equals": [_row(one) for one in self.known]}
        return json.dumps(document, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, body: bytes) -> Self:
        rows = load_document(body).get("equals")
        if not isinstance(rows, list) or len(rows) > MOST_EQUALS:
            raise CorruptError("it is no list of equals")
        try:
            return cls(tuple(map(_equal, rows)))
        except (MalformedError, BadNameError, KeyError, TypeError) as error:
            raise CorruptError(f"an equal that is none: {error}") from None


def _row(one: Equal) -> dict[str, Any]:
    return {
        "hub": one.hub,
        "name": str(one.name),
        "there": one.there.hex,
        "commit": one.commit.hex,
        "files": one.files,
        "of": one.of,
        "bytes": one.size,
        "of_bytes": one.of_size,
        "more": one.more,
        "when": one.when,
        "digests": [digest.hex for digest in one.digests],
    }


def _equal(row: dict[str, Any]) -> Equal:
    return Equal(
        hub=text_of(row["hub"]),
        name=RepoId.parse(text_of(row["name"])),
        there=GitOid(text_of(row["there"])),
        commit=GitOid(text_of(row["commit"])),
        files=count_of(row["files"]),
        of=count_of(row["of"]),
        size=count_of(row["bytes"]),
        of_size=count_of(row["of_bytes"]),
        more=count_of(row["more"]),
        when=text_of(row["when"]),
        digests=tuple(Digest(text_of(name)) for name in row["digests"][:MOST_DIGESTS]),
    )


def text_of(value: object) -> str:
    """`value`, if it is a short text. Raises :class:`MalformedError`."""
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        raise MalformedError("a value in it is no short text")
    return value


def count_of(value: object) -> int:
    """`value`, if it counts something. Raises :class:`MalformedError`."""
    if type(value) is not int or not 0 <= value <= _MOST:
        raise MalformedError("a value in it is no number")
    return value
