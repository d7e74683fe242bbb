"""``outlast share``."""

from collections.abc import Sequence
from pathlib import Path

import click

from outlast.cli.config.file import PUBLIC_HUB, check_url
from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.render import human_size, plural, print_json, print_table
from outlast.core.errors import MalformedError, UsageError
from outlast.core.names import Target
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
"""
)
@click.argument("target", type=TARGET)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=".",
    help="Where to write the .torrent files  [default: here]",
)
@click.option("--blobs", is_flag=True, help="One .torrent for each blob or capsule, too")
@click.option("--v1", "old", is_flag=True, help="A torrent of version 1 alone, too")
@click.option("--tracker", "trackers", multiple=True, metavar="URL", help="Name this tracker")
@click.option(
    "--web-seed",
    "web_seeds",
    multiple=True,
    metavar="URL",
    help="Name this hub, mirror or node, which serves the revision by HTTP",
)
@click.option("--no-seed", is_flag=True, help="Only write the files: running nodes seed nothing")
@click.option("--stop", is_flag=True, help="Share it no more: running nodes end seeding it")
@click.option("--restricted", is_flag=True, help="Even what is private, gated or not to be shared")
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
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print a magnet link of TARGET, and write its .torrent file, for people with an ordinary
    client: they get the files under their names.

    The torrent has version 1 and 2, and is the same wherever the same revision is archived, so
    that strangers who share it are in one swarm. Making it reads every file, and finds damage. A
    revision of the public hub has that as its web seed, unless another is named; --tracker and
    --web-seed can be repeated.

    Clients that cannot read both versions at once (Transmission before 4.0, aria2 before 1.37 or
    from a hub as web seed) need --v1: another torrent, with a swarm of its own.

    With --blobs, DIR/org--name-commit/ gets a torrent of each file as it is held here: what
    outlast nodes hand each other. What is private or gated at its hub, or left out by the
    configuration, is refused unless --restricted is given.

    From then on each running node with a swarm ('outlast serve') seeds these torrents to ordinary
    clients, until --stop. What is private or gated it seeds to static peers alone. Files that are
    held as capsules are seeded from working copies, where there is room for them.

    A link proves that what came matches it, and nothing more: who hands it on must be trusted, or
    the files compared with what their publisher signed.
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
        shared = ops.share(archive, target, wishes, run.config.share, run.control)
    _report(run, shared)


def _stop(target: Target, home: str | None, *, as_json: bool, quiet: bool) -> None:
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        commits = [archive.revision(target.repo, target.ref).id] if target.ref else None
        stopped = shares.stop(archive, target.repo, commits)
    if as_json:
        infohashes = [share.infohash for share in stopped]
        print_json({"type": "stopped", "repo": str(target.repo), "infohashes": infohashes})
        return
    for share in stopped:
        print(share.infohash)
    run.say(f"{plural(len(stopped), 'torrent')} of {target.repo} shared no more")


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
        print_json(
            {
                "type": "shared",
                "repo": str(revision.repo),
                "revision": revision.id,
                "partial": revision.partial,
                "restricted": bool(shared.against),
                "magnet": link.magnet(),
                "torrent": shared.torrent,
                "magnet_v1": shared.old[0].magnet() if shared.old else None,
                "torrent_v1": shared.old[1] if shared.old else None,
                "infohash_v1": link.infohash_v1.hex() if link.infohash_v1 else None,
                "infohash_v2": link.infohash_v2.hex() if link.infohash_v2 else None,
                "bytes": link.size,
                "trackers": link.trackers,
                "web_seeds": link.web_seeds,
                "files": [_file_json(file) for file in shared.files],
            }
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
        run.say("this revision is PARTIAL: its torrent is another than that of the complete one")
    if shared.against:
        run.say(f"NOT FOR EVERYBODY: {shared.against}; who has the link can ask for the files")


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


def _file_json(file: ops.SharedFile) -> dict[str, object]:
    return {
        "path": file.path,
        "bytes": file.size,
        "form": file.form.value,
        "payload_bytes": file.payload_bytes,
        "root": file.root,
        "infohash": file.infohash.hex() if file.infohash else None,
        "torrent": file.torrent,
    }
