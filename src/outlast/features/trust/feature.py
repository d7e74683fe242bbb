"""The feature as the core sees it: commands, claims, rules, and what `doctor` finds."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from outlast.cli.feature import StatementSigner
from outlast.core.claims import Assessor, Weigher
from outlast.core.errors import NotFoundError, OutlastError
from outlast.core.names import KnownNames
from outlast.core.policy import Gate
from outlast.features.trust.settings import TrustSettings, read_settings
from outlast.ops.doctor import Finding, Health
from outlast.store.archive import Archive
from outlast.store.evidence.acquisition import Recorder

if TYPE_CHECKING:
    from outlast.app import App
    from outlast.server.http.mount import Mount


class Trust:
    """Implements :class:`outlast.cli.feature.Feature`."""

    def settings(self, table: Mapping[str, Any]) -> TrustSettings:
        return read_settings(table)

    def mounts(self, app: "App", settings: TrustSettings) -> Iterable["Mount"]:
        """Catalogues that are made here, for followers."""
        from outlast.features.trust.catalogue.library import has_library  # noqa: PLC0415 - an extra

        del settings
        if has_library():
            from outlast.features.trust.catalogue.using.mount import mount  # noqa: PLC0415

            yield mount(app.archive, app.mirror.access)

    def services(
        self, app: "App", settings: TrustSettings
    ) -> Iterable[AbstractContextManager[object]]:
        del app, settings
        return ()

    def checks(self, home: Path) -> Iterable[Finding]:
        """Rules in the archive that cannot be read refuse everything; pins that cannot be read
        prove nothing; the logs of screenings and of sealed runs are evidence; a catalogue without
        its record has no root that is trusted.
        """
        from outlast.features.trust.catalogue.checks import (  # noqa: PLC0415 - few have any
            catalogue_findings,
        )
        from outlast.features.trust.checks import findings  # noqa: PLC0415 - likewise
        from outlast.features.trust.dossier.checks import (  # noqa: PLC0415 - likewise
            sealed_run_findings,
        )
        from outlast.features.trust.rules.assemble import make_gate  # noqa: PLC0415 - likewise
        from outlast.features.trust.screening.checks import log_findings  # noqa: PLC0415 - likewise

        gate = make_gate(home, TrustSettings())
        try:
            if gate is not None:
                gate.load()
        except OutlastError as error:
            yield Finding("rules", Health.WRONG, str(error), error.hint)
        yield from log_findings(home)
        yield from sealed_run_findings(home)
        yield from catalogue_findings(home)
        try:
            with Archive(home) as archive:
                yield from findings(archive)
        except NotFoundError:  # there is no archive yet
            return


TRUST: Final = Trust()


def gate(home: Path, settings: TrustSettings) -> Gate | None:
    """The rules of the archive in `home`; None where there are none."""
    from outlast.features.trust.rules.assemble import make_gate  # noqa: PLC0415 - few have any

    return make_gate(home, settings)


def assessor(archive: Archive, settings: TrustSettings) -> Assessor:
    """Which claims hold of the revisions of an archive."""
    from outlast.features.trust.assemble import assessor_of  # noqa: PLC0415 - likewise

    return assessor_of(archive, settings)


def weigher(archive: Archive) -> Weigher:
    """What weighs statements of other archives."""
    from outlast.features.trust.records.weighing import StatementWeigher  # noqa: PLC0415 - likewise

    return StatementWeigher(archive)


def known_names(archive: Archive) -> KnownNames:
    """Names that followed catalogues list, and publishers whose keys are pinned."""
    from outlast.features.trust.catalogue.known_names import TrustedNames  # noqa: PLC0415 - likewise

    return TrustedNames(archive)


def recorder(archive: Archive, settings: TrustSettings) -> Recorder:
    """What keeps evidence of pulls."""
    from outlast.features.trust.evidence.assemble import recorder_of  # noqa: PLC0415 - likewise

    return recorder_of(archive, settings)


def statement_signer() -> StatementSigner:
    """What signs the statements of other features."""
    from outlast.features.trust.commands.statement_signer import (  # noqa: PLC0415 - likewise
        KeyStatementSigner,
    )

    return KeyStatementSigner()


def countries(home: Path, settings: TrustSettings) -> Callable[[str], str]:
    """What says from which country an organisation of a hub is run."""
    from outlast.features.trust.rules.assemble import rule_files  # noqa: PLC0415 - few ask
    from outlast.features.trust.rules.publishers import read_publishers  # noqa: PLC0415 - likewise

    publishers = read_publishers(rule_files(home, settings).publishers)
    return lambda organisation: publishers.named(organisation).country
