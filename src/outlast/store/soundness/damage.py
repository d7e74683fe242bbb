"""What is known to be damaged: a small file for each blob of which bytes here are not right.

It is written the moment that the damage is seen, by the process that sees it, and goes only when
all of the blob was read and found right, or right bytes took the place of the wrong ones. A blob
that has one counts as not here: it is not offered, not sealed into a manifest, not opened, and
fetched again. One that cannot be written (a read-only archive) counts in this process.
"""

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol, Self

from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, MalformedError, OutlastError
from outlast.core.manifest import load_json
from outlast.store import disk
from outlast.store.layout import Layout
from outlast.store.records import sealed
from outlast.store.soundness.tuning import TUNING

_log = logging.getLogger(__name__)
_LIMIT: Final = 256 * 1024
_MODE: Final = 0o644
_TICK_NS: Final = 100_000_000
_MOST_PART: Final = 1 << 40


class Why(StrEnum):
    """What became of the bytes, as far as can be told."""

    ROT = "bit rot"
    TRUNCATED = "truncated"
    CHANGED = "changed through another name"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Damage:
    """What is damaged of the file that holds a blob in a form (plain or capsule): `parts` are the
    pieces (1 MiB) of a plain file or the blocks of a capsule, from 0, sorted; none where that is
    not known or all of it is. `by` says what saw it first, `seen` when (ISO 8601, UTC).
    """

    blob: Digest
    form: Form
    why: Why
    by: str
    parts: tuple[int, ...] = ()
    seen: str = ""

    def joined(self, other: "Damage") -> Self:
        """The same with what `other` saw later of the same file."""
        if not (self.parts and other.parts):
            return replace(self, parts=())
        parts = sorted({*self.parts, *other.parts})
        return replace(self, parts=tuple(parts) if len(parts) <= TUNING.most_parts else ())

    def __contains__(self, other: "Damage") -> bool:
        """Whether `other` says nothing more."""
        known = not self.parts or (bool(other.parts) and {*other.parts} <= {*self.parts})
        return other.form is self.form and known

    def describe(self) -> str:
        """In a few words, for people."""
        what = "piece" if self.form is Form.PLAIN else "block"
        if not self.parts:
            return f"{self.why} ({self.form.value})"
        named = ", ".join(map(str, self.parts[:3])) + (", …" if len(self.parts) > 3 else "")
        return f"{self.why} ({what}{'s' if len(self.parts) > 1 else ''} {named})"


Damages = tuple[Damage, ...]


class Stage(Protocol):
    """A write session, as far as it is needed here."""

    def stage(self, data: bytes, mode: int) -> Path: ...


class DamageNotes:
    """The damage of an archive. Thread-safe; processes see each other's. To ask costs one look at
    a folder, unless that changed.
    """

    def __init__(
        self, layout: Layout, session: Callable[[], AbstractContextManager[Stage]]
    ) -> None:
        self._layout = layout
        self._session = session
        self._lock = threading.Lock()
        self._stamp: int | None = None
        self._known: dict[Digest, Damages] = {}
        self._unwritten: dict[Digest, Damages] = {}

    def all(self) -> dict[Digest, Damages]:
        """By blob, all damage that is known; not to be changed."""
        found = self._written()
        return {**found, **self._unwritten} if self._unwritten else found

    def of(self, blob: Digest) -> Damages:
        """What is damaged of a blob; empty where nothing is."""
        return self._unwritten.get(blob) or self._written().get(blob, ())

    def note(self, damage: Damage) -> None:
        """Writes damage down, durably, beside what is known of the blob."""
        if any(damage in one for one in self.of(damage.blob)):
            return
        damage = replace(damage, seen=damage.seen or datetime.now(UTC).isoformat("T", "seconds"))
        what = damage.describe()
        _log.warning("blob %s is damaged: %s; seen by %s", damage.blob, what, damage.by)
        try:
            self._layout.require_marker()
            self._write(damage)
        except (OutlastError, OSError) as error:
            _log.warning("the damage of %s is not written down: %s", damage.blob, error)
            with self._lock:
                known = self._unwritten.get(damage.blob, ())
                self._unwritten[damage.blob] = _with(known, damage)

    def clear(self, blob: Digest, form: Form | None = None) -> None:
        """All of a blob was read and is right, or was written anew: of the file that holds it in
        `form`, or of both.
        """
        with self._lock:
            self._unwritten[blob] = _without(self._unwritten.pop(blob, ()), form)
            if not self._unwritten[blob]:
                del self._unwritten[blob]
        if not self._written().get(blob):
            return
        path = self._path(blob)
        with (
            disk.reporting(path),
            self._session() as session,
            disk.locked(self._layout.lock, exclusive=True),
        ):
            left = _without(self._read(blob), form)
            if left:
                disk.publish(session.stage(self._sealed(blob, left), _MODE), path)
            elif disk.remove(path):
                disk.fsync_dir(path.parent)

    def _write(self, damage: Damage) -> None:
        path = self._path(damage.blob)
        with (
            disk.reporting(path),
            self._session() as session,
            disk.locked(self._layout.lock, exclusive=True),
        ):
            found = _with(self._read(damage.blob), damage)
            disk.publish(session.stage(self._sealed(damage.blob, found), _MODE), path)

    def _written(self) -> dict[Digest, Damages]:
        try:
            stamp = os.stat(self._layout.damage).st_mtime_ns
        except FileNotFoundError:
            return {}
        with self._lock:
            if stamp == self._stamp:
                return self._known
        names = filter(Digest.is_valid, disk.listed(self._layout.damage))
        known = {blob: found for blob in map(Digest, names) if (found := self._read(blob))}
        with self._lock:
            # Within one tick of the file system's clock, two changes share a time.
            self._stamp = stamp if abs(time.time_ns() - stamp) > _TICK_NS else None
            self._known = known
        return known

    def _read(self, blob: Digest) -> Damages:
        """What the file of a blob says. One that is damaged itself still says that the blob is."""
        path = self._path(blob)
        try:
            with open(path, "rb") as file:
                data = file.read(_LIMIT + 1)
        except FileNotFoundError:
            return ()
        body = sealed.unseal(self._layout.name_of(path), data) if len(data) <= _LIMIT else None
        with contextlib.suppress(MalformedError, CorruptError):
            if body is not None:
                return decode(blob, body)
        return (Damage(blob, Form.PLAIN, Why.ROT, ""), Damage(blob, Form.CAPSULE, Why.ROT, ""))

    def _sealed(self, blob: Digest, damages: Damages) -> bytes:
        return sealed.seal(self._layout.name_of(self._path(blob)), encode(damages))

    def _path(self, blob: Digest) -> Path:
        return self._layout.damage / blob.hex


def encode(damages: Iterable[Damage]) -> bytes:
    """The text of a note, without its check."""
    found = [
        {
            "form": one.form.value,
            "why": one.why.value,
            "by": one.by,
            "seen": one.seen,
            "parts": one.parts,
        }
        for one in damages
    ]
    return json.dumps({"damage": found}, sort_keys=True).encode() + b"\n"


def decode(blob: Digest, body: bytes) -> Damages:
    """The inverse. Raises :class:`MalformedError`."""
    document = load_json(body, _LIMIT)
    found = document.get("damage") if isinstance(document, dict) else None
    if not isinstance(found, list) or not 1 <= len(found) <= 2:
        raise MalformedError("no note of damage")
    return tuple(_damage(blob, one) for one in found)


def _damage(blob: Digest, one: Any) -> Damage:
    try:
        form, why, by, seen = Form(one["form"]), Why(one["why"]), one["by"], one["seen"]
        parts = one["parts"]
    except (KeyError, TypeError, ValueError):
        raise MalformedError("no note of damage") from None
    numbers = isinstance(parts, list) and len(parts) <= TUNING.most_parts
    if not (numbers and isinstance(by, str) and isinstance(seen, str)):
        raise MalformedError("no note of damage")
    if not all(type(part) is int and 0 <= part < _MOST_PART for part in parts):
        raise MalformedError("no note of damage")
    return Damage(blob, form, why, by, tuple(parts), seen)


def _without(known: Damages, form: Form | None) -> Damages:
    return tuple(one for one in known if form is not None and one.form is not form)


def _with(known: Damages, new: Damage) -> Damages:
    """`known` and `new`: one of each form."""
    before = next((one for one in known if one.form is new.form), None)
    others = tuple(one for one in known if one.form is not new.form)
    return (*others, new if before is None else before.joined(new))
