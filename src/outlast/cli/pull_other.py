"""``outlast pull`` of a link, a torrent file, or a manifest by its digest."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from outlast.cli.documents import arriving as documents
from outlast.cli.documents.parts import warnings_of
from outlast.cli.edge import Session
from outlast.cli.options.forms import kept_in
from outlast.cli.options.strict import warnings
from outlast.cli.screen.render import plural, print_document
from outlast.core.digest import Digest
from outlast.core.errors import UsageError
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.fetch.transfer import Wishes
from outlast.node.scope import Neighbourhood
from outlast.ops.pull_digest import ByDigest, pull_manifest
from outlast.ops.pull_link import LinkWanted, LinkWishes, PulledLink, pull_link
from outlast.sources.base import Source
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class OtherWishes:
    """Options beside :class:`Wishes`; the disk of `room` must have space for the bytes."""

    wishes: Wishes
    name: Target | None
    patience: float | None
    dry_run: bool
    room: Path
    strict: bool = False


def check_options(
    target: Target | Digest | LinkWanted, name: Target | None, patience: float | None, *, some: bool
) -> None:
    """Raises :class:`UsageError` if an option does not apply to `target`; `some`: --include or
    --exclude was given.
    """
    is_link = isinstance(target, LinkWanted)
    if name is not None and not is_link:
        raise UsageError(
            "--as goes with a link or a torrent", hint="leave --as out: a model keeps its own name"
        )
    if patience is not None and isinstance(target, Target):
        raise UsageError(
            "--patience goes with a link, a torrent or a digest", hint="leave --patience out"
        )
    if some and not isinstance(target, Target):
        raise UsageError(
            "--include and --exclude go with a model",
            hint="leave them out: a link or digest is archived whole",
        )


def pull_by_digest(
    run: Session,
    archive: Archive,
    digest: Digest,
    wishes: OtherWishes,
    *,
    sources: Sequence[Source],
    around: Neighbourhood | None,
) -> ByDigest:
    """Archives the revision of a manifest."""
    done = pull_manifest(
        archive,
        digest,
        sources,
        _needed(around),
        wishes=wishes.wishes,
        control=run.control,
        patience=wishes.patience,
        dry_run=wishes.dry_run,
        room=wishes.room,
        strict=wishes.strict,
    )
    if not wishes.dry_run:
        plan = done.pulled.plan
        as_name = f"{plan.repo}@{plan.commit.hex[:12]}"
        run.say(f"the files match the manifest {digest.short}…, which is of {as_name}")
        if not done.named:
            run.say(f"{plan.repo} has refs already: name this revision by its commit")
    return done


def pull_by_link(
    run: Session,
    archive: Archive,
    wanted: LinkWanted,
    around: Neighbourhood | None,
    wishes: OtherWishes,
) -> None:
    """Archives what a link names, and prints the result."""
    asked = LinkWishes(
        wishes.name,
        wishes.wishes.forms,
        wishes.patience,
        rate=wishes.wishes.rate,
        strict=wishes.strict,
    )
    result = pull_link(archive, wanted, _needed(around), asked, run.control, dry_run=wishes.dry_run)
    if run.as_json:
        print_document(_document(result, dry_run=wishes.dry_run))
        return
    if result.revision is None:
        fits = "it fits" if result.fits else "it does NOT fit"
        print(f"{result.link}: {plural(result.files, 'file')}, {human_size(result.size)}; {fits}")
        return
    for source, count in result.fetched.items():
        run.say(f"  {human_size(count)} from {source}")
    fetched = human_size(sum(result.fetched.values()))
    run.say(
        f"archived {result.repo}@{result.ref}: {plural(result.files, 'file')}, "
        f"{human_size(result.size)}, {fetched} fetched{kept_in(result.size, result.held)}"
        f"{warnings(len(result.suspects))}"
    )
    run.say("verified against the link; the publisher is unknown")
    if result.restricted:
        run.say("it came from static peers only, and is offered to static peers only")
    print(result.revision.id)


def _needed(around: Neighbourhood | None) -> Neighbourhood:
    if around is None:
        raise UsageError(
            "links and digests come from peers, and the swarm is off",
            hint="leave out --no-swarm, or set [swarm] enabled = true",
        )
    return around


def _document(result: PulledLink, *, dry_run: bool) -> documents.PulledLinkDocument:
    revision = result.revision
    return documents.PulledLinkDocument(
        type="plan" if dry_run else "pulled",
        repo=result.repo,
        ref=result.ref,
        link=result.link,
        commit=revision.id if revision is not None else None,
        manifest=result.manifest,
        partial=False,
        restricted=result.restricted,
        files=result.files,
        bytes=result.size,
        free_bytes=result.free,
        fits=result.fits,
        fetched=result.fetched,
        held_bytes=result.held,
        warnings=warnings_of(result.suspects),
    )
