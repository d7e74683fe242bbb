"""``outlast show``."""

import click

from outlast.cli.documents.details import (
    AboutPart,
    BasePart,
    DamagedFilePart,
    DetailsDocument,
    FilePart,
    FormPart,
    RefPart,
    ToldPart,
)
from outlast.cli.documents.located import EqualPart
from outlast.cli.documents.parts import (
    RunPart,
    claim_parts,
    commit_part,
    foreign_parts,
    notice_part,
    run_part,
    warnings_of,
    withdrawn_parts,
)
from outlast.cli.edge import TARGET, common, session
from outlast.cli.revisions.lineage import family_parts, lineage_lines, lineage_part
from outlast.cli.revisions.template_diff import PREVIOUS, show_template_diff
from outlast.cli.screen.claims import claim_words, commit_lines, foreign_lines, run_line
from outlast.cli.screen.render import plural, print_document, print_table, saved_part, saving
from outlast.core.claims import Claims
from outlast.core.digest import Digest
from outlast.core.errors import one_line
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.fetch.lookalikes import lookalike_warning
from outlast.intake.formats.code_files import is_code
from outlast.intake.judging import own_claims
from outlast.intake.vouched import vouched_by
from outlast.ops import listing
from outlast.ops.words.code import CodeState, code_state
from outlast.store.archive import Archive
from outlast.store.forms import StoredForm
from outlast.store.records.equals import Equal
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from outlast.store.records.unconfirmed import Told


@click.command(
    epilog="""\b
Examples:
  outlast show Qwen/Qwen3-0.6B
  outlast show Qwen/Qwen3-0.6B@v1.0 --json
  outlast show Qwen/Qwen3-0.6B --template-diff v1.0

\b
Exit status:
  0 done · 3 not archived
"""
)
@click.argument("target", type=TARGET)
@click.option(
    "--template-diff",
    "old",
    is_flag=False,
    flag_value=PREVIOUS,
    metavar="[OLD]",
    help="Show instead how its chat templates differ from those of OLD, a ref or commit "
    "[default: the other revision that is here]",
)
@common
def show(target: Target, *, old: str | None, home: str | None, as_json: bool, quiet: bool) -> None:
    """Show one revision: its refs, files, sizes, digests and where it came from.

    Files that are code by their names are marked so. 'run' uses none of them, but for Python files
    whose digest you allow: that in the line 'code'.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        if old is not None:
            show_template_diff(run, archive, target, old)
            return
        details = listing.show(archive, target)
        assessor = run.assessor(archive)
        claims = (
            assessor.claims(details.manifest, details.revision)
            if assessor is not None and details.manifest is not None
            else None
        )
        part = _run_part(archive, details, claims)
        resembles = lookalike_warning(archive, details.revision.repo)
        code = code_state(archive, details.revision)
    if as_json:
        print_document(_document(details, claims, part, resembles, code))
        return
    _print_details(details, claims, part, resembles, code)


def _run_part(archive: Archive, details: listing.Details, claims: Claims | None) -> RunPart | None:
    """Whether `run` uses it; None while files are arriving."""
    if details.manifest is None:
        return None
    known = claims or own_claims(archive, details.revision, sealed=True)
    return run_part(archive, vouched_by(archive, details.manifest, known))


def _document(
    details: listing.Details,
    claims: Claims | None,
    part: RunPart | None,
    resembles: str,
    code: CodeState,
) -> DetailsDocument:
    revision, about = details.revision, details.about
    return DetailsDocument(
        repo=revision.repo,
        revision=revision.id,
        manifest=details.manifest,
        refs=[_ref_part(ref) for ref in details.refs],
        partial=revision.partial,
        unlisted=revision.unlisted,
        bytes=revision.size,
        shared_bytes=details.shared,
        damaged_refs=[*details.damaged_refs],
        about=AboutPart(
            private=about.private, gated=about.gated, tags=about.tags, facts=about.facts
        ),
        about_known=details.is_known,
        withdrawn=withdrawn_parts(about),
        notice=notice_part(about),
        link=about.links.get(revision.id.hex),
        listed_by=_told_part(details.told),
        files=[_file_part(entry) for entry in revision.files],
        missing=[_file_part(entry) for entry in revision.missing],
        absent=[entry.path for entry in details.absent],
        damaged=[DamagedFilePart(path=path, damage=what) for path, what in _damaged(details)],
        stored_bytes=details.stored,
        saving=saved_part(revision.size, details.stored),
        forms=[_form_part(details, entry) for entry in revision.files],
        warnings=warnings_of(details.suspects),
        code=[entry.path for entry in revision.files if is_code(entry.path)],
        code_digest=_digest_of(code),
        code_allowed=code.word is not None,
        equals=[_equal_part(one) for one in details.equals],
        claims=() if claims is None else claim_parts(claims),
        revoked="" if claims is None else claims.revoked,
        run=part,
        resembles=resembles,
        foreign=foreign_parts(claims),
        lineage=lineage_part(details.family.record),
        family=family_parts(details.family.tree),
        commit=commit_part(claims),
    )


def _damaged(details: listing.Details) -> list[tuple[str, str]]:
    """The paths of damaged files, and what is wrong with each."""
    return [
        (entry.path, details.damaged[entry.sha256])
        for entry in details.revision.files
        if entry.sha256 is not None and entry.sha256 in details.damaged
    ]


def _equal_part(one: Equal) -> EqualPart:
    return EqualPart(
        hub=one.hub,
        name=one.name,
        revision=one.there,
        files=one.files,
        of=one.of,
        share=round(one.share, 4),
        more=one.more,
        whole=one.whole,
        seen=one.when,
    )


def _ref_part(ref: Ref) -> RefPart:
    return RefPart(
        name=ref.name,
        commit=ref.commit,
        source=ref.source,
        observed=ref.observed,
        kind=ref.kind,
        complete=ref.complete,
        unconfirmed=ref.unconfirmed,
    )


def _told_part(told: Told | None) -> ToldPart | None:
    return None if told is None else ToldPart(by=told.by, since=told.since)


def _file_part(entry: FileEntry) -> FilePart:
    return FilePart(
        path=entry.path,
        size=entry.size,
        sha256=entry.sha256,
        git_sha1=entry.git_sha1,
        merkle_root=entry.merkle_root,
    )


def _state(revision: Revision, damaged: int) -> str:
    if damaged:
        return f"DAMAGED ({plural(damaged, 'file')}): not given out; pull again"
    if not revision.partial:
        return "complete"
    if revision.unlisted:
        return "PARTIAL (may lack files)"
    return f"PARTIAL (lacks {plural(len(revision.missing), 'file')})"


def _print_trust(claims: Claims | None, part: RunPart | None, resembles: str) -> None:
    if resembles:
        print(one_line(f"warning   {resembles}", 2000))
    if claims is not None:
        _print_claims(claims)
    if part is not None and not (claims and claims.revoked):
        print(one_line(f"run       {run_line(part)}", 2000))


def _print_claims(claims: Claims) -> None:
    print(one_line(f"claims    {claim_words(claims)}", 2000))
    for line in (*commit_lines(claims), *foreign_lines(claims)):
        print(one_line(line, 2000))


def _digest_of(code: CodeState) -> Digest | None:
    """What `run --allow-code` takes; None where there is nothing to allow."""
    return code.code.digest if code.code.files and not code.code.unknown else None


def _print_code(code: CodeState) -> None:
    digest = _digest_of(code)
    if digest is None:
        return
    what = plural(len(code.code.files), "Python file")
    if code.word is not None:
        state = f"allowed for 'run' since {code.word.since}"
    elif code.before is not None:
        state = f"not what was allowed at {code.before.since}: 'run' shows what changed"
    else:
        state = "'run' uses none of them without --allow-code"
    print(one_line(f"code      {digest.hex}: {what}; {state}", 2000))


def _print_details(
    details: listing.Details,
    claims: Claims | None,
    part: RunPart | None,
    resembles: str,
    code: CodeState,
) -> None:
    revision = details.revision
    damaged = dict(_damaged(details))
    print(f"model     {revision.repo}")
    print(f"revision  {revision.id}")
    print(f"manifest  {details.manifest or 'none yet: files are still arriving'}")
    print(f"state     {_state(revision, len(damaged))}")
    _print_trust(claims, part, resembles)
    _print_code(code)
    shared = f", {human_size(details.shared)} shared with other revisions" if details.shared else ""
    print(f"size      {human_size(revision.size)}{shared}")
    saved = saving(revision.size, details.stored)
    less = f", {saved} saved" if details.stored < revision.size else ""
    print(f"stored    in {human_size(details.stored)}{less}")
    for ref in details.refs:
        said = f"  according to {ref.source} at {ref.observed}" if ref.observed else ""
        alone = "; no hub has confirmed it" if ref.unconfirmed else ""
        print(one_line(f"ref       {ref.name}{said}{alone}", 2000))
    if details.told is not None:
        by, since = details.told.by or "a node on the LAN", details.told.since or "an unknown time"
        print(one_line(f"listed    by {by} at {since}; no hub has confirmed it", 2000))
    if (link := details.about.links.get(revision.id.hex)) is not None:
        print(
            one_line(f"origin    verified against the link {link}; the publisher is unknown", 2000)
        )
    for name in details.damaged_refs:
        print(one_line(f"ref       {name}  DAMAGED: 'outlast doctor --mend' restores it", 2000))
    if not details.is_known:
        print("access    unknown, so it counts as private: its record is damaged or missing")
    elif details.about.gated or details.about.private:
        print(f"access    {'private' if details.about.private else 'gated'} at its hub")
    _print_withdrawn(details.about)
    _print_equals(details)
    _print_lineage(details)
    for suspect in details.suspects:
        print(one_line(f"warning   {suspect.path}: {suspect.reason}"))
    for path, what in damaged.items():
        print(one_line(f"damaged   {path}: {what}", 2000))
    marks = {entry.path: "code" for entry in revision.files if is_code(entry.path)}
    marks |= dict.fromkeys(damaged, "DAMAGED") | {entry.path: "LOST" for entry in details.absent}
    rows = [
        (marks.get(e.path, ""), *_sizes(details, e), e.key[:16], e.path) for e in revision.files
    ]
    rows += [("missing", human_size(e.size), "", "", e.key[:16], e.path) for e in revision.missing]
    print_table([("", "SIZE", "STORED", "FORM", "SHA256", "FILE"), *rows], right=(1, 2))


def _print_lineage(details: listing.Details) -> None:
    for line in lineage_lines(details.family):
        print(one_line(line, 2000))


def _print_equals(details: listing.Details) -> None:
    for one in details.equals:
        print(one_line(f"equal     {_same(one)} {one.name} at {one.hub}, seen {one.when}", 2000))


def _same(one: Equal) -> str:
    """How far a model elsewhere is this one."""
    if one.whole:
        return "all files are those of"
    more = f", which has {one.more} more" if one.more else ""
    return f"{one.files} of {one.of} files ({100 * one.share:.0f} % of the bytes){more}: in"


def _print_withdrawn(about: About) -> None:
    """What sources withdrew of the model, and what the operator of this archive noted."""
    for gone in withdrawn_parts(about):
        at = f"{gone.source} ({gone.path})" if gone.path else gone.source
        said = f" ({gone.reason})" if gone.reason else ""
        print(one_line(f"withdrawn at {at} on {gone.since} or earlier{said}"))
    if (notice := about.notice) is not None:
        given = "not given out" if notice.stopped else "still given out"
        print(one_line(f"notice    of {notice.since}: {notice.reason}; {given} by this archive"))


def _form_of(details: listing.Details, entry: FileEntry) -> StoredForm | None:
    return details.forms.get(entry.sha256) if entry.sha256 is not None else None


def _sizes(details: listing.Details, entry: FileEntry) -> tuple[str, str, str]:
    """The size of a file, the bytes that it takes on the disk, and its representation. Bytes are
    counted at the first of the paths that have them.
    """
    form = _form_of(details, entry)
    if form is None or entry.sha256 is None:
        return human_size(entry.size), "", ""
    if (first := details.firsts[entry.sha256]) != entry.path:
        return human_size(entry.size), "", f"same as {first}"
    names = {name for base in form.bases for name in details.bases.get(base.sha256, ())}
    against = f" against {', '.join(sorted(names))}" if names else ""
    word = f"delta{against}" if form.bases else form.form.value
    return human_size(entry.size), human_size(details.spaces[entry.sha256]), word


def _form_part(details: listing.Details, entry: FileEntry) -> FormPart:
    form = _form_of(details, entry)
    first, space = entry.path, 0
    if entry.sha256 is not None:
        first, space = details.firsts[entry.sha256], details.spaces.get(entry.sha256, 0)
    return FormPart(
        path=entry.path,
        form=form.form if form is not None else None,
        same_as=first if first != entry.path else None,
        stored_bytes=space if first == entry.path else 0,
        saving=saved_part(entry.size, space) if form is not None else 0.0,
        bases=[
            BasePart(sha256=base.sha256, bytes=base.size, models=details.bases.get(base.sha256, ()))
            for base in (form.bases if form is not None else ())
        ],
    )
