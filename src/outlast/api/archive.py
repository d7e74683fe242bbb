"""An open archive, as a Python program uses it."""

import io
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from outlast.api.keeping import KeepingCalls
from outlast.api.opened import AnyPath, absolute, within
from outlast.api.settings import read
from outlast.api.values import (
    AddedRevision,
    File,
    Plan,
    PulledRevision,
    Revision,
    RevisionSummary,
    Verification,
    file_of,
    told,
)
from outlast.api.work import OnEvent, run
from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.core.errors import (
    BadConfigError,
    DamagedRecordError,
    EntryNotFoundError,
    NotArchivedError,
    UsageError,
)
from outlast.core.manifest import FileEntry
from outlast.core.manifest import Revision as Manifest
from outlast.core.names import Target
from outlast.core.policy import Action
from outlast.intake.form_policy import FormWish, FormWishes
from outlast.intake.formats.quarantine import Quarantine
from outlast.intake.judging import require_revision
from outlast.store.archive import Archive as Store

Form: TypeAlias = Literal["auto", "plain", "capsule"]
Globs: TypeAlias = str | Iterable[str]

_MOST_CONNECTIONS: Final = 256

logging.getLogger("outlast").addHandler(logging.NullHandler())  # else Python prints warnings itself


def open(  # noqa: A001 - it opens an archive, and is called outlast.open
    home: AnyPath | None = None, *, create: bool = True, configured: bool = True
) -> "Archive":
    """Opens the archive in the folder `home` (``~`` is your home folder), and makes it where there
    is none, unless `create` is false. Without `home` it is the one that ``outlast`` uses.

    `configured`: what the command line reads counts here too, the configuration file and the
    environment: hubs, tokens, proxies, limits. If false, only the arguments of the calls count.

    Raises :class:`NotFoundError` where no archive is and none may be made, :class:`StorageError`,
    and :class:`UsageError` where the configuration is wrong.
    """
    settings = read(home, configured=configured)
    return Archive(settings, create=create)


class Archive(KeepingCalls):
    """An open archive; `open` makes one. A context manager. Thread-safe, and several processes may
    have the same archive open.

    Long calls take `progress`, which gets each :class:`Event` in the thread of the call, and
    `cancel`, a token that ends the call from any other thread (:class:`Cancelled`). Ctrl-C and an
    error in `progress` end it too; all leave the archive sound, and the same call goes on where it
    can. Every expected error is an :class:`Error`.

    A `target` is a model or dataset as ``org/name[@ref]`` or ``datasets/org/name[@ref]``; its ref
    is a branch, a tag or a commit. Globs are over whole paths; ``*`` crosses slashes.
    """

    # What comes in

    def pull(
        self,
        target: str,
        *,
        include: Globs = (),
        exclude: Globs = (),
        from_: str | Iterable[str] = (),
        token: str | Mapping[str, str] | None = None,
        form: Form | None = None,
        connections: int | None = None,
        limit_rate: int | None = None,
        swarm: bool = False,
        strict: bool = False,
        progress: OnEvent | None = None,
        cancel: Cancel | None = None,
    ) -> PulledRevision:
        """Archives `target`: every file checked against the hub's digest before it is kept. What is
        here is not fetched again, and an interrupted pull resumes.

        `include` and `exclude` choose files. `from_` are sources, as --from names them, to ask in
        place of the configured ones. `token` is for all of them, if they are one host, else tokens
        by URL; an empty one sends none. `form` is how files are kept (``auto``: compressed if that
        saves 3 %). At most so many `connections` (1 to 256), and bytes per second (`limit_rate`; 0
        is no limit). With `strict`, files that are not what their names say are refused.

        `swarm` asks neighbours on the LAN and static peers too. It is off unless you turn it on:
        while such a pull runs, this process listens on the LAN, and shares what the section [share]
        of the configuration allows. What a neighbour says a model consists of counts only with
        ``"lan"`` among `from_`, and where no hub that is named there answers.

        Raises :class:`NotFoundError`, :class:`IntegrityError`, :class:`TransientError` (call it
        again), :class:`PolicyError` (no access), :class:`StorageError` and :class:`Cancelled`.
        """
        from outlast.api.pulling import Sourcing, pull  # noqa: PLC0415 - slow: the network's rooms

        sourcing = Sourcing(
            include=_texts(include),
            exclude=_texts(exclude),
            urls=_texts(from_),
            token=token,
            forms=self._forms(form),
            connections=within("connections", connections, 1, _MOST_CONNECTIONS),
            rate=within("limit_rate", limit_rate, 0, None),
            swarm=swarm,
            strict=strict,
        )
        wanted = Target.parse(target)
        with self._use() as store:
            done = run(
                lambda control: pull(store, self._settings, wanted, sourcing, control),
                progress,
                cancel,
            )
            revision = store.revision(done.plan.repo, done.plan.commit.hex)
            return PulledRevision(
                *_revision(store, revision),
                fetched=dict(done.fetched),
                stored=done.held,
                warnings=told(done.suspects),
            )

    def plan_pull(
        self,
        target: str,
        *,
        include: Globs = (),
        exclude: Globs = (),
        from_: str | Iterable[str] = (),
        token: str | Mapping[str, str] | None = None,
        swarm: bool = False,
        cancel: Cancel | None = None,
    ) -> Plan:
        """What :meth:`pull` would fetch, and whether it fits. Asks the sources and changes nothing.
        Takes the arguments, and raises the errors, of :meth:`pull`.
        """
        from outlast.api.pulling import Sourcing, plan  # noqa: PLC0415 - as above

        sourcing = Sourcing(
            include=_texts(include),
            exclude=_texts(exclude),
            urls=_texts(from_),
            token=token,
            forms=self._forms(None),
            swarm=swarm,
        )
        wanted = Target.parse(target)
        with self._use() as store:
            return run(
                lambda control: plan(store, self._settings, wanted, sourcing, control),
                cancel=cancel,
            )

    def add(
        self,
        path: AnyPath,
        target: str,
        *,
        include: Globs = (),
        exclude: Globs = (),
        form: Form | None = None,
        follow_links: bool = False,
        strict: bool = False,
        progress: OnEvent | None = None,
        cancel: Cancel | None = None,
    ) -> AddedRevision:
        """Archives a folder or file of your own as `target`; without a ref, as its ``main``.

        `include`, `exclude`, `form` and `strict` as of :meth:`pull`. Symbolic links are refused,
        unless `follow_links`. Raises :class:`NotFoundError` where there is nothing to add,
        :class:`UsageError`, :class:`IntegrityError` (`strict`), :class:`StorageError` and
        :class:`Cancelled`: then nothing is recorded.
        """
        from outlast.fetch.file_filter import Selection  # noqa: PLC0415 - as above
        from outlast.ops.add import add  # noqa: PLC0415

        folder, named = Path(os.path.expanduser(path)), Target.parse(target)
        selection, forms = Selection(_texts(include), _texts(exclude)), self._forms(form)
        with self._use() as store:
            done = run(
                lambda control: add(
                    store,
                    folder,
                    named,
                    selection=selection,
                    follow_links=follow_links,
                    control=control,
                    wishes=forms,
                    strict=strict,
                ),
                progress,
                cancel,
            )
            return AddedRevision(
                *_revision(store, done.revision),
                new=done.stored,
                stored=done.held,
                warnings=told(done.suspects),
            )

    # What is here

    def list(self, *patterns: str, skip_damaged: bool = False) -> tuple[RevisionSummary, ...]:
        """Every revision here, or those of models that match one of `patterns` (globs), by name.

        Raises :class:`DamagedRecordError` where the record of a ref or of an unfinished pull cannot
        be read, because the list may lack what it says; with `skip_damaged` it is passed over.
        """
        from outlast.ops.listing import list_revisions  # noqa: PLC0415 - as above

        with self._use() as store:
            found = list_revisions(store, patterns)
        if found.damaged and not skip_damaged:
            first = found.damaged[0]
            raise DamagedRecordError(f"{first.repo}: {first.problem}")
        return tuple(
            RevisionSummary(
                repo=str(line.summary.repo),
                commit=line.summary.revision.hex,
                refs=line.refs,
                files=line.summary.files,
                size=line.summary.size,
                stored=line.stored,
                complete=not line.summary.partial,
            )
            for line in found.lines
        )

    def revision(self, target: str) -> Revision:
        """The revision that `target` names here, with its files. Without a ref it is ``main``, or
        the only revision. Raises :class:`NotFoundError`.
        """
        with self._use() as store:
            return Revision(*_revision(store, _manifest(store, target)))

    def open_file(self, target: str, path: str, *, allow_unsafe: str = "") -> io.BufferedReader:
        """Opens one file of a revision for reading, as ``builtins.open(…, "rb")`` does: it can be
        sought, and passed to what reads binary files (`zipfile`, `numpy.load`, …). Several may be
        open at once. Close it, or the archive, which closes all of them.

        Files that are stored compressed are decoded while they are read. No byte is returned that
        was not checked since the file changed. It has no file number: use :meth:`link` for programs
        that need a real file. While it is open, it stays readable, whatever is removed or packed
        meanwhile. Rules count it as export.

        A pickle is in quarantine, because a program that loads it runs what is in it: pass its
        sha256 (hex) as `allow_unsafe` to open it nevertheless.

        Raises :class:`NotFoundError`, :class:`PolicyError` where rules do not allow it or the file
        is in quarantine, and here or
        while it is read :class:`IntegrityError` where it is damaged and :class:`StorageError` where
        the disk cannot read it.
        """
        with self._use() as store:
            revision = _manifest(store, target)
            require_revision(store, Action.EXPORT, revision)
            entry = _entry(revision, path)
            if entry.sha256 is None or not (store.holds(entry) or store.damage.of(entry.sha256)):
                raise NotArchivedError(f"{path!r} of {target} is not in the archive")
            allowed = {Digest(allow_unsafe)} if allow_unsafe else ()
            Quarantine(store, allowed=allowed).require(entry, revision.files)
            file = store.open_blob(entry.sha256).stream()
            with self._changed:
                self._files.add(file)
            return file

    def verify(
        self,
        *targets: str,
        quarantine: bool = False,
        progress: OnEvent | None = None,
        cancel: Cancel | None = None,
    ) -> Verification:
        """Hashes the files of `targets` again, or all files and records of the archive, and tells
        what is damaged or missing. With `quarantine`, what is damaged is moved away, so that the
        next pull fetches it again; else nothing is changed. Raises :class:`NotFoundError`,
        :class:`Cancelled`.
        """
        from outlast.ops.verify import verify  # noqa: PLC0415 - as above

        named = [Target.parse(target) for target in targets]
        with self._use() as store:
            done = run(
                lambda control: verify(store, named, quarantine=quarantine, control=control),
                progress,
                cancel,
            )
        return Verification(done.blobs, done.size, done.problems, told(done.suspects))

    # What goes out

    def link(
        self,
        target: str,
        *,
        folder: AnyPath | None = None,
        cache: AnyPath | None = None,
        budget: int | None = None,
        progress: OnEvent | None = None,
        cancel: Cancel | None = None,
    ) -> Path:
        """Gives other programs the files of a revision under their names, by hard links: in a plain
        `folder`, or in a Hugging Face `cache`; without either, in a folder of the archive. Returns
        the folder that has them.

        What is stored compressed is decoded to working copies before, which take at most `budget`
        bytes of the disk together (None: as configured). Raises :class:`NotFoundError`,
        :class:`IntegrityError`, :class:`StorageError` (also where another file is in the way) and
        :class:`Cancelled`.
        """
        from outlast.ops.export import link  # noqa: PLC0415 - as above

        if folder is not None and cache is not None:
            raise UsageError("a folder and a cache were named", hint="call link() for each of them")
        named = Target.parse(target)
        with self._use() as store:
            place = store.layout.links / "folders" / str(named).replace("@", "/@")
            done = run(
                lambda control: link(
                    store,
                    named,
                    cache=absolute(cache),
                    folder=absolute(folder) or (place if cache is None else None),
                    budget=self._settings.config.working_copies if budget is None else budget,
                    control=control,
                ),
                progress,
                cancel,
            )
        found = done.snapshot or done.folder
        assert found is not None, "one of them was asked for"
        return found

    # Inside

    def _forms(self, form: Form | None) -> FormWishes:
        try:
            return FormWishes(FormWish(form) if form else self._settings.config.form)
        except ValueError:
            known = ", ".join(wish.value for wish in FormWish)
            raise BadConfigError(f"not a form: {form!r}", hint=f"known: {known}") from None


def _manifest(store: Store, target: str) -> Manifest:
    named = Target.parse(target)
    return store.revision(named.repo, named.ref)


def _entry(revision: Manifest, path: str) -> FileEntry:
    entry = revision.find(path)
    if entry is None:
        raise EntryNotFoundError(f"{revision.repo} has no file {path!r}")
    return entry


def _revision(
    store: Store, revision: Manifest
) -> tuple[str, str, tuple[str, ...], tuple[File, ...], str | None, bool]:
    """The fields of a :class:`Revision`."""
    refs = (ref.name for ref in store.refs.list(revision.repo) if ref.commit == revision.id)
    drafted = store.drafts.exists(revision.repo, revision.id)
    files = [*revision.files, *revision.missing]
    return (
        str(revision.repo),
        revision.id.hex,
        tuple(refs),
        tuple(file_of(entry, archived=store.holds(entry)) for entry in files),
        None if drafted else revision.digest.hex,
        not revision.partial,
    )


def _texts(given: Globs) -> tuple[str, ...]:
    """One text, or several: one alone is not taken for a list of its letters."""
    return (given,) if isinstance(given, str) else tuple(given)
