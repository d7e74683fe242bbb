"""What a mirror answers, and what it remembers of upstream's failures."""

import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from outlast.core.errors import (
    ExhaustedError,
    NotFoundError,
    OutlastError,
    PolicyError,
    RepoNotFoundError,
    TransientError,
)
from outlast.core.names import RepoId
from outlast.mirror.tuning import TUNING, MirrorTuning
from outlast.mirror.views import View
from outlast.store.archive import Archive
from outlast.store.records.refs import Ref

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a ref. `stale_since` (ISO 8601) is when it was last known to be current, where
    that could not be checked; else empty. `unconfirmed`: that this is the commit, or that it has
    these files, a node on the LAN alone said.
    """

    view: View
    stale_since: str = ""
    unconfirmed: bool = False


@dataclass(frozen=True, slots=True)
class FoundRefs:
    """The refs of a repository, and since when they are stale, as in :class:`Found`."""

    refs: tuple[Ref, ...]
    stale_since: str = ""

    @property
    def unconfirmed(self) -> bool:
        """Whether a node on the LAN alone said where one of them points."""
        return any(ref.unconfirmed for ref in self.refs)


@dataclass(frozen=True, slots=True)
class Asking(Generic[Answer]):
    """An answer that upstream has been asked for. Wait for `future` until `until` (monotonic
    seconds), whether it is done or not, then call `settle`: it returns the answer, or what is
    known without one, or raises. So waiting takes no thread.
    """

    future: Future[None]
    until: float
    settle: Callable[[], Answer]


def unknown(archive: Archive, repo: RepoId, ref: str) -> NotFoundError:
    """Why an archive has no answer for `ref`."""
    try:
        archive.revision(repo, ref)
    except NotFoundError as error:
        if type(error) is not NotFoundError:
            return error
    return RepoNotFoundError(f"{repo} is not in this archive")


class Troubles:
    """What went wrong upstream lately. Thread-safe enough: every field is replaced at once."""

    def __init__(self, tuning: MirrorTuning = TUNING) -> None:
        self._tuning = tuning
        self.failing = False
        """What everybody asks for, or the files themselves, do not come."""
        self._down: OrderedDict[str, float] = OrderedDict()
        """By voice, until when (monotonic seconds); that of everybody holds for all."""
        self._absent: OrderedDict[tuple[RepoId, str, str], tuple[float, OutlastError]] = (
            OrderedDict()
        )

    def note(self, repo: RepoId, ref: str, error: BaseException | None, voice: str = "") -> None:
        """A question about `ref` ended so. What concerns one repository says nothing of others,
        and what one voice is refused says nothing of other voices: a client's own token may be at
        its limit, or such that the hub fails.
        """
        if error is None:
            self.failing = False
            self._down.pop("", None)
            self._down.pop(voice, None)
            self._absent.pop((repo, ref, voice), None)
        elif isinstance(error, ExhaustedError):
            pass  # it is we who are short
        elif isinstance(error, TransientError):
            asked = min(error.retry_after or 0.0, self._tuning.down_longest)
            self._down[voice] = time.monotonic() + max(self._tuning.down_for, asked)
            self._down.move_to_end(voice)
            while len(self._down) > self._tuning.kept:
                self._down.popitem(last=False)
            self.failing = self.failing or not voice
        elif isinstance(error, NotFoundError | PolicyError):
            self._absent[repo, ref, voice] = (time.monotonic(), error)
            while len(self._absent) > self._tuning.kept:
                self._absent.popitem(last=False)

    def absent(self, repo: RepoId, ref: str, voice: str = "") -> OutlastError | None:
        """The refusal that upstream gave lately for `ref`."""
        found = self._absent.get((repo, ref, voice))
        return found[1] if found and time.monotonic() - found[0] < self._tuning.absent_for else None

    def down_until(self, voice: str) -> float:
        """Until when upstream is not asked by this voice (monotonic seconds)."""
        return max(self._down.get("", 0.0), self._down.get(voice, 0.0))

    def why_not(self, repo: RepoId, ref: str, voice: str = "") -> str | None:
        """Why upstream is not asked for `ref` now; None where it is worth a question."""
        if (left := self.down_until(voice) - time.monotonic()) > 0:
            return f"upstream failed, and is not asked for {left:.0f} s more"
        refusal = self.absent(repo, ref, voice)
        return None if refusal is None else f"upstream refused it: {refusal}"
