"""``outlast share``."""

from collections.abc import Sequence
from pathlib import Path

import click

from outlast.cli.config.file import PUBLIC_HUB, check_url
from outlast.cli.documents.network import SharedDocument, SharedFilePart, StoppedDocument
from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.options.revoked import accept, accept_option
from outlast.cli.screen.render import plural, print_document, print_table
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError, UsageError
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.node import shared_torrents as shares
from outlast.ops import share as ops
from outlast.swarm.torrent.magnet import TRACKERS, urls


@click.command(
    epilog="""\b
Examples:
  outlast share Qwen/Qwen3-0.6B
  outlast share Qwen/Qwen3-0.6B --out torrents --tracker http://tracker.example/announce
  outlast share me/my-finetune --blobs --web-seed https://models.example
  outlast share me/my-finetune --stop

\b
Exit status:
  0 done · 2 usage · 3 not archived · 4 damage found · 7 against the policy · 8 storage
  130 interrupted
"""
)
@click.argument("target", type=TARGET)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=".",
    help="Folder for the .torrent files  [default: the current folder]",
)
@click.option("--blobs", is_flag=True, help="Also write one .torrent for each stored file")
@click.option(
    "--v1", "old", is_flag=True, help="Also write a torrent of BitTorrent version 1 alone"
)
@click.option(
    "--tracker",
    "trackers",
    multiple=True,
    metavar="URL",
    help="Announce to this tracker (repeatable)",
)
@click.option(
    "--web-seed",
    "web_seeds",
    multiple=True,
    metavar="URL",
    help="Web seed: a hub, mirror or node that serves the revision (repeatable)",
)
@click.option(
    "--no-seed", is_flag=True, help="Only write the files; running nodes do not seed them"
)
@click.option("--stop", is_flag=True, help="Stop sharing: running nodes stop seeding TARGET")
@click.option(
    "--restricted", is_flag=True, help="Allow models that are private, gated or excluded by [share]"
)
@accept_option
@common
def share(
    target: Target,
    *,
    out: Path,
    blobs: bool,
    old: bool,
    trackers: tuple[str, ...],
    web_seeds: tuple[str, ...],
    no_seed: bool,
    stop: bool,
    restricted: bool,
    accepted: tuple[Digest, ...],
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print a magnet link of TARGET and write its .torrent file. Any BitTorrent client can download
    them and gets the files under their own names.

    The torrent is a hybrid of versions 1 and 2. The same revision gives the same torrent on every
    machine, so all who share it are in one swarm. The command reads every file, and finds damage. A
    revision of the public hub gets that hub as its web seed, unless --web-seed names another.

    Clients that cannot read hybrid torrents (Transmission before 4.0, aria2 before 1.37 or from a
    hub as web seed) need --v1: a second torrent, with a swarm of its own.

    With --blobs, DIR/org--name-commit/ gets one torrent for each file in its stored form, as
    outlast nodes exchange it. Models that are private or gated at their hub, or excluded by
    [share], need --restricted.

    Every running node with a swarm ('outlast serve') seeds these torrents from now on, until
    --stop. It seeds private and gated models to static peers only. Files that are stored as
    capsules are seeded from plain working copies, as far as there is space for them.

    A link proves that the downloaded files match it, and nothing about their publisher. Trust the
    person who gave you the link, or compare the files with the publisher's signature.
    """
    wishes = ops.ShareWishes(
        out.absolute(),
        blobs=blobs,
        old=old,
        trackers=_trackers(trackers),
        web_seeds=tuple(dict.fromkeys(map(check_url, web_seeds))),
        public_hubs=(PUBLIC_HUB,),
        restricted=restricted,
        seeds=not no_seed,
    )
    if stop:
        _stop(target, home, as_json=as_json, quiet=quiet)
        return
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        accept(run, archive, accepted, [target])
        shared = ops.share(archive, target, wishes, run.config.share, run.control)
    _report(run, shared)


def _stop(target: Target, home: str | None, *, as_json: bool, quiet: bool) -> None:
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        commits = [archive.revision(target.repo, target.ref).id] if target.ref else None
        stopped = shares.stop(archive, target.repo, commits)
    if as_json:
        infohashes = [share.infohash for share in stopped]
        print_document(StoppedDocument(repo=target.repo, infohashes=infohashes))
        return
    for share in stopped:
        print(share.infohash)
    run.say(f"stopped sharing {plural(len(stopped), 'torrent')} of {target.repo}")


def _trackers(given: Sequence[str]) -> tuple[str, ...]:
    try:
        found = urls(list(given), TRACKERS)
    except MalformedError as error:
        raise UsageError(str(error), hint="write it like http://host:port/announce") from None
    for url in given:
        if url not in found:
            known = ", ".join(sorted(TRACKERS))
            raise UsageError(f"not a tracker: {url!r}", hint=f"its scheme is one of {known}")
    return found


def _report(run: Session, shared: ops.Shared) -> None:
    revision, link = shared.revision, shared.link
    if run.as_json:
        print_document(
            SharedDocument(
                repo=revision.repo,
                revision=revision.id,
                partial=revision.partial,
                restricted=bool(shared.against),
                magnet=link.magnet(),
                torrent=shared.torrent,
                magnet_v1=shared.old[0].magnet() if shared.old else None,
                torrent_v1=shared.old[1] if shared.old else None,
                infohash_v1=link.infohash_v1.hex() if link.infohash_v1 else None,
                infohash_v2=link.infohash_v2.hex() if link.infohash_v2 else None,
                bytes=link.size,
                trackers=link.trackers,
                web_seeds=link.web_seeds,
                files=[_file_part(file) for file in shared.files],
            )
        )
        return
    print(link.magnet())
    if shared.old is not None:
        print(shared.old[0].magnet())
    if not run.quiet:
        _print_files(shared)
    for path in (shared.torrent, *(shared.old[1:] if shared.old else ())):
        run.say(f"wrote {path}")
    written = {file.torrent for file in shared.files if file.torrent is not None}
    if written:
        run.say(f"wrote {plural(len(written), 'torrent')} into {written.pop().parent}")
    if revision.partial:
        run.say("this revision is PARTIAL: the complete revision has a different torrent")
    if shared.against:
        run.say(f"RESTRICTED: {shared.against}; anyone with the link can ask for the files")


def _print_files(shared: ops.Shared) -> None:
    rows = [("SIZE", "FORM", "AS", "INFOHASH", "FILE")]
    rows += [
        (
            human_size(file.size),
            file.form.value,
            human_size(file.payload_bytes),
            file.infohash.hex() if file.infohash else "-",
            file.path,
        )
        for file in shared.files
    ]
    print_table(rows, right=(0, 2))


def _file_part(file: ops.SharedFile) -> SharedFilePart:
    return SharedFilePart(
        path=file.path,
        bytes=file.size,
        form=file.form,
        payload_bytes=file.payload_bytes,
        root=file.root,
        infohash=file.infohash.hex() if file.infohash else None,
        torrent=file.torrent,
    )
