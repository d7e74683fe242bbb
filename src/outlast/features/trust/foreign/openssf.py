"""What the OpenSSF model signature of a revision comes to. No file of the model is hashed again:
the manifest has the digests.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from outlast.codec.memory import read
from outlast.core.claims import ForeignSignature, ForeignStanding
from outlast.core.errors import IntegrityError, MalformedError, OutlastError, one_line
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.features.trust.foreign.elliptic import certified_key, hint_of, is_signed
from outlast.features.trust.foreign.openssf_bundle import MAX_SIGNATURE_FILE, OpenssfBundle
from outlast.features.trust.foreign.openssf_statement import (
    GIT_PATHS,
    SIGNATURE_FILE,
    ModelStatement,
)
from outlast.features.trust.keys.extra import INSTALL, has_cryptography, has_sigstore
from outlast.features.trust.keys.identities import IdentityPin
from outlast.features.trust.keys.pins import Pin, PinRole, PinState
from outlast.store.archive import Archive

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.x509 import Certificate

    from outlast.features.trust.foreign.sigstore import SigstoreSigned
    from outlast.features.trust.foreign.sigstore_root import SigstoreRoot

FORMAT: Final = "OpenSSF model signature"
BINDS_NO_NAME: Final = "it binds no name, revision or time, so the model is not published by it"
_NAMED: Final = 3
_MOST_WHO: Final = 200


@dataclass(frozen=True, slots=True)
class OpenssfReader:
    """Finds and checks the signature of a revision. `roots`: for those by certificate;
    `sigstore_root` and `identities`: for those by a certificate of sigstore.
    """

    archive: Archive
    roots: "Callable[[], Sequence[Certificate]]"
    sigstore_root: "Callable[[], SigstoreRoot | None]"
    identities: Callable[[], Sequence[IdentityPin]]

    def signatures(
        self, revision: Revision, pins: Callable[[], list[Pin]]
    ) -> tuple[ForeignSignature, ...]:
        """That of the file `model.sig`, if there is one."""
        entry = next((e for e in revision.files if e.path == SIGNATURE_FILE), None)
        return () if entry is None else (self._signature(entry, revision, pins()),)

    def _signature(
        self, entry: FileEntry, revision: Revision, pins: Sequence[Pin]
    ) -> ForeignSignature:
        if not has_cryptography():
            return _found(ForeignStanding.UNCHECKED, INSTALL)
        try:
            data = self._bytes(entry)
        except OutlastError as error:
            return _found(ForeignStanding.UNCHECKED, f"it cannot be read here: {error}")
        try:
            bundle = OpenssfBundle.read(data)
            statement = ModelStatement.read(bundle.payload)
            if bundle.is_sigstore:
                who = self._who_of_sigstore(data, bundle, revision.repo)
            else:
                who = self._who(bundle, [pin for pin in pins if pin.covers(revision.repo)])
            if who.unchecked:
                return _found(ForeignStanding.UNCHECKED, who.unchecked)
            if not statement.has_whole_files:
                why = f"it has digests of pieces of files, or by {statement.algorithm}, which the "
                return _found(ForeignStanding.UNCHECKED, f"{why}manifest lacks", who.name)
            covered = _covered(statement, revision)
        except OutlastError as error:
            return _found(ForeignStanding.REFUSED, str(error))
        return _found(ForeignStanding.SIGNED, f"{covered}; {BINDS_NO_NAME}", who.name)

    def _bytes(self, entry: FileEntry) -> bytes:
        if entry.size > MAX_SIGNATURE_FILE:
            raise MalformedError(f"it has more than {MAX_SIGNATURE_FILE} bytes")
        assert entry.sha256 is not None
        with self.archive.open_blob(entry.sha256) as blob:
            return bytes(read(blob, 0, blob.size))

    def _who(self, bundle: OpenssfBundle, pins: Sequence[Pin]) -> "_Who":
        """Whose key signed a bundle, or why there is no key to check it by. Raises
        :class:`IntegrityError` where a key did not.
        """
        if bundle.chain:
            try:
                roots = self.roots()
            except OutlastError as error:
                return _Who(unchecked=f"the roots cannot be used: {error}")
            if not roots:
                return _Who(unchecked="it is by a certificate, and no 'signature-roots' are set")
            key, leaf = certified_key(bundle.chain, roots)
            _require(key, bundle)
            subject = one_line(leaf.subject.rfc4514_string(), _MOST_WHO)
            ended = leaf.not_valid_after_utc.date().isoformat()
            return _Who(f"{subject}, by a certificate below your roots (to {ended})")
        for pin, key in _elliptic(pins):
            if bundle.hint and hint_of(key) != bundle.hint:
                continue
            if not bundle.hint and not is_signed(key, bundle.message, bundle.signature):
                continue
            _require(key, bundle)
            if pin.state is PinState.REVOKED:
                raise IntegrityError(f"the key {pin.label} was revoked at {pin.ended}")
            retired = ", which is retired" if pin.state is PinState.RETIRED else ""
            return _Who(f"{pin.label}, a key pinned for {pin.namespace}{retired}")
        name = one_line(bundle.hint, 16) or "that it does not name"
        return _Who(unchecked=f"it is by a key that is not pinned here: {name}")

    def _who_of_sigstore(self, data: bytes, bundle: OpenssfBundle, repo: RepoId) -> "_Who":
        """The same of a certificate of sigstore: its identity has to be pinned."""
        if not has_sigstore():
            return _Who(unchecked=f"it is by sigstore: {INSTALL}")
        try:
            root = self.sigstore_root()
        except OutlastError as error:
            return _Who(unchecked=f"the trust root cannot be used: {error}")
        if root is None:
            return _Who(unchecked="it is by sigstore, and no 'sigstore-root' is set")
        from outlast.features.trust.foreign.sigstore import (  # noqa: PLC0415 - 1 s to import
            SigstoreBundle,
        )

        found = SigstoreBundle.read(data)
        if not root.has_log(found.log):
            log = found.log.hex()[:16]
            return _Who(unchecked=f"it is in a log that your trust root does not have: {log}")
        signed = found.verified(root)
        if signed.payload != bundle.payload:
            raise MalformedError("it can be read in two ways")
        return _who_signed(signed, [pin for pin in self.identities() if pin.covers(repo)])


@dataclass(frozen=True, slots=True)
class _Who:
    """`name`: whose key signed; `unchecked`: why that cannot be told here."""

    name: str = ""
    unchecked: str = ""


def _who_signed(signed: "SigstoreSigned", pins: Sequence[IdentityPin]) -> _Who:
    """Whose identity that is, by the pins that are about the model."""
    mine = [pin for pin in pins if pin.identity == signed.identity]
    who = one_line(str(signed.identity), _MOST_WHO)
    if not mine:
        return _Who(unchecked=f"it is by {who}, an identity that is not pinned here")
    for pin in mine:
        if pin.state is not PinState.REVOKED:
            called = f"{pin.label}, " if pin.label else ""
            at = signed.at.strftime("%Y-%m-%dT%H:%M:%SZ")
            return _Who(f"{called}{who}, an identity pinned for {pin.namespace}, at {at}")
    raise IntegrityError(f"the identity {who} was revoked at {mine[0].ended}")


def _require(key: "EllipticCurvePublicKey", bundle: OpenssfBundle) -> None:
    if not is_signed(key, bundle.message, bundle.signature):
        raise IntegrityError("the signature does not match the key that it names")


def _elliptic(pins: Sequence[Pin]) -> "Iterator[tuple[Pin, EllipticCurvePublicKey]]":
    """The pinned keys of the publisher that can have made such a signature, those that count
    first.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import (  # noqa: PLC0415 - an extra
        EllipticCurvePublicKey,
    )

    order = [PinState.ACTIVE, PinState.RETIRED, PinState.REVOKED]
    for pin in sorted(pins, key=lambda pin: order.index(pin.state)):
        if pin.role is PinRole.PUBLISHER and pin.key.kind.is_elliptic:
            try:
                key = pin.key.loaded()
            except MalformedError:  # not on its curve: it signed nothing
                continue
            if isinstance(key, EllipticCurvePublicKey):
                yield pin, key


def _covered(statement: ModelStatement, revision: Revision) -> str:
    """Which files of a revision a statement signs. Raises :class:`IntegrityError` where it signs
    others, or not all but those that its signer left out on purpose.
    """
    here = {e.path: e.sha256 for e in revision.files if e.path != SIGNATURE_FILE}
    lacking = {e.path: e.sha256 for e in revision.missing}
    strange = [path for path in statement.resources if path not in here and path not in lacking]
    if strange:
        raise IntegrityError(f"it signs files that the revision does not have: {_few(strange)}")
    for path, digest in statement.resources.items():
        known = here.get(path) or lacking.get(path)
        if known is not None and known.hex != digest:
            raise IntegrityError(f"it signs other bytes: {_few([path])}")
    unsigned = sorted(path for path in here if path not in statement.resources)
    bad = [path for path in unsigned if not _may_lack(statement, path)]
    if bad:
        raise IntegrityError(f"it does not sign all files: {_few(bad)}")
    count = f"{len(statement.resources)} files"
    return f"{count}, not {_few(unsigned)}" if unsigned else f"all {count}"


def _may_lack(statement: ModelStatement, path: str) -> bool:
    """Whether a signature counts without a file: what its signer left out, and the files of git
    that model-signing leaves out. (No archive has a folder `.git`.)
    """
    is_of_git = any(path == name or path.startswith(f"{name}/") for name in GIT_PATHS)
    return is_of_git or statement.leaves_out(path)


def _few(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(one_line(path, 100) for path in paths[:_NAMED]) + more


def _found(standing: ForeignStanding, why: str, who: str = "") -> ForeignSignature:
    return ForeignSignature(SIGNATURE_FILE, FORMAT, standing, who, one_line(why, 600))
