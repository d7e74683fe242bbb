"""Who is screened for a model: its publisher and those behind it, its authors, and the same for the
models that it was made from.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from outlast.core.digest import GitOid
from outlast.core.errors import NotFoundError, OutlastError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId, Target
from outlast.features.trust.screening.card_parties import authors_of
from outlast.features.trust.screening.publisher_facts import PublisherFacts
from outlast.intake.base_names import BaseNames
from outlast.store.archive import Archive

_MOST_MODELS: Final = 200
"""Models that one is made from, at most: hostile cards may name ever more."""
_MOST_PARENTS: Final = 8


class PartyRole(StrEnum):
    """What a name is to a model."""

    ORGANISATION = "organisation"
    """The account that publishes it."""
    ENTITY = "legal entity"
    ALIAS = "other name"
    PARENT = "parent"
    AUTHOR = "author"


@dataclass(frozen=True, slots=True)
class PartyName:
    """A name to be screened. `of`: the model; `lineage`: how one came to it, from the model that is
    asked about to `of`.
    """

    text: str
    role: PartyRole
    of: RepoId
    lineage: tuple[RepoId, ...] = ()

    @property
    def is_handle(self) -> bool:
        """Whether it may be the name of an account."""
        return self.role in {PartyRole.ORGANISATION, PartyRole.PARENT}


@dataclass(slots=True)
class ModelParties:
    """Everything to be screened for a model. `unknown`: what could not be found out, in a line
    each, as nothing can be said of that.
    """

    repo: RepoId
    commit: GitOid | None = None
    names: list[PartyName] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def parties_of(archive: Archive, target: Target, publishers: PublisherFacts) -> ModelParties:
    """Those of a model, which need not be archived: then its name alone tells."""
    return _LineageWalk(archive, publishers).walk(target)


class _LineageWalk:
    def __init__(self, archive: Archive, publishers: PublisherFacts) -> None:
        self._archive = archive
        self._publishers = publishers

    def walk(self, target: Target) -> ModelParties:
        """Breadth first, each model once."""
        repo = self._archive.refs.spelling(target.repo)
        found = ModelParties(repo)
        seen = {repo.folded}
        todo: list[tuple[RepoId, str | None, tuple[RepoId, ...]]] = [(repo, target.ref, ())]
        while todo:
            model, ref, lineage = todo.pop(0)
            revision = self._revision(found, model, ref)
            if not lineage and revision is not None:
                found.commit = revision.id
            found.names += self._publisher(found, model, lineage)
            found.names += self._authors(found, model, revision, lineage)
            for base in self._bases(model, revision):
                if base.folded in seen:
                    continue
                if len(seen) > _MOST_MODELS:
                    found.unknown.append(f"{repo} is made from more than {_MOST_MODELS} models")
                    return found
                seen.add(base.folded)
                todo.append((base, None, (*lineage, base)))
        return found

    def _revision(self, found: ModelParties, repo: RepoId, ref: str | None) -> Revision | None:
        try:
            return self._archive.revision(repo, ref)
        except NotFoundError:
            if ref is not None:
                raise
            found.unknown.append(f"{repo} is not archived: its card and its bases are not known")
        except OutlastError as error:
            found.unknown.append(f"{repo} cannot be read: {error}")
        return None

    def _publisher(
        self, found: ModelParties, repo: RepoId, lineage: tuple[RepoId, ...]
    ) -> Iterator[PartyName]:
        """The account, and who is behind it."""
        account, slash, _ = repo.name.partition("/")
        if not slash:
            found.unknown.append(f"{repo} has no organisation in its name")
            return
        yield PartyName(account, PartyRole.ORGANISATION, repo, lineage)
        seen = {account.lower()}
        name = account
        for _ in range(_MOST_PARENTS):
            facts = self._publishers.names_of(name)
            if facts is None:
                if name == account:
                    found.unknown.append(f"who is behind {account} is not known")
                return
            if facts.entity:
                yield PartyName(facts.entity, PartyRole.ENTITY, repo, lineage)
            for alias in facts.aliases:
                yield PartyName(alias, PartyRole.ALIAS, repo, lineage)
            name = facts.parent
            if not name or name.lower() in seen:
                return
            seen.add(name.lower())
            yield PartyName(name, PartyRole.PARENT, repo, lineage)
        found.unknown.append(f"{account} has more than {_MOST_PARENTS} parents")

    def _authors(
        self,
        found: ModelParties,
        repo: RepoId,
        revision: Revision | None,
        lineage: tuple[RepoId, ...],
    ) -> Iterator[PartyName]:
        if revision is None:
            return
        authors = authors_of(self._archive, revision)
        if authors is None:
            found.unknown.append(f"the card of {repo} cannot be read")
            return
        for author in authors:
            yield PartyName(author, PartyRole.AUTHOR, repo, lineage)

    def _bases(self, repo: RepoId, revision: Revision | None) -> list[RepoId]:
        """The models that tags and cards name, as this archive spells them."""
        names = BaseNames(self._archive, repo)
        if revision is not None:
            names.learn_revision(revision)
        spelled = map(self._archive.refs.spelling, names.all())
        return [base for base in spelled if base.folded != repo.folded]
