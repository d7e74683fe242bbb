"""What the target of a pull is, who says so, and what a person should hear about its name."""

from collections.abc import Sequence
from dataclasses import replace

from outlast.core.control import Control
from outlast.core.digest import GitOid
from outlast.core.errors import OutlastError, TransientError, WithdrawnError
from outlast.core.events import Note
from outlast.core.manifest import Revision
from outlast.core.names import RepoId, Target
from outlast.fetch.file_filter import Selection
from outlast.fetch.known_lists import unfinished
from outlast.fetch.lookalikes import lookalike_warning
from outlast.fetch.source_state import Patience
from outlast.fetch.withdrawals import noting_withdrawals
from outlast.intake.formats.chat_templates import changes, templates_of
from outlast.node.scope import Neighbourhood
from outlast.p2p.resolve import locate
from outlast.p2p.tuning import Tuning
from outlast.sources.base import AccessSource, Listing, Source, without_token
from outlast.store.archive import Archive


def find_target(
    archive: Archive,
    target: Target,
    sources: Sequence[Source],
    around: Neighbourhood | None,
    *,
    selection: Selection,
    patience: Patience,
    control: Control,
    keep: bool,
    tuning: Tuning,
) -> tuple[Listing, Source | None]:
    """What the target is, and who says so: None if no source can be reached, and files are missing
    of a commit that is here. If `keep`, it is noted what sources withdrew.
    """
    repo, ref = archive.refs.spelling(target.repo), target.ref or "main"
    try:
        with noting_withdrawals(archive, repo, control.emit, keep=keep) as emit:
            asking = replace(control, emit=emit)
            return locate(
                sources, around, target.repo, ref, asking, patience=patience, tuning=tuning
            )
    except (TransientError, WithdrawnError) as error:
        known = None if around is None else unfinished(archive, repo, ref, selection)
        if known is None:
            raise
        text = f"{error}; nodes are asked for the files of {known.commit.hex[:12]} that are missing"
        control.emit(Note(text))
        return known, None


def name_of(teller: Source | None) -> str:
    """Who says what a listing says."""
    return teller.name if teller is not None else "this archive"


def spelled(archive: Archive, listing: Listing, asked: RepoId, control: Control) -> Listing:
    """The listing of the model under the one name that the archive has for it: its own spelling, or
    that of the source.
    """
    listing = replace(listing, repo=archive.refs.spelling(listing.repo))
    if listing.repo != asked:
        control.emit(Note(f"{asked} is archived as {listing.repo}: they are the same model"))
    return listing


def trusted_with(
    sources: Sequence[Source], listing: Listing, teller: Source | None, control: Control
) -> Sequence[Source]:
    """The sources of a pull. What no hub but a neighbour calls public is asked of the hubs as
    everybody may ask: files that only the user's token opens do not become public by its word.
    """
    is_open = not listing.facts.private and not listing.facts.gated
    carry = [source for source in sources if isinstance(source, AccessSource) and source.has_token]
    if not is_open or not carry or any(teller is source for source in sources):
        return sources
    text = f"only {name_of(teller)} calls {listing.repo} public: hubs are asked without your token"
    control.emit(Note(text))
    return [without_token(source) for source in sources]


def tell_of_lookalike(archive: Archive, repo: RepoId, control: Control) -> None:
    """Warns of a model that is new here, and may be taken for one that is known."""
    if archive.commits(repo):
        return
    if said := lookalike_warning(archive, repo):
        control.emit(Note(f"warning: {said}"))


def named_before(archive: Archive, repo: RepoId, ref: str) -> GitOid | None:
    """The commit that a ref names before the pull; None where that cannot be read."""
    try:
        return archive.find_commit(repo, ref)
    except OutlastError:
        return None


def tell_of_templates(
    archive: Archive, before: GitOid | None, revision: Revision | None, control: Control
) -> None:
    """Tells where the ref named another commit `before`, with another chat template."""
    if revision is None or before is None or before == revision.id:
        return
    old = archive.load(revision.repo, before)
    if old is None:
        return
    if any(changes(templates_of(archive, old), templates_of(archive, revision))):
        name = f"{revision.repo}@{revision.id.hex[:12]}"
        control.emit(
            Note(
                "the chat template changed: "
                f"'outlast show {name} --template-diff {before.hex[:12]}' shows how"
            )
        )
