"""What a server knows: the archive, and behind it, if the operator wishes, the hubs upstream.

Commits are immutable, so an archived commit is served without asking upstream. A ref is asked for
again when it is older than a time to live; when no source answers, the last known commit is served,
and the answer says since when it is stale. What a node on the LAN alone said, to a pull of the
operator's, is asked for each time until a source answers, and is served with a mark.
"""

import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from outlast.core.control import Control
from outlast.core.digest import GitOid
from outlast.core.errors import (
    BusyError,
    Cancelled,
    DamagedRecordError,
    EntryNotFoundError,
    NotArchivedError,
    OutlastError,
    RateLimitedError,
    TransientError,
)
from outlast.core.events import Note
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId, check_ref, plain_ref
from outlast.core.policy import Action
from outlast.fetch.file_filter import admitted
from outlast.fetch.known_lists import is_doubted
from outlast.fetch.revision import (
    FetchContext,
    mend_draft,
    note_facts,
    remember,
    seal,
    start_draft,
)
from outlast.fetch.transfer import Wishes
from outlast.fetch.withdrawals import noting_withdrawals
from outlast.intake.formats.quarantine import Quarantine
from outlast.intake.judging import CARD, Judgements, require_listing
from outlast.intake.suspects import Suspects, warn
from outlast.mirror.access import Access
from outlast.mirror.answers import Asking, Found, unknown
from outlast.mirror.asker import AccessRules, Voice
from outlast.mirror.intake import Admission
from outlast.mirror.limits import IntakeLimits
from outlast.mirror.questions import Question, Questions
from outlast.mirror.quota import Quota
from outlast.mirror.recording import record_came_through
from outlast.mirror.ref_lists import RefLists
from outlast.mirror.streaming import StreamingFile, StreamingFiles
from outlast.mirror.tuning import TUNING, MirrorTuning
from outlast.mirror.views import View, Views
from outlast.node.scope import Neighbourhood
from outlast.p2p.coordinator import coordinator_for
from outlast.p2p.resolve import locate
from outlast.sources.base import AccessSource, Listing, Source
from outlast.store import unverified
from outlast.store.archive import Archive
from outlast.store.cached.holds import HeldRevisions
from outlast.store.records.refs import Ref

_log = logging.getLogger(__name__)


class Mirror:
    """The archive and its upstreams (none: it serves what is archived). Thread-safe."""

    def __init__(
        self,
        archive: Archive,
        sources: Sequence[Source] = (),
        *,
        ttl: float = 300.0,
        rules: AccessRules | None = None,
        wishes: Wishes | None = None,
        control: Control | None = None,
        around: Neighbourhood | None = None,
        intake: IntakeLimits | None = None,
        quarantine: Quarantine | None = None,
        on_bug: Callable[[BaseException], None] = lambda _bug: None,
        tuning: MirrorTuning = TUNING,
    ) -> None:
        """`rules` say who may read what is not public. `around` are the nodes to fetch from beside
        the sources, `intake` bounds what clients may make it fetch. `quarantine` says which files
        go to no client (None: those that the archive does not remember as allowed). `on_bug` gets
        exceptions of background work that are no :class:`OutlastError`: no caller is there to raise
        them to.
        """
        self._tuning = tuning
        self.archive = archive
        self.quarantine = quarantine or Quarantine(archive)
        self._sources = sources
        self._ttl = ttl
        self._wishes = replace(wishes or Wishes(), patience=tuning.fetch)
        self._control = control or Control()
        self._around = around
        # Strangers may send bytes, which are verified. What a model is, they are not asked.
        self._advisers = None if around is None else replace(around, lan=False)
        self._on_bug = on_bug
        self._lock = threading.Lock()
        self._judgements = Judgements(archive, Action.SERVE)
        self._views = Views(archive, fetches=bool(sources), kept=tuning.kept)
        self.access = Access(
            archive, sources, rules or AccessRules(), ttl=ttl, on_bug=on_bug, tuning=tuning
        )
        self._questions = Questions(self.access, ttl=ttl, tuning=tuning)
        self._troubles = self._questions.troubles
        self.refs = RefLists(archive, self._questions, fetches=bool(sources), tuning=tuning)
        self._listed: OrderedDict[tuple[RepoId, GitOid], float] = OrderedDict()
        """When (monotonic seconds) a source listed the files of a commit."""
        self._intake = Admission(archive.layout.home, intake or IntakeLimits(), tuning)
        limit = intake.keep if intake is not None and sources else None
        self.quota = Quota(archive, self._intake, limit, self._control, tuning=tuning)
        self.streams = StreamingFiles(
            self._fetch_context,
            self._fetch_ended,
            self._unheard,
            self._intake,
            hold=self._hold,
            come=self._come,
        )

    @property
    def fetches(self) -> bool:
        """Whether there is an upstream, so that clients may make it write to the archive."""
        return bool(self._sources)

    def close(self) -> None:
        self._control.cancel.set()
        with contextlib.suppress(OutlastError):  # a disk that fails says so elsewhere
            self.quota.write_down()

    def _unheard(self, error: BaseException) -> None:
        if not isinstance(error, OutlastError):
            self._on_bug(error)
        elif not isinstance(error, Cancelled):
            self._control.emit(Note(str(error)))

    def spelling(self, repo: RepoId) -> RepoId:
        """`repo` as the archive spells it."""
        return self.archive.refs.spelling(repo)

    # Refs

    def find(self, repo: RepoId, ref: str, voice: Voice) -> Found | Asking[Found]:
        """The revision that `ref` names; raises where neither the archive nor a source knows, and
        :class:`RefusedByRulesError` where the rules do not allow to fetch or to serve it. Sources
        are asked by `voice`, which the caller may use: that is not checked here.
        """
        found = self._find(repo, ref, voice)
        if isinstance(found, Found):
            return self._allowed(found)
        return replace(found, settle=lambda: self._allowed(found.settle()))

    def _allowed(self, found: Found) -> Found:
        self._judgements.require(found.view.revision)
        return found

    def _find(self, repo: RepoId, ref: str, voice: Voice) -> Found | Asking[Found]:
        ref = plain_ref(check_ref(ref))
        try:
            known = self.archive.refs.get(repo, ref) if not GitOid.is_valid(ref) else None
        except DamagedRecordError:
            if not self._sources:
                raise
            return self._find_new(repo, ref, None, voice)  # it is written anew
        if known is None:
            return self._find_commit(repo, ref, voice)
        return self._find_ref(repo, known, voice)

    def _find_commit(self, repo: RepoId, ref: str, voice: Voice) -> Found | Asking[Found]:
        """What a commit, or a ref that is not noted, stands for."""
        commit = self.archive.find_commit(repo, ref)
        view = None if commit is None else self._views.get(repo, commit)
        unsure = view is not None and (self._may_grow(view) or view.unconfirmed)
        if view is not None and not (unsure and self._sources):
            if voice.is_public:
                self.access.recheck(repo)  # a ref is asked for anyway, a commit is not
            return self._marked(repo, ref, view)
        return self._find_new(repo, ref, view, voice)

    def _find_ref(self, repo: RepoId, known: Ref, voice: Voice) -> Found | Asking[Found]:
        """What a ref stands for that was noted once."""
        ref = known.name
        view = self._views.get(repo, known.commit)
        if view is None:
            return self._find_new(repo, ref, None, voice)
        unsure = self._may_grow(view) or view.unconfirmed or known.unconfirmed
        fresh = self._questions.is_fresh(repo, ref, known.observed, voice)
        if not self._sources or (fresh and not unsure):
            return self._best(repo, known, view, "", voice)
        since = known.observed or "unknown"
        if (reason := self._troubles.why_not(repo, ref, voice.key)) is not None:
            _log.debug("%s@%s is served stale (since %s): %s", repo, ref, since, reason)
            return self._best(repo, known, view, since, voice)

        why = f"older than {self._ttl} s"
        if unsure:
            why = "the list of its files is not complete, or no source has confirmed it"
        question = self._ask(repo, ref, voice, why)

        def settle() -> Found:
            now = self.archive.refs.get(repo, ref) or known
            latest = self._views.get(repo, now.commit) or view
            if not question.answered:
                _log.debug("%s@%s is served stale (since %s): no answer yet", repo, ref, since)
            return self._best(repo, now, latest, "" if question.answered else since, voice)

        patience = self._tuning.answer_timeout if unsure else self._tuning.grace
        return Asking(question.future, question.began + patience, settle)

    def _best(self, repo: RepoId, ref: Ref, view: View, stale: str, voice: Voice) -> Found:
        """What to serve for a ref: its commit; or, while upstream fails and parts of that never
        came, the last one that is here completely.
        """
        doubtful = stale or self._troubles.failing
        if doubtful and view.revision.missing and ref.complete is not None:
            whole = self._views.get(repo, ref.complete)
            if whole is not None:
                if time.monotonic() > self._troubles.down_until(voice.key):
                    self._ask(repo, ref.name, voice, "upstream may be back")
                _log.debug(
                    "%s@%s: upstream fails, so the complete %s is served; %s lacks %d files",
                    repo,
                    ref.name,
                    ref.complete,
                    ref.commit,
                    len(view.revision.missing),
                )
                return Found(whole, stale or ref.observed or "unknown", whole.unconfirmed)
        return Found(view, stale, view.unconfirmed or ref.unconfirmed)

    def _marked(self, repo: RepoId, ref: str, view: View) -> Found:
        """The answer for a commit, or for a ref as it is noted by now."""
        noted = None if GitOid.is_valid(ref) else self.archive.refs.get(repo, ref)
        return Found(view, "", view.unconfirmed or (noted is not None and noted.unconfirmed))

    def _find_new(
        self, repo: RepoId, ref: str, fallback: View | None, voice: Voice
    ) -> Found | Asking[Found]:
        """Asks upstream for something that is not here."""

        def settle(error: OutlastError | None = None, name: RepoId = repo) -> Found:
            commit = self.archive.find_commit(name, ref)
            view = None if commit is None else self._views.get(name, commit)
            if (best := view or fallback) is not None:
                return self._marked(name, ref, best)
            absent = self._troubles.absent(repo, ref, voice.key)
            raise error or absent or unknown(self.archive, repo, ref)

        if not self._sources:
            return settle()
        if (absent := self._troubles.absent(repo, ref, voice.key)) is not None:
            _log.debug("%s@%s is not asked for upstream, which refused it: %s", repo, ref, absent)
            return settle(absent)
        if fallback is not None and self._troubles.why_not(repo, ref, voice.key) is not None:
            return settle()
        self._intake.question()
        question = self._ask(repo, ref, voice, "the archive does not have it")

        def settle_or_say_why() -> Found:
            if not question.future.done():
                return settle(TransientError(f"no source has answered for {repo} yet"))
            error = question.future.exception()
            if error is not None and not isinstance(error, OutlastError):
                raise error
            # A source that told this voice of it may spell it in another way.
            return settle(error, repo if error else self.spelling(repo))

        return Asking(
            question.future, question.began + self._tuning.answer_timeout, settle_or_say_why
        )

    def _ask(self, repo: RepoId, ref: str, voice: Voice, why: str) -> Question:
        """The question where `ref` points."""
        return self._questions.ask(self._describe, repo, ref, voice, why=why)

    def _describe(self, repo: RepoId, ref: str, voice: Voice) -> None:
        listing, source = self._first_answer(repo, ref, voice)
        repo = self.spelling(listing.repo)  # the source may spell it in another way
        listing, _ = admitted(replace(listing, repo=repo), self._control.emit)
        require_listing(self.archive, Action.PULL, listing, source.name)
        mend_draft(self.archive, repo, listing.commit, self._control)
        self._make_room_for_list(listing)
        with self.archive.writer() as writer:
            note_facts(self.archive, writer, listing, source.name)
            revision = self.archive.load(repo, listing.commit)
            listed, told_by = {entry.path for entry in listing.entries}, listing.told_by
            doubted = is_doubted(self.archive, repo, listing.commit, told_by)
            known = frozenset[str]() if revision is None else revision.paths
            if revision is None:
                self.archive.cached.begin(writer, repo, listing.commit)
            if revision is None or revision.unlisted or doubted or not listed <= known:
                start_draft(
                    self.archive,
                    writer,
                    repo,
                    listing.commit,
                    listing.entries,
                    unlisted=listing.unlisted,
                    told_by=told_by,
                )
            remember(self.archive, writer, listing, ref, source, cancel=self._control.cancel)
        if voice.is_public and isinstance(source, AccessSource):
            facts = listing.facts
            self.access.saw(repo, is_open=not facts.private and not facts.gated)
        self._complete(repo, listing.commit)  # all of it may be here through other revisions
        with self._lock:
            self._listed[repo, listing.commit] = time.monotonic()
            self._listed.move_to_end((repo, listing.commit))
            while len(self._listed) > self._tuning.kept:
                self._listed.popitem(last=False)

    def _make_room_for_list(self, listing: Listing) -> None:
        """Raises :class:`DiskFullError` where the list of a commit that is not here yet would take
        what stays free of the disk: clients name as many models as they like.
        """
        if self.archive.load(listing.repo, listing.commit) is not None:
            return
        size = sum(self._tuning.listed_file + len(entry.path) for entry in listing.entries)
        self.quota.make_room(size)
        self._intake.require_room(size, f"a list of {len(listing.entries):,} files")

    def _may_grow(self, view: View) -> bool:
        """Whether a source may tell of files that the list of a revision lacks. It is not asked
        again for a list that it gave lately: what is left out for its name is so each time.
        """
        if not view.revision.unlisted or not self._sources:
            return False
        listed = self._listed.get((view.revision.repo, view.revision.id))
        return listed is None or time.monotonic() - listed >= self._ttl

    def _first_answer(self, repo: RepoId, ref: str, voice: Voice) -> tuple[Listing, Source]:
        """Asks the sources in order, with little patience: a client is waiting."""
        with noting_withdrawals(self.archive, repo, self._control.emit) as emit:
            control = replace(self._control, emit=emit)
            return locate(
                voice.sources, self._advisers, repo, ref, control, patience=self._tuning.ask
            )

    # Files

    def entry(self, view: View, path: str) -> FileEntry:
        """A file of a revision, wherever its bytes are."""
        entry = view.files.get(path)
        revision = view.revision
        if entry is not None:
            return entry
        if any(missing.path == path for missing in revision.missing):
            raise NotArchivedError(f"{path!r} is part of the commit but not archived here")
        raise EntryNotFoundError(f"{revision.repo}@{revision.id} has no {path!r}")

    def open(
        self, view: View, path: str, voice: Voice, held: HeldRevisions
    ) -> FileEntry | StreamingFile:
        """A file of a revision: its entry where its bytes are here, else the fetch of it, from
        where `voice` may. `held` keeps the revision here until it is closed. Raises
        :class:`BusyError` where the revision went after `view` was found.
        """
        seen = view.revision
        held.add(seen.repo, seen.id)
        self.quota.used(seen.repo, seen.id)
        now = self._views.get(seen.repo, seen.id)  # it may have come by now
        if now is None and seen.id not in self.archive.commits(seen.repo):
            raise BusyError(f"{seen.repo}@{seen.id.hex[:12]} was just dropped: ask again")
        view = now or view
        entry = self.entry(view, path)
        repo, commit = view.revision.repo, view.revision.id
        if self.archive.holds(entry) and entry not in view.revision.missing:
            return entry
        here = self._may_take(repo, entry)
        known = self.archive.known(entry)
        if known is not None and self._may_take(repo, known):
            self._note(repo, commit, known)
            return known
        if not here and not self._sources:
            if entry.sha256 is not None:
                self.archive.refuse_damaged(entry.sha256)
            raise NotArchivedError(f"the bytes of {path!r} are not here")
        if not here and self.streams.find(entry.key) is None:
            self.quota.make_room(entry.size)
        # A draft brought what is here: no manifest has all of its names yet, so it is read once.
        streaming = self.streams.fetch(repo, commit, entry, voice, here=here)
        return entry if here else streaming

    def unread_card(self, view: View, path: str) -> str | None:
        """The card that has to be read before the file at `path` is sent: rules may ask what it
        says. None where there are no rules, or it is here.
        """
        if self.archive.rules.is_open or path == CARD:
            return None
        now = self._views.get(view.revision.repo, view.revision.id) or view
        entry = now.files.get(CARD)
        if entry is None or (entry not in now.revision.missing and self.archive.holds(entry)):
            return None
        return CARD

    def require(self, view: View) -> None:
        """Raises :class:`RefusedByRulesError` where the rules do not allow to serve a revision, by
        what is here of it now.
        """
        now = self._views.get(view.revision.repo, view.revision.id) or view
        self._judgements.require(now.revision)

    def _hold(self, repo: RepoId, commit: GitOid) -> Callable[[], object]:
        held = self.quota.hold()
        held.add(repo, commit)
        return held.close

    def _come(self, repo: RepoId, commit: GitOid, entry: FileEntry) -> FileEntry | None:
        """A file as its revision has it by now; None while it is missing."""
        view = self._views.get(repo, commit)
        found = None if view is None else view.files.get(entry.path)
        if view is None or found is None or found in view.revision.missing:
            return None
        named = found.size, entry.sha256 or found.sha256, entry.git_sha1 or found.git_sha1
        same = named == (entry.size, found.sha256, found.git_sha1)
        return found if same and self.archive.holds(found) else None

    def _may_take(self, repo: RepoId, entry: FileEntry) -> bool:
        """Whether the bytes of a file are here, and `repo` may have them as they are."""
        blob = entry.sha256
        return (
            self.archive.holds(entry)
            and blob is not None
            and (self.archive.is_free_for(repo, blob))
        )

    def _note(self, repo: RepoId, commit: GitOid, entry: FileEntry) -> None:
        """The bytes of a missing file are here through another revision: now this one has them."""
        with self.archive.writer() as writer:
            if entry.sha256 is not None and writer.lease(entry.sha256, entry.size):
                self.archive.acknowledge(writer, repo, commit, [entry], listed=True)
        self._complete(repo, commit)

    def may_resume(self, entry: FileEntry) -> bool:
        """Whether a client that has the beginning of a file surely has the right one: bytes may
        have been passed on that could not be verified yet.
        """
        if not unverified.is_marked(self.archive, entry.key):
            return True
        streaming = self.streams.find(entry.key)
        return streaming is not None and streaming.first_to_stream and streaming.epoch == 0

    def _fetch_context(self, voice: Voice) -> FetchContext:
        return FetchContext(
            archive=self.archive,
            writer=self.archive.writer(),
            sources=voice.sources,
            wishes=self._wishes,
            control=self._control,
            coordinator=coordinator_for(self._around),
        )

    def _fetch_ended(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, error: BaseException | None
    ) -> None:
        """Notes a file in the draft of each commit that it came for."""
        if error is not None:
            _log.debug("%r of %s@%s did not come: %s", entry.path, repo, commit, error)
            # What a source says to too many requests for one file says nothing of the others.
            limited = isinstance(error, RateLimitedError)
            if isinstance(error, TransientError) and not limited:
                self._troubles.note(repo, commit.hex, error)
            return
        self._troubles.failing = False
        revision = self.archive.load(repo, commit)
        if revision is not None and entry not in revision.files:
            self._note(repo, commit, entry)  # another commit's fetch brought it
        else:
            self._complete(repo, commit)

    def _complete(self, repo: RepoId, commit: GitOid) -> None:
        """Turns a draft into a manifest when its last file is here."""
        revision = self.archive.load(repo, commit)
        if revision is None or revision.missing or not self.archive.drafts.exists(repo, commit):
            return
        with self.archive.writer() as writer:
            digest, _partial = seal(self.archive, writer, repo, commit)
        if (whole := self.archive.load(repo, commit)) is not None:
            record_came_through(self.archive, self._sources, self._control, whole, digest)
        warn(self._control, Suspects(self.archive).of(revision), f"{repo}@{commit.hex[:12]}: ")
