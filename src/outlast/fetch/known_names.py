"""What a model is called at sources of other kinds, where its files were once seen by digest."""

from collections.abc import Sequence

from outlast.core.errors import BadConfigError
from outlast.core.names import RepoId
from outlast.sources.base import Source
from outlast.sources.kinds import HUB, parse_source
from outlast.sources.renamed import renamed
from outlast.store.archive import Archive


def by_known_names(archive: Archive, repo: RepoId, sources: Sequence[Source]) -> Sequence[Source]:
    """`sources`, of which those after the first that are no hubs are asked for `repo` by the name
    that `locate` saw its files under. They give bytes alone, which are compared with the digests
    that are wanted: such a name decides nothing.
    """
    equals = archive.equals.get(archive.refs.spelling(repo)) if len(sources) > 1 else None
    if equals is None:
        return sources
    found = [*sources[:1]]
    for source in sources[1:]:
        names = equals.names_at(source.name) if _takes_names(source) else []
        found.append(renamed(source, str(names[0])) if names and names[0] != repo else source)
    return found


def _takes_names(source: Source) -> bool:
    """Whether it is a source of another kind, and the user has not said the name there."""
    try:
        at = parse_source(source.name)
    except BadConfigError:
        return False
    return at.kind != HUB and not at.other_name
