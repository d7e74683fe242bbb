"""A store of objects (S3, GCS, Azure) or a folder, through `obstore`: reads and writes by name.

`obstore` does the requests here, unlike for sources of kind ``s3``: it signs what it sends with
whatever the platform's own chain of credentials gives it (variables of the environment, web
identity, the metadata service of a machine), renews that, and uploads in parts. Every request has
deadlines and a bounded number of tries. What comes back is not believed.
"""

import contextlib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from outlast.bucket.tuning import TUNING, BucketTuning
from outlast.core.addresses import is_local
from outlast.core.errors import (
    AccessDeniedError,
    BadConfigError,
    MalformedError,
    OutlastError,
    PolicyError,
    UnreachableError,
    one_line,
)
from outlast.sources.settings import S3Place, origin

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Credential

SCHEMES: Final = ("s3", "gs", "az", "file")
_MOST_SAID: Final = 300
_CREATE: Final = "create"
_UNKNOWN: Final = "501 Not Implemented"
"""What a store answers to a condition that it does not know."""


class Objects:
    """Named bytes below one place. Thread-safe. Errors: :class:`UnreachableError` where the store
    gives no answer within the bounds, :class:`AccessDeniedError` where it refuses the credentials.
    """

    def __init__(self, store: "ObjectStore", name: str, tuning: BucketTuning = TUNING) -> None:
        import obstore  # noqa: PLC0415 - of the extra [s3]

        self._obs = obstore
        self._store = store
        self.name: Final = name
        self._tuning = tuning
        self._has_conditions = True
        """Whether the store knows ``If-None-Match``, as far as is known. (Swift does not.)"""

    def size(self, path: str) -> int | None:
        """The bytes of an object; None where there is none."""
        with self._telling(path):
            try:
                return self._obs.head(self._store, path)["size"]
            except FileNotFoundError:
                return None

    def read(self, path: str, limit: int) -> bytes | None:
        """A whole object of at most `limit` bytes; None where there is none. Raises
        :class:`MalformedError` for a larger one.
        """
        size = self.size(path)
        if size is None:
            return None
        if size > limit:
            raise MalformedError(f"{self.name}/{path} has {size} bytes, more than {limit}")
        data = bytearray(size)
        self.readinto(path, 0, memoryview(data))
        return bytes(data)

    def readinto(self, path: str, offset: int, buffer: memoryview) -> None:
        """Fills `buffer` from `offset`; the object must be that long. Raises
        :class:`MalformedError` where it is not there, or shorter.
        """
        if not buffer:
            return
        for _ in range(self._tuning.reads):
            with self._telling(path):
                try:
                    found = self._obs.get_range(self._store, path, start=offset, length=len(buffer))
                except FileNotFoundError:
                    raise MalformedError(f"{self.name} has no {path} any more") from None
            if len(found) == len(buffer):
                buffer[:] = memoryview(found)
                return
        raise UnreachableError(
            f"{self.name} sends {path} shorter than it is, from byte {offset} on"
        )

    def names(self, prefix: str) -> Iterator[str]:
        """The names of all objects below the folder `prefix`. Raises as `sizes` does."""
        return (name for name, _ in self.sizes(prefix))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The same, each with its bytes. Raises :class:`MalformedError` where the list has no end:
        a store that is wrong may give the same page again and again.
        """
        count = 0
        with self._telling(prefix):
            for found in self._obs.list(self._store, prefix, chunk_size=1000):
                count += len(found)
                if count > self._tuning.listed:
                    raise MalformedError(
                        f"{self.name} lists more than {self._tuning.listed:,} names in {prefix}"
                    )
                for one in found:
                    if one["path"].startswith(f"{prefix}/"):
                        yield one["path"], one["size"]

    def delete(self, path: str) -> None:
        """Deletes an object; harmless where there is none."""
        with self._telling(path), contextlib.suppress(FileNotFoundError):
            self._obs.delete(self._store, path)

    def put_new(self, path: str, data: bytes) -> bool:
        """Writes an object unless there is one; whether there was none. Where a store has no
        conditions for that, two writers at the same instant may both have written.
        """
        with self._telling(path):
            if not self._put_new(path, data):
                return False
        self._reread(path, data)
        return True

    def _put_new(self, path: str, data: bytes) -> bool:
        if self._has_conditions:
            try:
                self._obs.put(self._store, path, data, mode=_CREATE)
            except self._obs.exceptions.AlreadyExistsError:
                return False
            except (NotImplementedError, self._obs.exceptions.GenericError) as error:
                if not isinstance(error, NotImplementedError) and _UNKNOWN not in str(error):
                    raise
                self._has_conditions = False
            else:
                return True
        if self.size(path) is not None:
            return False
        self._obs.put(self._store, path, data)
        return True

    def put(self, path: str, data: bytes) -> None:
        """Writes an object, in place of the one that is there."""
        with self._telling(path):
            self._obs.put(self._store, path, data)
        self._reread(path, data)

    def put_parts(self, path: str, size: int, chunks: Iterable[bytes]) -> None:
        """Writes an object of `size` bytes in parts. What `chunks` raises is raised, and then
        nothing is there: an upload counts when all of its parts have come.
        """
        part = max(self._tuning.part, -(-size // self._tuning.parts))
        with self._telling(path):
            self._obs.put(
                self._store,
                path,
                iter(chunks),
                chunk_size=part,
                max_concurrency=self._tuning.at_once,
            )
        if self.size(path) != size:
            raise UnreachableError(f"{self.name} took {path}, and has it in another size")

    def _reread(self, path: str, data: bytes) -> None:
        """What was written is what can be read: a store that says otherwise is not one to keep
        anything in.
        """
        if self.read(path, len(data)) != data:
            raise UnreachableError(f"{self.name} took {path}, and gives something else back")

    @contextlib.contextmanager
    def _telling(self, path: str) -> Iterator[None]:
        """Turns what obstore raises into what users are told."""
        known = self._obs.exceptions
        try:
            yield
        except OutlastError:
            raise
        except (known.PermissionDeniedError, known.UnauthenticatedError, PermissionError) as error:
            raise AccessDeniedError(
                f"{self.name} refuses {path}: {_said(error)}",
                hint="check the credentials of the platform, as AWS_ACCESS_KEY_ID, or [s3]",
            ) from None
        except known.BaseError as error:
            raise UnreachableError(f"{self.name}, {path}: {_said(error)}") from None


def _said(error: Exception) -> str:
    """The first line alone: what follows is for the authors of the library."""
    return one_line(str(error).partition("\n")[0], _MOST_SAID)


def check_place(url: str) -> str:
    """``s3://BUCKET/PREFIX``, ``gs://…``, ``az://…`` or ``file:///FOLDER``, without a slash at its
    end. Raises :class:`BadConfigError`.
    """
    hint = "write s3://BUCKET/PREFIX, gs://…, az://CONTAINER/PREFIX or file:///FOLDER"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadConfigError(f"not the URL of a store: {url[:200]!r}", hint=hint) from None
    is_file = parts.scheme == "file"
    if (
        parts.scheme not in SCHEMES
        or bool(parts.netloc) == is_file
        or parts.query
        or parts.fragment
        or not url.isprintable()
        or "@" in parts.netloc
        or ".." in parts.path.split("/")
        or (is_file and len(parts.path) < len("/x"))
    ):
        raise BadConfigError(f"not the URL of a store: {url[:200]!r}", hint=hint)
    return url.rstrip("/")


def open_objects(
    url: str,
    place: S3Place,
    keys: str | None = None,
    *,
    create: bool = False,
    tuning: BucketTuning = TUNING,
) -> Objects:
    """The objects below `url`. `place` and `keys` (as those of `sources.s3`) are for ``s3://``;
    without keys, those of the platform's chain count. `create` makes the folder of ``file://``.
    Raises :class:`BadConfigError`, and :class:`PolicyError` where signed requests would go
    unencrypted beyond the LAN.
    """
    try:
        from obstore import store as stores  # noqa: PLC0415 - of the extra [s3]
        from obstore.exceptions import BaseError  # noqa: PLC0415
    except ImportError:
        raise BadConfigError(
            "a second home needs the library obstore, which is not installed",
            hint="pip install '.[s3]' in a checkout of outlast",
        ) from None
    url = check_place(url)
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=tuning.connect),
        "read_timeout": timedelta(seconds=tuning.silence),
        "timeout": timedelta(seconds=tuning.request),
    }
    retry: RetryConfig = {
        "max_retries": tuning.retries,
        "retry_timeout": timedelta(seconds=tuning.retrying),
        "backoff": {
            "init_backoff": timedelta(seconds=tuning.backoff),
            "max_backoff": timedelta(seconds=tuning.longest_backoff),
            "base": 2,
        },
    }
    try:
        if url.startswith("file:"):
            made = stores.LocalStore.from_url(url, mkdir=create)
            return Objects(made, url, tuning)
        if not url.startswith("s3:"):
            opened = stores.from_url(url, client_options=client, retry_config=retry)
            return Objects(opened, url, tuning)
        _require_encrypted(place)
        client["allow_http"] = True  # `place` was looked at
        bucket = stores.S3Store.from_url(
            url,
            endpoint=place.url,
            region=place.region,
            virtual_hosted_style_request=False,
            credential_provider=None if keys is None else lambda: _credentials(keys),
            client_options=client,
            retry_config=retry,
        )
        return Objects(bucket, url, tuning)
    except (BaseError, ValueError, OSError) as error:
        raise BadConfigError(f"{url} cannot be opened: {_said(error)}") from None


def _require_encrypted(place: S3Place) -> None:
    scheme, host, _ = origin(place.url)
    if scheme == "http" and host != "localhost" and not is_local(host):
        raise PolicyError(
            f"signed requests would go to {host} unencrypted",
            hint="use https://; http:// is for addresses of this machine and the LAN",
        )


def _credentials(keys: str) -> "S3Credential":
    name, _, rest = keys.partition(":")
    secret, _, session = rest.partition(":")
    return {
        "access_key_id": name,
        "secret_access_key": secret,
        "token": session or None,
        "expires_at": None,
    }
