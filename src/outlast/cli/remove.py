"""``outlast rm`` and ``outlast gc``."""

import click

from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.screen.render import human_size, plural, print_json
from outlast.core.names import Target
from outlast.ops import removal


@click.command(
    epilog="""\b
Examples:
  outlast rm Qwen/Qwen3-0.6B --dry-run
  outlast rm Qwen/Qwen3-0.6B@v1.0

\b
Exit status:
  0 done · 3 not archived
"""
)
@click.argument("target", nargs=-1, required=True, type=TARGET)
@click.option("--dry-run", is_flag=True, help="Print what would be removed; change nothing")
@common
def rm(
    target: tuple[Target, ...], *, dry_run: bool, home: str | None, as_json: bool, quiet: bool
) -> None:
    """Remove TARGET from the archive: a model, a revision or a ref.

    Removing a ref also removes its revision unless another ref names it. The bytes stay on the disk
    until 'outlast gc' deletes them.
    """
    count, gone = 0, []
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        for one in target:
            gone += [(one.repo, commit) for commit in removal.named(archive, one)[1]]
            count += len(removal.remove(archive, one, dry_run=dry_run, control=run.control))
        kept = removal.bases_kept(archive, gone)
    if as_json:
        kind = "would-remove" if dry_run else "removed-all"
        print_json({"type": kind, "count": count, **_kept_json(kept)})
        return
    if dry_run:
        run.say(f"would remove {plural(count, 'ref or revision')}; nothing was changed")
    else:
        run.say("removed; 'outlast gc' frees the space")
    _say_kept(run, kept)


@click.command(
    epilog="""\b
Examples:
  outlast gc --dry-run
  outlast gc

\b
Exit status:
  0 done · 3 no archive · 4 a manifest is damaged: nothing was deleted · 8 storage
"""
)
@click.option("--dry-run", is_flag=True, help="Print what would be deleted; change nothing")
@common
def gc(*, dry_run: bool, home: str | None, as_json: bool, quiet: bool) -> None:
    """Delete files and interrupted downloads that no revision needs.

    The base of a delta capsule stays as long as the capsule does, even after its own model was
    removed. The command is safe while pulls and servers run. If a manifest is damaged, it deletes
    nothing.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        result = removal.collect_garbage(archive, dry_run=dry_run, control=run.control)
    if as_json:
        counts = {"count": result.count, "bytes": result.size, **_kept_json(result.kept)}
        print_json({"type": "collected", "dry_run": dry_run, **counts})
    else:
        verb = "would free" if dry_run else "freed"
        print(f"{verb} {human_size(result.size)} ({plural(result.count, 'item')})")
        _say_kept(run, result.kept)


def _kept_json(kept: removal.KeptBases) -> dict[str, int]:
    return {"kept": kept.count, "kept_bytes": kept.size}


def _say_kept(run: Session, kept: removal.KeptBases) -> None:
    if kept.count:
        run.say(
            f"kept: {plural(kept.count, 'blob')} ({human_size(kept.size)}) that delta capsules "
            "depend on; 'outlast pack --no-base' or 'outlast unpack' of the fine-tunes frees them"
        )
