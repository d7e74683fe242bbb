"""Keys of the gateway's users: a file that has what proves them, and their budgets.

A key's secret is 256 random bits, shown once. The file has its plain SHA-256: a slow or salted hash
protects secrets that can be guessed, which such a number cannot. The part before it names the key,
and is no secret: it finds the row, and only then two digests are compared, in constant time; for a
name that is not there as well.
"""

import contextlib
import datetime as dt
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from outlast.core.errors import (
    BadKeyError,
    DamagedRecordError,
    KeyRefusedError,
    NotFoundError,
    UsageError,
    one_line,
)
from outlast.features.gateway.accounts.money import MOST_DOLLARS, NANO
from outlast.features.gateway.accounts.periods import Period
from outlast.features.gateway.accounts.values import Caller, Limit
from outlast.store import disk

FILE: Final = "keys.json"
_LOCK: Final = "keys.lock"
_MOST_BYTES: Final = 16 << 20
MOST_KEYS: Final = 10_000
"""A row has 0.3 to 1 kB."""
_PREFIX: Final = "outlast"
_SECRET: Final = re.compile(r"outlast-([0-9a-f]{12})-[A-Za-z0-9_-]{43}\Z")
_LONGEST: Final = 200
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_NONE: Final = bytes(32)
_MODE: Final = 0o600
_COUNT: Final = Meta(ge=0, le=10**15)
ALL_ROUTES: Final = "*"

_Count = Annotated[int, _COUNT]
_Globs = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=100)
]


class LimitRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A budget of a key: what may be spent in each `period`, on one route or on all ("*")
    together. None: no limit. `money`: nano-dollars.
    """

    period: Period
    route: Annotated[str, Meta(min_length=1, max_length=200)] = ALL_ROUTES
    tokens: _Count | None = None
    money: Annotated[int, Meta(ge=0, le=MOST_DOLLARS * NANO)] | None = None
    requests: _Count | None = None


class KeyRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A key. `created` and `revoked`: ISO 8601, UTC."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{12}\Z")]
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    created: Annotated[str, Meta(max_length=40)]
    revoked: Annotated[str, Meta(max_length=40)] | None = None
    models: _Globs = (ALL_ROUTES,)
    limits: Annotated[tuple[LimitRow, ...], Meta(max_length=100)] = ()

    @property
    def caller(self) -> Caller:
        """Whom it stands for."""
        limits = tuple(
            (row.route, limit_of(f"key:{self.id}", self.title, row)) for row in self.limits
        )
        return Caller(self.id, self.name, self.models, limits)

    @property
    def title(self) -> str:
        """The key as a person knows it."""
        return f"key {self.name}"


class _KeysFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: Literal[1]
    keys: Annotated[tuple[KeyRow, ...], Meta(max_length=MOST_KEYS)]


def limit_of(account: str, title: str, row: LimitRow) -> Limit:
    """A budget of a key or of a route, as it is counted."""
    if row.route != ALL_ROUTES:
        account, title = f"{account}/{row.route}", f"{title} on {row.route}"
    return Limit(account, row.period, title, row.tokens, row.money, row.requests)


class UserKeys:
    """The keys in the accounts' folder, which need not exist. What changes the file is seen with
    the next key that is checked. Thread-safe.
    """

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder
        self.path: Final = folder / FILE
        # Every request looks at these: as texts, which cost a twentieth of what paths do.
        self._file: Final = os.fspath(self.path)
        self._lock: Final = os.fspath(folder / _LOCK)
        self._place: Final = os.fspath(folder)
        self._seen: tuple[int, ...] | None = None
        self._callers: dict[str, tuple[KeyRow, bytes, Caller]] = {}
        self._none = True

    @property
    def are_none(self) -> bool:
        """Whether no key was ever made: then none is asked for."""
        self._refresh()
        return self._none

    def check(self, secret: str | None) -> Caller:
        """Whom a secret stands for. Raises :class:`KeyRefusedError`, in words that do not have it;
        also where the file of keys cannot be read.
        """
        self._refresh()
        if self._none:
            return Caller()
        if not secret:
            raise KeyRefusedError("a key is needed", hint="send it as a bearer token or x-api-key")
        named = _SECRET.match(secret) if len(secret) <= _LONGEST else None
        found = self._callers.get(named[1]) if named is not None else None
        expected = _NONE if found is None else found[1]
        given = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
        if not hmac.compare_digest(given, expected) or found is None:
            raise KeyRefusedError("the gateway does not know this key")
        row, _, caller = found
        if row.revoked is not None:
            raise KeyRefusedError(f"the key {row.name} was revoked")
        return caller

    def all(self) -> tuple[KeyRow, ...]:
        """All keys, the oldest first. Raises :class:`DamagedRecordError`, :class:`BadKeyError`."""
        with disk.reporting(self.path):
            return _read(self.path) or ()

    def new(
        self, name: str, models: tuple[str, ...] = (), limits: tuple[LimitRow, ...] = ()
    ) -> tuple[KeyRow, str]:
        """Makes a key; returns it with its secret, which nothing keeps. Raises
        :class:`UsageError` for a name that is none, or that a key has which is not revoked.
        """
        if not _NAME.match(name):
            raise UsageError(
                f"not a name for a key: {name[:100]!r}", hint="use letters, digits and . _ @ -"
            )
        with self._changing() as rows:
            if any(row.name == name and row.revoked is None for row in rows):
                raise UsageError(
                    f"there is a key {name} already", hint="revoke it first, or take another name"
                )
            if len(rows) >= MOST_KEYS:
                raise UsageError(f"there are {MOST_KEYS} keys already")
            number = secrets.token_hex(6)
            secret = f"{_PREFIX}-{number}-{secrets.token_urlsafe(32)}"
            row = KeyRow(
                id=number,
                name=name,
                sha256=hashlib.sha256(secret.encode()).hexdigest(),
                created=_now(),
                models=models or (ALL_ROUTES,),
                limits=limits,
            )
            rows.append(row)
        return row, secret

    def revoke(self, name: str) -> KeyRow:
        """Revokes a key, by its name or id; it stays in the file. Raises
        :class:`NotFoundError`.
        """
        return self._replace(name, lambda row: msgspec.structs.replace(row, revoked=_now()))

    def change_limits(self, name: str, limits: tuple[LimitRow, ...]) -> KeyRow:
        """Gives a key other budgets; what is spent stays spent. Raises :class:`NotFoundError`."""
        return self._replace(name, lambda row: msgspec.structs.replace(row, limits=limits))

    def _replace(self, name: str, edit: Callable[[KeyRow], KeyRow]) -> KeyRow:
        missing = NotFoundError(
            f"no key {name[:100]!r} that is not revoked",
            hint="'outlast gateway keys list' shows them",
        )
        if not self.all():  # the lock says that there were keys once: it is not made for nothing
            raise missing
        with self._changing() as rows:
            for at, row in enumerate(rows):
                if name in {row.name, row.id} and row.revoked is None:
                    rows[at] = edit(row)
                    return rows[at]
        raise missing

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[KeyRow]]:
        """The rows; written anew, all or nothing, if they are others afterwards."""
        with disk.reporting(self.path):
            disk.make_dir(self._folder)
            with disk.locked(self._folder / _LOCK, exclusive=True):
                before = _read(self.path) or ()
                rows = list(before)
                yield rows
                if tuple(rows) != before:
                    _write(self.path, tuple(rows))

    def _refresh(self) -> None:
        """Reads the file again if it is another one. One that cannot be read lets no key in."""
        try:
            found = os.stat(self._file)
        except FileNotFoundError:
            self._seen, self._callers, self._none = None, {}, not self._was_made()
            return
        except OSError as error:
            raise KeyRefusedError(f"the file of keys cannot be read: {error.strerror}") from error
        seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if seen == self._seen:
            return
        rows = self._readable()
        callers = {row.id: (row, bytes.fromhex(row.sha256), row.caller) for row in rows}
        self._callers, self._none, self._seen = callers, False, seen

    def _readable(self) -> tuple[KeyRow, ...]:
        try:
            with disk.reporting(self.path):
                return _read(self.path) or ()
        except (DamagedRecordError, BadKeyError) as error:
            raise KeyRefusedError("the file of keys cannot be read", hint=str(error)) from error

    def _was_made(self) -> bool:
        """Whether there was a file: one that is lost must not open the gateway to all. False only
        where that is sure, as :func:`~outlast.store.disk.is_named` says it.
        """
        try:
            os.lstat(self._lock)
        except FileNotFoundError:
            return os.path.islink(self._place) and not os.path.exists(self._place)
        except OSError:
            return True
        return True


def _read(path: Path) -> tuple[KeyRow, ...] | None:
    """What the file says; None where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise BadKeyError(f"{path} is not a plain file")
        if mode & _OTHERS:
            raise BadKeyError(
                f"other users can read or change {path} (mode {stat.S_IMODE(mode):04o})",
                hint=f"chmod 600 {path}",
            )
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise _damaged(path, "it is too large")
    try:
        rows = msgspec.json.decode(data, type=_KeysFile).keys
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from None
    if len({row.id for row in rows}) < len(rows):
        raise _damaged(path, "a key is there twice")
    return rows


def _damaged(path: Path, why: str) -> DamagedRecordError:
    return DamagedRecordError(
        f"{path}: {one_line(why, 200)}",
        hint="restore it from a backup; until then the gateway lets no key in",
    )


def _write(path: Path, rows: tuple[KeyRow, ...]) -> None:
    data = msgspec.json.format(msgspec.json.encode(_KeysFile(1, rows)), indent=1) + b"\n"
    temp = path.with_name(f"{path.name}.new")
    disk.remove(temp)  # of a process that was killed; the lock is ours
    disk.write_temp(temp, data, _MODE)
    disk.publish(temp, path)


def _now() -> str:
    return dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
