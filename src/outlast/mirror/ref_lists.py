"""Which refs a repository has: those upstream, and those that are archived."""

import contextlib
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

from outlast.core.cancel import Cancel
from outlast.core.errors import OutlastError, RepoNotFoundError, TransientError
from outlast.core.names import RepoId
from outlast.fetch.source_state import SOURCE_FAULTS
from outlast.mirror.answers import Asking, FoundRefs, unknown
from outlast.mirror.asker import Voice
from outlast.mirror.questions import Questions
from outlast.mirror.tuning import MirrorTuning
from outlast.p2p.in_turn import in_turn
from outlast.p2p.tuning import TUNING
from outlast.store.archive import Archive
from outlast.store.records.refs import Ref

if TYPE_CHECKING:
    from outlast.sources.base import RemoteRef, Source

_log = logging.getLogger(__name__)


class RefLists:
    """`fetches`: whether there is an upstream to ask. Thread-safe."""

    def __init__(
        self, archive: Archive, questions: Questions, *, fetches: bool, tuning: MirrorTuning
    ) -> None:
        self._archive = archive
        self._questions = questions
        self._fetches = fetches
        self._tuning = tuning
        self._remote: OrderedDict[tuple[RepoId, str], tuple[RemoteRef, ...]] = OrderedDict()
        """What upstream said last, by voice."""

    def of(self, repo: RepoId, voice: Voice) -> FoundRefs | Asking[FoundRefs]:
        """The refs of a repository. Sources are asked by `voice`, which the caller may use: that
        is not checked here. Raises where neither the archive nor a source knows any.
        """
        archived = tuple(self._archive.refs.list(repo))
        since = max((ref.observed for ref in archived), default="") or "unknown"
        if not self._fetches or self._questions.is_fresh(repo, "", "", voice):
            return self._merged(repo, "", voice)
        reason = self._questions.troubles.why_not(repo, "", voice.key)
        if archived and reason is not None:
            _log.debug("the refs of %s are served stale (since %s): %s", repo, since, reason)
            return self._merged(repo, since, voice)

        why = f"not asked for in the last {self._questions.ttl} s"
        question = self._questions.ask(self._ask, repo, "", voice, why=why)

        def settle() -> FoundRefs:
            error: BaseException | None = TransientError(f"no source has answered for {repo} yet")
            if question.future.done():
                error = question.future.exception()
            return self._merged(repo, "" if error is None else since, voice, error)

        patience = self._tuning.grace if archived else self._tuning.answer_timeout
        return Asking(question.future, question.began + patience, settle)

    def _merged(
        self, repo: RepoId, stale: str, voice: Voice, error: BaseException | None = None
    ) -> FoundRefs:
        upstream = self._remote.get((repo, voice.key), ())
        noted = self._archive.refs.list(repo)
        if self._fetches and error is None and not stale:
            noted = [ref for ref in noted if not ref.unconfirmed]  # upstream has said what there is
        found = {ref.name: ref for ref in noted}
        for remote in upstream:
            known = found.get(remote.name)
            if known is None or not stale:
                kind = "tag" if remote.kind == "tags" else "branch"
                found[remote.name] = Ref(remote.name, remote.commit, kind=kind)
        if not found:
            absent = self._questions.troubles.absent(repo, "", voice.key)
            raise absent or error or unknown(self._archive, repo, "main")
        return FoundRefs(tuple(found.values()), stale)

    def _ask(self, repo: RepoId, _ref: str, voice: Voice) -> None:
        errors: dict[int, OutlastError] = {}

        def ask(_number: int, source: "Source") -> "tuple[RemoteRef, ...]":
            return tuple(source.refs(repo, timeout=self._tuning.answer_timeout))

        answers = in_turn(ask, voice.sources, Cancel(), patience=TUNING.next_source_after)
        with contextlib.closing(answers):
            for number, answer in answers:
                try:
                    found = answer.result()
                except SOURCE_FAULTS as error:
                    errors[number] = error
                else:
                    self._remote[repo, voice.key] = found
                    while len(self._remote) > self._tuning.kept:
                        self._remote.popitem(last=False)
                    return
        if errors:
            raise errors[min(errors)]
        raise RepoNotFoundError(f"no source knows {repo}")
