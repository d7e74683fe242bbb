"""The option of a sealed run, and the note that such a run leaves in the archive."""

import contextlib
import datetime as dt
from collections.abc import Iterator
from typing import Protocol

import click

from outlast.cli.edge import Session
from outlast.core.errors import EngineError
from outlast.engines.base import Sealing
from outlast.ops.run import Prepared
from outlast.store.archive import Archive
from outlast.store.records.logs.sealed_runs import SealedRun, SealedRuns

sealed_option = click.option(
    "--sealed",
    is_flag=True,
    help="Keep the engine off every network, and do not run where that is impossible; how many "
    "packets it sent (none) is noted in the archive",
)


class SealedEngine(Protocol):
    """An engine that tells how it is kept off the network."""

    @property
    def build(self) -> str: ...

    @property
    def sealing(self) -> Sealing | None: ...


@contextlib.contextmanager
def noting(
    call: Session, archive: Archive, prepared: Prepared, engine: SealedEngine, *, sealed: bool
) -> Iterator[None]:
    """Says what keeps a sealed engine off the network; notes the run at its end. Raises
    :class:`EngineError` where packets passed.
    """
    if not sealed:
        yield
        return
    sealing = engine.sealing
    if sealing is None:
        raise EngineError("the engine is not kept off the network")
    call.say(f"sealed: {' and '.join(sealing.by)}")
    started = _now()
    try:
        yield
    finally:
        last = engine.sealing or sealing
        revision = prepared.revision
        SealedRuns(archive.layout.home).append(
            SealedRun(
                revision.repo,
                revision.id,
                revision.digest,
                engine.build,
                last.by,
                last.requests,
                last.packets,
                started,
                _now(),
            )
        )
    if last.packets:
        raise EngineError(
            f"{last.packets} packets passed in the network namespace of the engine",
            hint="none left the machine; the engine or the model tried to use a network",
        )


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
