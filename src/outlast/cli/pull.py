"""``outlast pull``."""

import click

from outlast.cli.documents.arriving import PulledDocument
from outlast.cli.documents.parts import warnings_of
from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.lists.keep import keep_all
from outlast.cli.lists.read import list_option, read_list
from outlast.cli.options.forms import kept_in
from outlast.cli.options.pulling import Puller, PullOptions, opened, pull_options
from outlast.cli.options.selection import selection_options
from outlast.cli.options.strict import warnings
from outlast.cli.options.target import WANTED, Wanted, read_wanted
from outlast.cli.pull_other import OtherWishes, check_options, pull_by_digest, pull_by_link
from outlast.cli.screen.render import plural, print_document
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError, UsageError, one_line
from outlast.core.events import Note
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.fetch.file_filter import Selection
from outlast.ops import pull as ops
from outlast.ops.pull_link import LinkWanted
from outlast.ops.pulling.plan import PullPlan
from outlast.ops.run_adapter import missing_base


@click.command(
    epilog="""\b
Examples:
  outlast pull Qwen/Qwen3-0.6B
  outlast pull Qwen/Qwen3-0.6B@v1.0 --dry-run
  outlast pull unsloth/gemma-3-GGUF --include '*Q4_K_M*'
  outlast pull datasets/squad --from https://mirror.example --from https://huggingface.co
  outlast pull Qwen/Qwen3-0.6B --from lan
  outlast pull 'magnet:?xt=urn:btmh:1220…&tr=…' --as me/model
  outlast pull model.torrent --patience 600
  outlast pull --file models.txt

\b
Exit status:
  0 archived · 2 usage · 3 not found · 4 wrong or malformed bytes · 5 transient (run again: it
  resumes) · 7 access denied or against a rule · 8 storage · 130 interrupted
"""
)
@click.argument("target", type=WANTED, required=False)
@list_option("Archive all that this keep-list names, not TARGET (-: stdin)")
@selection_options
@pull_options
@click.option("--as", "name", type=TARGET, help="Archive a link or torrent as org/name[@ref]")
@click.option(
    "--patience",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Give up on a link or digest when no peer sends anything for so long",
)
@click.option(
    "--with-base",
    is_flag=True,
    help="If TARGET is an adapter, archive its base, too",
)
@common
def pull(
    target: Wanted | None,
    *,
    file: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    options: PullOptions,
    name: Target | None,
    patience: float | None,
    with_base: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Archive TARGET: a model as org/name[@ref-or-commit], a dataset as datasets/…, a magnet link,
    a .torrent file, or a manifest (the list of a revision's files) by its sha256 in 64 hex digits,
    which 'outlast show' prints.

    Other nodes are neighbours, which are found on the LAN, and static peers, which the
    configuration names. Hubs and static peers are asked at the same time which commit TARGET is and
    which files it has. A hub that answers decides; without one, the commit that most static peers
    name is taken. Neighbours are asked that only with --from lan, and decide only if no hub
    answers: their word does not prove who published the files, and 'show' and 'serve' mark it until
    a hub confirms or replaces it. The bytes of a
    file come from nodes that have the whole file, and from the hub if none has it or they are slow.
    If several nodes want the same file, one node downloads it from the hub and all nodes exchange
    pieces. An interrupted pull of a commit that a hub has listed goes on from nodes if no hub can
    be reached.

    Every file is checked against the hub's digest before it is kept. An interrupted pull resumes; a
    second pull transfers only new files. Files are compressed losslessly as they arrive if that
    saves at least 3 %; a fine-tune (a model trained further from another one) is stored as a delta
    against its base.

    Files that are not what their names say (as a Git LFS pointer or an error page in place of
    weights, a truncated file, a missing shard) are archived with a warning. With --strict they are
    refused, and the revision stays unfinished.

    A link or torrent proves that the files match it, and nothing about their publisher. Its files
    are archived under the name of --as; without it, the name is link/ and the first 16 digits of
    the torrent's infohash (the digest that identifies it). A link waits for peers until Ctrl-C or
    --patience ends the pull.

    An adapter (LoRA) is archived like any model. If the base that it was made for is not here, the
    command says which that is; with --with-base, it archives it too.

    With --file, all models of a keep-list are archived, one after the other: a line is
    org/name[@ref], and include=GLOB or exclude=GLOB for some of its files. One that fails does not
    stop the others. The exit status is then that of the worst failure, in this order: 130, 8, 4, 1,
    7, 3, 2, 5.
    """
    if (target is None) == (file is None):
        raise UsageError("name either one TARGET or a list with --file")
    with session(home, as_json=as_json, quiet=quiet) as run:
        if file is not None:
            if include or exclude or name is not None or patience is not None:
                raise UsageError(
                    "--include, --exclude, --as and --patience do not go with --file",
                    hint="write include=GLOB or exclude=GLOB on the lines of the list",
                )
            lines = read_list(file)
            with opened(run, options) as puller:
                return keep_all(run, puller, lines, options).status
        assert target is not None
        asked = read_wanted(target)
        check_options(asked, name, patience, some=bool(include or exclude))
        with opened(run, options, named=True) as puller:
            other = OtherWishes(
                puller.wishes, name, patience, options.dry_run, puller.room, options.strict
            )
            _pull_one(run, puller, asked, Selection(include, exclude), other)
            if isinstance(asked, Target) and not options.dry_run:
                _pull_base(run, puller, asked, other, wanted=with_base)
        return 0


def _pull_base(
    run: Session, puller: Puller, asked: Target, other: OtherWishes, *, wanted: bool
) -> None:
    """Archives the base of an adapter that is here now; without the wish, says which it is."""
    try:
        base = missing_base(puller.archive, puller.archive.revision(asked.repo, asked.ref))
    except OutlastError as error:
        run.control.emit(Note(f"warning: {asked.repo} is an adapter that cannot be run: {error}"))
        return
    if base is None:
        return
    if not wanted:
        run.say(f"its base is not here: outlast pull {base}, or --with-base")
        return
    _pull_one(run, puller, base, Selection(), other)


def _pull_one(
    run: Session,
    puller: Puller,
    asked: Target | Digest | LinkWanted,
    selection: Selection,
    other: OtherWishes,
) -> None:
    archive, around = puller.archive, puller.around
    match asked:
        case LinkWanted():
            pull_by_link(run, archive, asked, around, other)
        case Digest():
            done = pull_by_digest(run, archive, asked, other, sources=puller.sources, around=around)
            _print(run, done.pulled, dry_run=other.dry_run)
        case Target():
            result = ops.pull(
                archive,
                asked,
                puller.sources,
                selection=selection,
                wishes=puller.wishes,
                control=run.control,
                around=around,
                dry_run=other.dry_run,
                room=puller.room,
                strict=other.strict,
            )
            _print(run, result, dry_run=other.dry_run)


def _print(run: Session, result: ops.Pulled, *, dry_run: bool) -> None:
    plan = result.plan
    if run.as_json:
        print_document(_document(result, dry_run=dry_run))
        return
    if dry_run:
        _print_plan(plan)
        return
    gave = {name: count for name, count in result.fetched.items() if count}
    for url, count in gave.items():
        if len(gave) > 1:
            run.say(f"  {human_size(count)} from {url}")
    state = f" PARTIAL: {_left_out(plan)}" if result.partial else ""
    fetched = human_size(sum(result.fetched.values()))
    kept = kept_in(plan.total_bytes, result.held)
    run.say(
        f"archived {plan.repo}@{plan.ref}: {plural(len(plan.wanted), 'file')}, "
        f"{human_size(plan.total_bytes)} verified, {fetched} fetched{_mended(result)}{kept}{state}"
        f"{warnings(len(result.suspects))}"
    )
    print(plan.commit)


def _mended(result: ops.Pulled) -> str:
    return f", {plural(len(result.mended), 'damaged file')} mended" if result.mended else ""


def _left_out(plan: PullPlan) -> str:
    """Why the archived revision is partial."""
    count = len(plan.left_out) + len(plan.refused)
    return f"{plural(count, 'file')} left out" if count else "it may lack files"


def _document(result: ops.Pulled, *, dry_run: bool) -> PulledDocument:
    plan = result.plan
    return PulledDocument(
        type="plan" if dry_run else "pulled",
        repo=plan.repo,
        ref=plan.ref,
        commit=plan.commit,
        manifest=result.manifest,
        partial=result.partial,
        refused=plan.refused,
        source=plan.source,
        unconfirmed=bool(plan.told_by),
        files=len(plan.wanted),
        bytes=plan.total_bytes,
        to_fetch=[entry.path for entry in plan.to_fetch],
        to_fetch_bytes=plan.fetch_bytes - plan.resumed,
        free_bytes=plan.free,
        fits=plan.fits,
        fetched=result.fetched,
        mended=[event.path for event in result.mended],
        held_bytes=result.held,
        warnings=warnings_of(result.suspects),
    )


def _print_plan(plan: PullPlan) -> None:
    need = plan.fetch_bytes - plan.resumed
    print(f"{plan.repo}@{plan.ref} is commit {plan.commit} at {plan.source}")
    print(f"  wanted    {plural(len(plan.wanted), 'file')}, {human_size(plan.total_bytes)}")
    here = human_size(sum(entry.size for entry in plan.here))
    print(f"  here      {plural(len(plan.here), 'file')}, {here}")
    print(f"  to fetch  {plural(len(plan.to_fetch), 'file')}, {human_size(need)}")
    print(f"  free      {human_size(plan.free)}: it {'fits' if plan.fits else 'does NOT fit'}")
    if plan.partial:
        print(f"  PARTIAL   {_left_out(plan)}")
    for entry in plan.to_fetch:
        print(f"    {human_size(entry.size):>9}  {one_line(entry.path)}")
