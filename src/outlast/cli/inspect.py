"""``outlast ls``, ``show`` and ``verify``."""

from collections.abc import Iterable, Sequence

import click

from outlast.cli.edge import TARGET, common, session
from outlast.cli.options.strict import suspects_json
from outlast.cli.screen.render import human_size, plural, print_json, print_table, saving
from outlast.core.errors import ExhaustedError, IntegrityError, one_line
from outlast.core.manifest import FileEntry
from outlast.core.names import Target
from outlast.ops import listing
from outlast.ops import verify as verify_ops
from outlast.store.disk import space_used
from outlast.store.forms import StoredForm
from outlast.store.index import Summary


def _state(summary: Summary) -> str:
    if summary.unlisted:
        return "partial (may lack files)"
    return f"partial (lacks {summary.missing})" if summary.missing else "complete"


@click.command(
    epilog="""\b
Examples:
  outlast ls
  outlast ls 'Qwen/*' --json

\b
Exit status:
  0 done · 3 no archive · 4 a ref or draft is damaged; the rest is listed
"""
)
@click.argument("pattern", nargs=-1)
@common
def ls(pattern: tuple[str, ...], *, home: str | None, as_json: bool, quiet: bool) -> int:
    """List archived revisions, or those of models that match PATTERN (a glob).

    SIZE is that of the files as a client sees them. STORED is what the disk holds of them, as 'du'
    counts: compressed, in whole blocks, each content once. A delta's base is counted with the model
    that it belongs to. The last line adds up: what several revisions share counts once. In JSON,
    own_bytes are those of stored_bytes that no line before has. A ref or draft that cannot be read
    has a line of its own, DAMAGED. STATE says unconfirmed where only a node on the LAN (pull --from
    lan) said which files the revision has, or that it is what the ref names.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        listed = listing.list_revisions(archive, pattern)
    lines, damaged = listed.lines, listed.damaged
    status = IntegrityError.exit_code if damaged else 0
    if as_json:
        for line in lines:
            s = line.summary
            print_json(
                {
                    "repo": str(s.repo),
                    "revision": s.revision,
                    "refs": line.refs,
                    "manifest": s.digest,
                    "files": s.files,
                    "bytes": s.size,
                    "missing": s.missing,
                    "partial": s.partial,
                    "unlisted": s.unlisted,
                    "stored_bytes": line.stored,
                    "own_bytes": line.own,
                    "saving": _saving(s.size, line.stored),
                    "capsules": line.capsules,
                    "thin": line.thin,
                    "bases": line.bases,
                    "unconfirmed": line.unconfirmed,
                }
            )
        for bad in damaged:
            print_json(
                {
                    "repo": str(bad.repo),
                    "revision": bad.revision,
                    "refs": [] if bad.ref is None else [bad.ref],
                    "damaged": bad.problem,
                }
            )
        return status
    rows = [("MODEL", "REVISION", "REFS", "FILES", "SIZE", "STORED", "SAVED", "STATE")]
    rows += [
        (
            str(line.summary.repo),
            line.summary.revision.hex[:12],
            ",".join(line.refs) or "-",
            f"{line.summary.files:,}",
            human_size(line.summary.size),
            human_size(line.stored),
            saving(line.summary.size, line.stored),
            _state(line.summary) + ", unconfirmed" * line.unconfirmed + _bases(line.bases),
        )
        for line in lines
    ]
    rows += [
        (
            str(bad.repo),
            bad.revision.hex[:12] if bad.revision is not None else "?",
            bad.ref or "-",
            *("?",) * 4,
            one_line(f"DAMAGED: {bad.problem}"),
        )
        for bad in damaged
    ]
    if lines or damaged:
        print_table(rows, right=(3, 4, 5, 6))
    size, stored = sum(line.summary.size for line in lines), sum(line.own for line in lines)
    bad_text = f", {len(damaged)} damaged: see 'outlast doctor'" if damaged else ""
    # The archive is closed by now: its index has no journal beside it any more.
    whole = f"; the archive takes {human_size(space_used(run.config.home))}" if not pattern else ""
    run.say(
        f"{plural(len(lines), 'revision')}, {human_size(size)}, stored in {human_size(stored)}"
        f"{whole}{bad_text}"
    )
    return status


def _saving(size: int, stored: int) -> float:
    """Which part of `size` the disk need not hold, from 0 to 1."""
    return round(max(0.0, 1 - stored / size), 4) if size else 0.0


def _bases(bases: Sequence[str]) -> str:
    return f", delta against {', '.join(bases)}" if bases else ""


@click.command(
    epilog="""\b
Examples:
  outlast show Qwen/Qwen3-0.6B
  outlast show Qwen/Qwen3-0.6B@v1.0 --json

\b
Exit status:
  0 done · 3 not archived
"""
)
@click.argument("target", type=TARGET)
@common
def show(target: Target, *, home: str | None, as_json: bool, quiet: bool) -> None:
    """Show one revision: its refs, files, sizes, digests and where it came from."""
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        details = listing.show(archive, target)
    revision = details.revision
    if as_json:
        print_json(
            {
                "repo": str(revision.repo),
                "revision": revision.id,
                "manifest": details.manifest,
                "refs": details.refs,
                "partial": revision.partial,
                "unlisted": revision.unlisted,
                "bytes": revision.size,
                "shared_bytes": details.shared,
                "damaged_refs": [*details.damaged_refs],
                "about": details.about,
                "about_known": details.is_known,
                "link": details.about.links.get(revision.id.hex),
                "listed_by": details.told,
                "files": [entry.to_json() for entry in revision.files],
                "missing": [entry.to_json() for entry in revision.missing],
                "absent": [entry.path for entry in details.absent],
                "stored_bytes": details.stored,
                "saving": _saving(revision.size, details.stored),
                "forms": [_form_json(details, entry) for entry in revision.files],
                "warnings": suspects_json(details.suspects),
            }
        )
        return
    _print_details(details)


def _print_details(details: listing.Details) -> None:
    revision = details.revision
    state = "complete"
    if revision.partial:
        lacks = "may lack files" if revision.unlisted else f"lacks {len(revision.missing)} files"
        state = f"PARTIAL ({lacks})"
    print(f"model     {revision.repo}")
    print(f"revision  {revision.id}")
    print(f"manifest  {details.manifest or 'none yet: files are still arriving'}")
    print(f"state     {state}")
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
    for what, since in sorted(details.about.withdrawn.items()):
        print(one_line(f"withdrawn {what} since {since} or earlier"))
    for suspect in details.suspects:
        print(one_line(f"warning   {suspect.path}: {suspect.reason}"))
    lost = {entry.path for entry in details.absent}
    rows = [
        ("LOST" if e.path in lost else "", *_sizes(details, e), e.key[:16], e.path)
        for e in revision.files
    ]
    rows += [("missing", human_size(e.size), "", "", e.key[:16], e.path) for e in revision.missing]
    print_table([("", "SIZE", "STORED", "FORM", "SHA256", "FILE"), *rows], right=(1, 2))


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


def _form_json(details: listing.Details, entry: FileEntry) -> dict[str, object]:
    form = _form_of(details, entry)
    first, space = entry.path, 0
    if entry.sha256 is not None:
        first, space = details.firsts[entry.sha256], details.spaces.get(entry.sha256, 0)
    return {
        "path": entry.path,
        "form": form.form.value if form is not None else None,
        "same_as": first if first != entry.path else None,
        "stored_bytes": space if first == entry.path else 0,
        "saving": _saving(entry.size, space) if form is not None else 0.0,
        "bases": [
            {
                "sha256": base.sha256.hex,
                "bytes": base.size,
                "models": details.bases.get(base.sha256, ()),
            }
            for base in (form.bases if form is not None else ())
        ],
    }


@click.command(
    epilog="""\b
Examples:
  outlast verify
  outlast verify Qwen/Qwen3-0.6B
  outlast verify --quarantine     then pull again to replace what was damaged

\b
Exit status:
  0 intact · 3 not archived · 4 damage found · 5 busy: not all could be read · 8 storage
  130 interrupted
"""
)
@click.argument("target", nargs=-1, type=TARGET)
@click.option("--quarantine", is_flag=True, help="Move damaged files to the quarantine folder")
@common
def verify(
    target: tuple[Target, ...],
    *,
    quarantine: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Re-hash all archived files, or those of TARGET, and report damage.

    The working copies of capsules are read too; --quarantine deletes a damaged one, because 'link'
    and 'run' make it again.
    Files that are intact and not what their names say (as an error page in place of weights) are
    warnings. Without --quarantine the command changes nothing.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        result = verify_ops.verify(archive, target, quarantine=quarantine, control=run.control)
    if as_json:
        print_json(
            {
                "type": "verified",
                "blobs": result.blobs,
                "bytes": result.size,
                "problems": result.problems,
                "warnings": suspects_json(result.suspects),
            }
        )
    else:
        verdict = plural(len(result.problems), "problem") if result.problems else "all intact"
        verdict += f", {plural(len(result.suspects), 'warning')}" if result.suspects else ""
        print(f"{plural(result.blobs, 'blob')}, {human_size(result.size)} read: {verdict}")
    return verdict_status(problem.code for problem in result.problems)


def verdict_status(codes: Iterable[str]) -> int:
    """The exit status for problems with these codes: a shortage of files or memory is no damage."""
    found = set(codes)
    if not found:
        return 0
    return ExhaustedError.exit_code if found == {ExhaustedError.code} else IntegrityError.exit_code
