"""What other rules would forbid of what an archive holds, and what depends on that."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from outlast.core.cancel import Cancel
from outlast.core.digest import Digest, GitOid
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.core.policy import Action, Subject
from outlast.features.trust.rules.gate import Judgement, RulesGate
from outlast.intake.judging import subject_of
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class Dependent:
    """A revision that depends on another one: its deltas are against files of that (`bytes` are
    those of the deltas), or it says that it was made from that model.
    """

    repo: RepoId
    commit: GitOid
    deltas: int
    bytes: int
    names_it: bool


@dataclass(frozen=True, slots=True)
class Forbidden:
    """A revision, an action that the new rules do not allow with it, and whether those in force
    do not allow it either.
    """

    repo: RepoId
    commit: GitOid
    size: int
    action: Action
    judgement: Judgement
    already: bool
    dependents: tuple[Dependent, ...]


def what_if(
    archive: Archive,
    new: RulesGate,
    now: RulesGate | None,
    actions: Sequence[Action],
    cancel: Cancel,
) -> Iterator[Forbidden]:
    """Everything held that the rules `new` would forbid, by name. Nothing is hashed, and what holds
    does not change. Raises as :meth:`RulesGate.explain`.
    """
    held = _held(archive)
    subjects = {key: subject_of(archive, revision) for key, revision in held.items()}
    dependence = _Dependence(archive, held, subjects)
    for key, revision in held.items():
        cancel.check()
        for action in actions:
            judgement = new.explain(action, subjects[key])
            if judgement.verdict.allowed:
                continue
            already = now is not None and not now.explain(action, subjects[key]).verdict.allowed
            yield Forbidden(
                revision.repo,
                revision.id,
                revision.size,
                action,
                judgement,
                already,
                dependence.on(revision),
            )


_Key = tuple[RepoId, GitOid]


def _held(archive: Archive) -> dict[_Key, Revision]:
    loaded = (archive.load(line.repo, line.revision) for line in archive.summaries())
    return {(found.repo, found.id): found for found in loaded if found is not None}


class _Dependence:
    """Which revisions depend on which."""

    def __init__(
        self, archive: Archive, held: dict[_Key, Revision], subjects: dict[_Key, Subject]
    ) -> None:
        self._held = held
        forms = archive.forms.held()
        self._stored = {blob: form.stored_bytes for blob, form in forms.items()}
        self._owners: dict[Digest, set[_Key]] = defaultdict(set)
        for key, revision in held.items():
            for entry in revision.files:
                if entry.sha256 is not None:
                    self._owners[entry.sha256].add(key)
        self._on_blob: dict[Digest, set[Digest]] = defaultdict(set)
        for blob, form in forms.items():
            for base in form.bases:
                self._on_blob[base.sha256].add(blob)
        self._named: dict[str, set[_Key]] = defaultdict(set)
        for key, subject in subjects.items():
            for name in subject.base_models:
                self._named[name.lower()].add(key)

    def on(self, revision: Revision) -> tuple[Dependent, ...]:
        """The revisions of other models, and other revisions, that depend on this one."""
        me = (revision.repo, revision.id)
        deltas: dict[_Key, set[Digest]] = defaultdict(set)
        for entry in revision.files:
            for blob in self._all_on(entry.sha256) if entry.sha256 is not None else ():
                for key in self._owners[blob] - {me}:
                    deltas[key].add(blob)
        named = self._named[str(revision.repo).lower()] - {me}
        return tuple(
            Dependent(
                *key,
                deltas=len(deltas[key]),
                bytes=sum(self._stored.get(blob, 0) for blob in deltas[key]),
                names_it=key in named,
            )
            for key in sorted({*deltas, *named})
        )

    def _all_on(self, blob: Digest) -> set[Digest]:
        """The deltas against a blob, and those against them."""
        found = set(self._on_blob.get(blob, ()))
        for one in tuple(found):
            found |= self._on_blob.get(one, set())
        return found
