"""The calls of an archive that keep it right, and carry it across an air gap."""

import datetime as dt
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from outlast.api.opened import AnyPath, OpenedArchive, absolute, within
from outlast.api.values import BundleExport, BundleImport, ScrubReport
from outlast.api.work import OnEvent, run
from outlast.core.cancel import Cancel
from outlast.core.errors import UsageError
from outlast.core.names import Target

_MOST_PARITY: Final = 50.0


class KeepingCalls(OpenedArchive):
    """Part of :class:`outlast.Archive`."""

    def scrub(
        self,
        *targets: str,
        full: bool = False,
        mend: bool = True,
        max_seconds: float | None = None,
        limit_rate: int = 0,
        swarm: bool = False,
        progress: OnEvent | None = None,
        cancel: Cancel | None = None,
    ) -> ScrubReport:
        """Reads the files of `targets`, or of the whole archive, from the disk again, those first
        that were read longest ago; what is damaged is reported and, if `mend`, mended: from what
        lies here, else from where the model came from.

        Checksums are compared, or with `full` every sha256. It ends after `max_seconds`, also
        within a file, and the next scrub goes on there; so it does after Ctrl-C. It reads at most
        `limit_rate` bytes a second (0: no limit). `swarm` asks static peers and neighbours too, as
        of :meth:`pull`. With the setting parity, parity is written.

        Raises :class:`NotFoundError`, :class:`TransientError` where another scrub is under way,
        :class:`StorageError` and :class:`Cancelled`.
        """
        from outlast.api.scrubbing import Scrubbing, scrub  # noqa: PLC0415 - slow: the network

        within("limit_rate", limit_rate, 0, None)
        if max_seconds is not None and max_seconds < 0:
            raise UsageError(f"max_seconds is {max_seconds}, and must be at least 0")
        wanted = tuple(Target.parse(target) for target in targets)
        wishes = Scrubbing(wanted, full, mend, max_seconds, limit_rate, swarm)
        with self._use() as store:
            return run(
                lambda control: scrub(store, self._settings, wishes, control), progress, cancel
            )

    def inventory(self) -> bytes:
        """Which manifests and blobs are here, by their sha256: write it to a file, and the archive
        on the other side leaves these out (`since` of :meth:`export`). It names no model. Nothing
        is read again: :meth:`verify` and :meth:`scrub` find damage.
        """
        from outlast.features.bundle.inventory import take_inventory  # noqa: PLC0415 - seldom used

        with self._use() as store:
            return take_inventory(store).to_bytes() + b"\n"

    def export(
        self,
        targets: str | Iterable[str],
        to: AnyPath | Iterable[AnyPath],
        *,
        plain: bool = False,
        parity: float = 10.0,
        part_size: int | None = None,
        media: int | None = None,
        since: AnyPath | None = None,
        bagit: bool = False,
        encrypt: str | Iterable[str] = (),
        identity: AnyPath | None = None,
        restricted: bool = False,
        progress: OnEvent | None = None,
        cancel: Cancel | None = None,
    ) -> BundleExport:
        """Writes `targets` to a bundle in the folder `to`, which :meth:`import_bundle` reads on the
        other side of an air gap. Every blob is checked while it is written. An interrupted export
        goes on with the same call.

        `parity`: percent of the parts (0 to 50) that may be damaged or lost. `part_size`: bytes of
        the largest file (3.9 GB). `media`: bytes of a medium, where there are several; `to` then
        has a folder for each. `since`: a file of :meth:`inventory`, or the last bundle: what is
        there is left out. `bagit` writes BagIt bags. `encrypt`: age or ssh public keys, or files
        that have some; `identity` opens an encrypted bundle of `since`. Private and gated models go
        with `restricted` alone.

        Raises :class:`NotFoundError`, :class:`IntegrityError` where a blob is damaged,
        :class:`PolicyError`, :class:`StorageError`, :class:`UsageError` and :class:`Cancelled`.
        """
        from outlast.api.bundles import Carrying, export  # noqa: PLC0415 - seldom used

        if not 0 <= parity <= _MOST_PARITY:
            raise UsageError(f"parity is {parity}, and must be from 0 to {_MOST_PARITY:.0f}")
        carrying = Carrying(
            tuple(Target.parse(t) for t in ([targets] if isinstance(targets, str) else targets)),
            _folders(to),
            plain=plain,
            parity=parity,
            part_size=within("part_size", part_size, 1, None),
            media=within("media", media, 1, None),
            since=absolute(since),
            bagit=bagit,
            recipients=(encrypt,) if isinstance(encrypt, str) else tuple(encrypt),
            identity=absolute(identity) or self._settings.config.identity,
            restricted=restricted,
        )
        now = dt.datetime.now(dt.UTC)
        with self._use() as store:
            return run(lambda control: export(store, carrying, now, control), progress, cancel)

    def import_bundle(
        self,
        folders: AnyPath | Iterable[AnyPath],
        *,
        identity: AnyPath | None = None,
        progress: OnEvent | None = None,
        cancel: Cancel | None = None,
    ) -> tuple[BundleImport, ...]:
        """Archives what the bundle in `folders` holds, one folder for each medium; the result of
        each bundle that is there. Every file is compared with its sha256 before it is kept, and
        what is damaged is restored from parity. What cannot be taken is told and the rest archived;
        the same call goes on from there. `identity` is a file that opens encrypted bundles.

        Raises :class:`NotFoundError` where no bundle is, :class:`PolicyError` where one is locked,
        :class:`StorageError` and :class:`Cancelled`.
        """
        from outlast.api.bundles import import_media  # noqa: PLC0415 - seldom used

        opens = absolute(identity) or self._settings.config.identity
        places = _folders(folders)
        with self._use() as store:
            return run(
                lambda control: import_media(store, places, opens, control), progress, cancel
            )


def _folders(given: AnyPath | Iterable[AnyPath]) -> tuple[Path, ...]:
    """One folder, or several."""
    several = [given] if isinstance(given, str | os.PathLike) else given
    return tuple(path for one in several if (path := absolute(one)) is not None)
