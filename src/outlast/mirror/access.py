"""Who may read which model: the one place that decides.

A public model is everybody's, unless the operator stopped giving it out: then no client gets it. A
private or gated one is for those whom the operator's file names, and for tokens that the hub admits
to it, which the hub itself is asked. The operator's own token admits no client. What is not known
to be public counts as private.

Tokens are remembered by a keyed hash alone; the key is random and ends with the process.
"""

import hashlib
import hmac
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final

from outlast.core.errors import (
    AccessDeniedError,
    NotFoundError,
    OutlastError,
    RepoNotFoundError,
    TakenDownError,
    TransientError,
)
from outlast.core.names import RepoId
from outlast.fetch.revision import may_open
from outlast.mirror.answers import Asking
from outlast.mirror.asker import AccessRules, Asker, Verdict, Voice, public_voice
from outlast.mirror.places import Places
from outlast.mirror.tuning import TUNING, MirrorTuning
from outlast.sources.base import AccessSource, Source
from outlast.store.archive import Archive
from outlast.store.records.facts import About

_log = logging.getLogger(__name__)

_HINT: Final = "send a token that may read it"
Question = tuple[RepoId, str]
"""A model, and the hash of a token; empty: no token."""


@dataclass(frozen=True, slots=True)
class _Said:
    """A verdict of the hub, and when it came (monotonic seconds)."""

    verdict: Verdict
    at: float


class Access:
    """Decides for the clients of one mirror. Thread-safe."""

    def __init__(
        self,
        archive: Archive,
        sources: Sequence[Source],
        rules: AccessRules,
        *,
        ttl: float,
        on_bug: Callable[[BaseException], None] = lambda _bug: None,
        tuning: MirrorTuning = TUNING,
    ) -> None:
        """A verdict of the hub is believed for `ttl` seconds."""
        self._archive = archive
        self._rules = rules
        self._ttl = ttl
        self._on_bug = on_bug
        self._tuning = tuning
        self._hubs = [source for source in sources if isinstance(source, AccessSource)]
        self._own = next((hub for hub in self._hubs if hub.takes_clients), None)
        """The hub that the mirror stands for: clients' tokens are for it, and for no other."""
        self.public: Final = public_voice(sources)
        self._operator: Final = Voice("operator", tuple(sources))
        self._key: Final = os.urandom(32)
        self._lock = threading.Lock()
        self._said: OrderedDict[Question, _Said] = OrderedDict()
        self._admitted: OrderedDict[Question, float] = OrderedDict()
        self._asking: dict[Question, Future[None]] = {}
        self._pool = Places(tuning, "access")

    # What a request asks

    def is_open(self, repo: RepoId) -> bool:
        """Whether nothing is known against giving `repo` to everybody. Raises
        :class:`TakenDownError` of a model that would be open, and that the operator has stopped
        giving out.
        """
        about = self._about(repo)
        if about.is_open:
            self._refuse_stopped(repo, about)
        return about.is_open

    def check_serving(self, repo: RepoId) -> None:
        """Raises :class:`TakenDownError` where the operator has stopped giving out `repo`. Call it
        for who is admitted: of what is hidden no other client learns that it is there.
        """
        self._refuse_stopped(repo, self._about(repo))

    def is_here(self, repo: RepoId) -> bool:
        """Whether anything of `repo` is archived."""
        return bool(self._archive.refs.list(repo) or self._archive.commits(repo))

    def lists(self, asker: Asker, repo: RepoId) -> bool:
        """Whether a list may name `repo`; the hub is not asked."""
        about = self._about(repo)
        if about.is_stopped:
            return False
        if about.is_open or self._grants(asker, repo):
            return True
        return asker.token is not None and self._was_admitted((repo, self._hash(asker.token)))

    def claim(
        self, asker: Asker, repo: RepoId, error: OutlastError | None = None
    ) -> Voice | Asking[Voice]:
        """The voice to ask with for a model that is not known to be public. `error` is how the
        public voice failed, if it was tried.

        Raises, or the answer does: :class:`AccessDeniedError` where the model is gated,
        :class:`RepoNotFoundError` where it is private or missing, in the same words, and
        :class:`TransientError` where upstream would have to say, and does not.
        """
        if self._grants(asker, repo):
            _log.debug("%s: the operator's rules admit the client", repo)
            return self._operator
        questions = self._questions(asker, error)
        if all(self._is_fresh((repo, key)) for key, _ in questions):
            return self._decide(asker, repo, error)
        asked = self._ask(repo, asker.token, questions)
        until = time.monotonic() + self._tuning.answer_timeout
        return Asking(asked, until, lambda: self._decide(asker, repo, error, asked))

    def doubt(self, repo: RepoId) -> None:
        """The hub has refused a model that is public here: asks it in the background whether it
        has become private or gated.
        """
        if self.is_here(repo):
            self._recheck(repo, 0.0)

    def saw(self, repo: RepoId, *, is_open: bool) -> None:
        """The hub has described `repo` to who has no token."""
        self._keep((repo, ""), Verdict.ADMITTED if is_open else Verdict.GATED)

    def recheck(self, repo: RepoId) -> None:
        """Asks in the background whether a public model still is, if that is long ago."""
        self._recheck(repo, max(self._ttl, self._tuning.recheck))

    # Deciding

    def _refuse_stopped(self, repo: RepoId, about: About) -> None:
        name = self._archive.refs.spelling(repo)
        if name != repo:
            about = self._about(name)
        notice = about.notice
        if notice is not None and notice.stopped:
            raise TakenDownError(
                f"{name} is not given out by this archive since {notice.since}: {notice.reason}"
            )

    def _grants(self, asker: Asker, repo: RepoId) -> bool:
        return self._rules.open_restricted or asker.is_granted(repo)

    def _speaks_for(self, hub: AccessSource, repo: RepoId) -> bool:
        """Whether what is here came from `hub`: another hub may call something else by this name,
        and admit its owner to that.
        """
        try:
            return may_open(self._archive, repo, hub.name)
        except OutlastError:
            return False

    def _about(self, repo: RepoId) -> About:
        try:
            return self._archive.refs.about(repo)
        except OutlastError as error:
            _log.debug("%s counts as private: %s", repo, error)
            return About(private=True)

    def _questions(self, asker: Asker, error: OutlastError | None) -> list[tuple[str, str | None]]:
        """What to ask the hub before it is decided: the hash of each token, and the token."""
        if not self._hubs:
            return []
        # A model that is not known here was just asked for without a token: that was the answer.
        asked: list[tuple[str, str | None]] = [] if error is not None else [("", None)]
        if asker.token is not None:
            asked.append((self._hash(asker.token), asker.token))
        return asked

    def _decide(
        self,
        asker: Asker,
        repo: RepoId,
        error: OutlastError | None,
        asked: "Future[None] | None" = None,
    ) -> Voice:
        if asked is not None and asked.done() and (bug := asked.exception()) is not None:
            raise bug
        if self._verdict(repo, None) is Verdict.ADMITTED and self.is_open(repo):
            return self.public
        own = self._own
        if asker.token is not None and own is not None and self._speaks_for(own, repo):
            verdict = self._verdict(repo, asker.token)
            question = (repo, self._hash(asker.token))
            if verdict is Verdict.ADMITTED or (
                verdict is Verdict.UNKNOWN and self._was_admitted(question)
            ):
                _log.debug("%s: the hub admits the client's token (%s)", repo, verdict.value)
                return Voice(question[1], (own.with_token(asker.token),))
        raise self._refusal(asker, repo, error)

    def _refusal(self, asker: Asker, repo: RepoId, error: OutlastError | None) -> OutlastError:
        """Says no. Of what is hidden and what is missing it says the same."""
        about = self._about(repo)
        verdicts = {self._verdict(repo, asker.token), self._verdict(repo, None)}
        hubs_say_gated = Verdict.GATED in verdicts or isinstance(error, AccessDeniedError)
        if not about.private and (about.gated or hubs_say_gated):
            return AccessDeniedError(
                f"access to {repo} is restricted: its hub has to admit your token",
                hint=_HINT,
            )
        silent = self._verdict(repo, asker.token) is Verdict.UNKNOWN
        if error is not None and asker.token is None:
            silent = not isinstance(error, NotFoundError | AccessDeniedError)
        if self._hubs and silent:
            return TransientError(f"no source says now who may read {repo}")
        return RepoNotFoundError(
            f"there is no {repo} here, or it is not for you to read", hint=_HINT
        )

    # What the hub said

    def _hash(self, token: str | None) -> str:
        if token is None:
            return ""
        return hmac.new(self._key, token.encode(), hashlib.sha256).hexdigest()

    def _verdict(self, repo: RepoId, token: str | None) -> Verdict:
        """What the hub said last, whenever that was; UNKNOWN if it was not asked."""
        with self._lock:
            said = self._said.get((repo, self._hash(token)))
        return Verdict.UNKNOWN if said is None else said.verdict

    def _was_admitted(self, question: Question) -> bool:
        with self._lock:
            at = self._admitted.get(question)
        return at is not None and time.monotonic() - at < max(self._rules.offline, self._ttl)

    def _is_fresh(self, question: Question) -> bool:
        with self._lock:
            said = self._said.get(question)
        if said is None:
            return False
        limits = {Verdict.ADMITTED: self._ttl, Verdict.UNKNOWN: self._tuning.down_for}
        limit = limits.get(said.verdict, min(self._ttl, self._tuning.absent_for))
        return time.monotonic() - said.at < limit

    def _keep(self, question: Question, verdict: Verdict) -> None:
        now = time.monotonic()
        with self._lock:
            self._said[question] = _Said(verdict, now)
            self._said.move_to_end(question)
            while len(self._said) > self._tuning.verdicts:
                self._said.popitem(last=False)
            if verdict is Verdict.ADMITTED:
                self._admitted[question] = now
                self._admitted.move_to_end(question)
                while len(self._admitted) > self._tuning.verdicts:
                    self._admitted.popitem(last=False)
            elif verdict is not Verdict.UNKNOWN:
                self._admitted.pop(question, None)

    # Asking the hub

    def _ask(
        self, repo: RepoId, token: str | None, questions: Sequence[tuple[str, str | None]]
    ) -> Future[None]:
        """Gets the verdicts, once however many clients with this token want to know."""
        name = (repo, "+".join(["ask", *(key for key, _ in questions)]))
        with self._lock:
            asked = self._asking.get(name)
            if asked is None:
                asked = self._pool.submit(self._run, name, repo, token, questions)
                self._asking[name] = asked
        return asked

    def _run(
        self,
        name: Question,
        repo: RepoId,
        token: str | None,
        questions: Sequence[tuple[str, str | None]],
    ) -> None:
        try:
            for key, given in questions:
                if not self._is_fresh((repo, key)):
                    self._keep((repo, key), self._judge(repo, given))
            self._note(repo, token)
        finally:
            with self._lock:
                self._asking.pop(name, None)

    def _judge(self, repo: RepoId, token: str | None) -> Verdict:
        if token is None:
            return self._standing(repo)
        if self._own is None:
            return Verdict.HIDDEN
        verdict = self._answer(self._own.with_token(token), repo)
        _log.debug("%s says of a client's token and %s: %s", self._own.name, repo, verdict.value)
        return verdict

    def _standing(self, repo: RepoId) -> Verdict:
        """Whether everybody may read `repo`, as the first hub says that knows it."""
        for hub in self._hubs:
            verdict = self._answer(hub.with_token(None), repo)
            seen = (
                verdict is Verdict.HIDDEN
                and hub.has_token
                and (self._answer(hub, repo) in {Verdict.ADMITTED, Verdict.GATED})
            )
            if seen:
                self._restrict(repo, private=True)
            elif verdict is Verdict.ADMITTED:
                self._open(repo, hub)
            elif verdict is Verdict.GATED:
                self._restrict(repo, private=False)
            if seen or verdict is not Verdict.HIDDEN:
                return verdict
        return Verdict.HIDDEN

    def _answer(self, hub: AccessSource, repo: RepoId) -> Verdict:
        try:
            hub.check_access(repo, timeout=self._tuning.answer_timeout)
        except AccessDeniedError:
            return Verdict.GATED
        except NotFoundError:
            return Verdict.HIDDEN
        except OutlastError as error:
            _log.debug("%s does not say who may read %s: %s", hub.name, repo, error)
            return Verdict.UNKNOWN
        return Verdict.ADMITTED

    def _recheck(self, repo: RepoId, age: float) -> None:
        if not self._hubs:
            return
        with self._lock:
            said = self._said.get((repo, ""))
            if said is not None and time.monotonic() - said.at < age:
                return
        future = self._ask(repo, None, [("", None)])

        def ended(done: Future[None]) -> None:
            if (error := done.exception()) is not None and not isinstance(error, OutlastError):
                self._on_bug(error)

        future.add_done_callback(ended)

    # What is noted in the archive

    def _note(self, repo: RepoId, token: str | None) -> None:
        """A model that a token sees, and everybody does not, is private."""
        hidden = self._verdict(repo, None) is Verdict.HIDDEN
        if token is not None and hidden and self._verdict(repo, token) is Verdict.ADMITTED:
            self._restrict(repo, private=True)

    def _restrict(self, repo: RepoId, *, private: bool) -> None:
        def closed(about: About) -> About:
            gated = about.gated if private else about.gated or True
            return replace(about, private=about.private or private, gated=gated)

        self._change(repo, closed, "its hub does not give it to everybody any more")

    def _open(self, repo: RepoId, hub: AccessSource) -> None:
        if self._speaks_for(hub, repo):
            self._change(
                repo,
                lambda about: replace(about, private=False, gated=False),
                f"{hub.name} gives it to everybody",
            )

    def _change(self, repo: RepoId, change: Callable[[About], About], why: str) -> None:
        if not self.is_here(repo):
            return
        about = self._archive.refs.about(repo)
        if (changed := change(about)) != about:
            _log.info("%s: %s", repo, why)
            with self._archive.writer() as writer:
                self._archive.refs.put_about(writer, repo, changed)
