"""The option that lets a revoked revision be used: by the digest of its manifest, remembered."""

import contextlib
import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from outlast.cli.edge import Session
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError, NotFoundError, UsageError
from outlast.core.names import Target
from outlast.ops.claims import accept_revoked, look_for_revocation
from outlast.store.archive import Archive

F = TypeVar("F", bound=Callable[..., Any])


class DigestType(click.ParamType[Digest]):
    """The sha256 of `what` it is."""

    name = "digest"

    def __init__(self, what: str = "a manifest") -> None:
        self._what = what

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Digest:
        del param, ctx
        if isinstance(value, Digest):
            return value
        try:
            return Digest(str(value))
        except MalformedError:
            raise UsageError(
                f"not the digest of {self._what}: {str(value)[:80]!r}",
                hint="'outlast show' prints it: 64 hex digits",
            ) from None


accept_option = click.option(
    "--accept-revoked",
    "accepted",
    type=DigestType(),
    multiple=True,
    metavar="DIGEST",
    help="Use the revision with this manifest although it is revoked; that is remembered",
)


def accept(
    run: Session, archive: Archive, digests: Sequence[Digest], targets: Sequence[Target] = ()
) -> None:
    """Remembers what the option names; before that, whether one of `targets` is revoked by a
    statement that came since it was asked for last. Raises
    :class:`~outlast.core.errors.NotFoundError` for what is not revoked here.
    """
    for target in targets:
        with contextlib.suppress(NotFoundError):  # the use case tells
            look_for_revocation(archive, run.assessor(archive), target, run.control.cancel)
    if digests:
        accept_revoked(archive, digests, dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
