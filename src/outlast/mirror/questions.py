"""The questions to upstream: each voice asks each of them once at a time, and what came of it is
remembered.
"""

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from outlast.core.errors import PolicyError, RepoNotFoundError
from outlast.core.names import RepoId
from outlast.mirror.access import Access
from outlast.mirror.answers import Troubles
from outlast.mirror.asker import Voice
from outlast.mirror.places import Places
from outlast.mirror.tuning import MirrorTuning

_log = logging.getLogger(__name__)

Work = Callable[[RepoId, str, Voice], None]
"""Asks the sources of a voice, and notes what they say."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something that upstream was asked, when (monotonic seconds)."""

    future: Future[None]
    began: float

    @property
    def answered(self) -> bool:
        return self.future.done() and self.future.exception() is None


class Questions:
    """An answer is fresh for `ttl` seconds. `access` hears of it when a source refuses to everybody
    what may have been public. Thread-safe.
    """

    def __init__(self, access: Access, *, ttl: float, tuning: MirrorTuning) -> None:
        self.ttl = ttl
        self.troubles = Troubles(tuning)
        self._access = access
        self._lock = threading.Lock()
        self._open: dict[tuple[RepoId, str, str], Question] = {}
        # By voice: what one client was told of a private model is no answer for others.
        self._checked: dict[tuple[RepoId, str, str], float] = {}
        self._pool = Places(tuning, "ask")

    def is_fresh(self, repo: RepoId, ref: str, observed: str, voice: Voice) -> bool:
        """Whether what is known of `ref` needs no question: the last answer came lately or, where
        this process asked for none, the ref was `observed` lately (ISO 8601, or empty).
        """
        checked = self._checked.get((repo, ref, voice.key))
        if checked is not None:
            return time.monotonic() - checked < self.ttl
        # A moment that is still to come was noted under a clock that was wrong.
        return bool(observed) and 0 <= _age(observed) < self.ttl

    def ask(self, work: Work, repo: RepoId, ref: str, voice: Voice, *, why: str) -> Question:
        """The question where `ref` points (or, for "", which refs there are), asked once by each
        voice however many want to know: by `work`, in a thread.
        """
        name = (repo, ref, voice.key)
        with self._lock:
            asked = self._open.get(name)
            if asked is None:
                _log.debug("upstream is asked for %s@%s: %s", repo, ref or "its refs", why)
                answer = self._pool.submit(self._run, work, repo, ref, voice)
                asked = self._open[name] = Question(answer, time.monotonic())
        return asked

    def _run(self, work: Work, repo: RepoId, ref: str, voice: Voice) -> None:
        error: BaseException | None = None
        try:
            work(repo, ref, voice)
            self._checked[repo, ref, voice.key] = time.monotonic()
        except BaseException as caught:
            error = caught
            _log.debug("upstream has no answer for %s@%s: %s", repo, ref or "its refs", caught)
            raise
        finally:
            self.troubles.note(repo, ref, error, voice.key)
            with self._lock:
                self._open.pop((repo, ref, voice.key), None)
            if voice.is_public and isinstance(error, RepoNotFoundError | PolicyError):
                self._access.doubt(repo)


def _age(observed: str) -> float:
    try:
        moment = dt.datetime.fromisoformat(observed)
    except ValueError:
        return float("inf")
    return (dt.datetime.now(dt.UTC) - moment).total_seconds()
