"""``outlast serve``."""

import contextlib
import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from outlast.app import App, open_app
from outlast.cli.config.file import environment, parse_rate, parse_size
from outlast.cli.config.settings import ServeSettings
from outlast.cli.config.values import check_source
from outlast.cli.documents.running import ServingDocument
from outlast.cli.edge import Session, common, host_and_port, session
from outlast.cli.options.revoked import DigestType, accept, accept_option
from outlast.cli.screen.render import print_document
from outlast.cli.service.notify import tell_ready
from outlast.core.claims import Assessor
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import UsageError
from outlast.core.events import (
    CacheDropped,
    Event,
    FileMended,
    FileProblem,
    Note,
    SourceBanned,
    SourceWaiting,
    SourceWithdrew,
    SuspectContent,
    WatchNoticed,
)
from outlast.fetch.transfer import Wishes
from outlast.intake.form_policy import FormWishes
from outlast.intake.formats.allowed import UnsafeWish
from outlast.intake.formats.quarantine import Quarantine
from outlast.mirror.asker import AccessRules
from outlast.ops.claims import remember_revocations
from outlast.server.http.guard import Tokens
from outlast.server.http.log import log_line
from outlast.server.http.mount import Mount
from outlast.server.hub.server import Listen
from outlast.server.hub.server import serve as run_server
from outlast.store.archive import Archive

_PORT = 8090
_OPEN = "--open-restricted: every client may read private and gated models"
_SHOWN = (
    Note
    | SourceBanned
    | SourceWaiting
    | SourceWithdrew
    | FileMended
    | FileProblem
    | SuspectContent
    | WatchNoticed
    | CacheDropped
)
"""Events that a server tells its operator."""


@click.command(
    epilog="""\b
Examples:
  outlast serve
  outlast serve --upstream https://huggingface.co
  outlast serve --listen 0.0.0.0:8090 --tokens tokens.txt
Clients then use it as their hub:
  HF_ENDPOINT=http://127.0.0.1:8090 hf download Qwen/Qwen3-0.6B

\b
Exit status:
  0 stopped by Ctrl-C or SIGTERM · 2 bad address or setting · 3 no archive · 8 storage
"""
)
@click.option(
    "--listen",
    default=f"127.0.0.1:{_PORT}",
    show_default=True,
    metavar="HOST:PORT",
    help="Address to listen on",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Answer to this name too, as that of a reverse proxy (repeatable)",
)
@click.option(
    "--upstream",
    "urls",
    multiple=True,
    metavar="URL",
    help="Download missing files from this hub, or KIND+URL (repeatable)",
)
@click.option(
    "--tokens",
    type=click.Path(path_type=Path),
    help="File of bearer tokens, one line each: NAME TOKEN [MODEL...]; only these may read",
)
@click.option(
    "--open-restricted",
    is_flag=True,
    help="Let every client read private and gated models",
)
@click.option(
    "--offline-access",
    type=click.FloatRange(0),
    default=86400,
    show_default=True,
    metavar="SECONDS",
    help="While the hub is unreachable, admit tokens that it admitted in so many seconds",
)
@click.option(
    "--ttl",
    type=click.FloatRange(0),
    default=300,
    show_default=True,
    help="Look up a branch or tag again after so many seconds",
)
@click.option(
    "--keep",
    metavar="SIZE",
    help="Keep at most this much of what clients made it download, e.g. 2TB",
)
@click.option(
    "--limit-rate",
    metavar="RATE",
    help="At most this many bytes per second from upstream, for each file, e.g. 10M",
)
@click.option(
    "--max-connections",
    type=click.IntRange(1),
    default=1024,
    show_default=True,
    help="Most clients at once",
)
@click.option(
    "--stall",
    type=click.FloatRange(0.1),
    default=120,
    show_default=True,
    help="Drop a client that reads nothing for so many seconds",
)
@click.option("--no-swarm", is_flag=True, help="Neither offer models to other nodes nor ask them")
@click.option(
    "--alone",
    is_flag=True,
    help="No other server uses the archive: serve although its file system has no locks",
)
@accept_option
@click.option(
    "--allow-unsafe",
    "unsafe",
    type=DigestType("a file"),
    multiple=True,
    metavar="DIGEST",
    help="Give out the pickle with this sha256, while this server runs (repeatable)",
)
@common
def serve(
    *,
    listen: str,
    hosts: tuple[str, ...],
    urls: tuple[str, ...],
    tokens: Path | None,
    open_restricted: bool,
    offline_access: float,
    ttl: float,
    keep: str | None,
    limit_rate: str | None,
    max_connections: int,
    stall: float,
    no_swarm: bool,
    alone: bool,
    accepted: tuple[Digest, ...],
    unsafe: tuple[Digest, ...],
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Serve the archive under the Hugging Face hub's API; with --upstream, as a mirror that checks
    every file.

    A mirror downloads files that it does not have, checks and keeps them, and streams them to the
    client at the same time. It serves archived commits without asking upstream. It looks up a
    branch or tag again after --ttl seconds. A hub that answers decides which commit that is; if
    none does, the commit that most static peers name is taken. While there is no answer, the last
    known commit is served.

    With --keep, a mirror drops the revision that clients used least recently when it has more than
    this, or when its disk is full. What you pulled, linked or shared, and what a list names, stays,
    as does what a hub has withdrawn. Nothing goes that a client reads.

    Without --upstream the folder of the archive must be there. Other servers and commands
    may use it at the same time. On a file system whose locks do not work, where they could not be
    kept apart, it refuses: see --alone.

    Every client may read public models. Private and gated ones are only for clients whose own
    token the first --upstream admits, which that hub is asked, and for tokens to which the file
    of --tokens opens them by name (MODEL, as in org/*). Your own token lets no client in.

    Pickles (.bin and .pt files of PyTorch, .pkl …) are in quarantine: clients get HTTP 403 and the
    reason, because a program that loads one runs what is in it. Other archives and nodes get them.
    --allow-unsafe, 'outlast quarantine allow' and the setting 'unsafe' of [serve] let them out.

    The server also offers models to other nodes: to neighbours, which are found on the LAN, and to
    static peers, which the configuration names. Section [share] of the configuration says which
    models; by default all, but private and gated ones to static peers only. A mirror downloads
    files from nodes that have them whole, and from the hub if none has them or they are slow.
    --no-swarm turns both off.

    /metrics is for Prometheus, /healthz for probes: 503 and a word where the archive's disk does
    not work. One JSON line for each request goes to stderr; with --debug, the reasons too.
    """
    host, port = host_and_port(listen, _PORT)
    with session(home, as_json=as_json, quiet=quiet, log_line=log_line) as run:
        config = run.config.answering_to(hosts)
        upstreams = config.upstreams(map(check_source, urls))
        intake = config.serve.intake
        if keep is not None:
            if not upstreams:
                raise UsageError("--keep is for mirrors", hint="add --upstream URL")
            intake = replace(intake, keep=parse_size(keep))
        wishes = Wishes(
            connections=config.connections,
            rate=parse_rate(limit_rate) if limit_rate else config.rate,
            forms=FormWishes(config.form),
        )

        def emit(event: Event) -> None:
            if isinstance(event, _SHOWN):
                run.screen.emit(event)

        def ready(url: str) -> None:
            tell_ready(environment(), f"serving at {url}")
            if open_restricted and (as_json or quiet):
                log_line({"level": "warning", "what": "serve", "warning": _OPEN})
            if as_json:
                print_document(ServingDocument(url=url, archive=config.home))
                return
            print(url, flush=True)
            run.say(f"serving {config.home}; clients: HF_ENDPOINT={url}")
            if open_restricted:
                run.say(f"WARNING: {_OPEN}")
            if tokens is None and not _is_loopback(host):
                run.say(
                    "every client that can reach this address may read public models; "
                    "--tokens restricts that"
                )

        control = Control(emit, run.control.cancel)
        where = Listen(host, port, tokens, max_connections, stall, config.serve.hosts)
        with (
            run.archive(create=bool(urls) or config.home.is_dir()) as archive,
            _kept_apart(archive, alone=alone),
            open_app(
                archive,
                upstreams,
                config.node(swarm=not no_swarm),
                control,
                ttl=ttl,
                wishes=wishes,
                rules=AccessRules(open_restricted, offline_access),
                intake=intake,
                quarantine=_quarantine(archive, config.serve, unsafe),
                homes=config.open_home,
            ) as app,
            _featured(run, app) as mounts,
        ):
            run_server(
                app.mirror,
                app.metrics,
                where,
                ready,
                cancel=run.control.cancel,
                mounts=mounts,
                assessor=_assessor(run, archive, accepted),
            )


def _quarantine(archive: Archive, settings: ServeSettings, allowed: Sequence[Digest]) -> Quarantine:
    """Which files clients do not get."""
    digests = (*allowed, *map(Digest, settings.allow_unsafe))
    return Quarantine(archive, allowed=digests, is_open=settings.unsafe is UnsafeWish.ALLOW)


def check_tokens(path: Path) -> None:
    """Raises :class:`~outlast.core.errors.BadConfigError` where `serve --tokens` would."""
    Tokens(path)


def _assessor(run: Session, archive: Archive, accepted: Sequence[Digest]) -> Assessor | None:
    """What says which claims hold; what is revoked is known from here on."""
    assessor = run.assessor(archive)
    if assessor is not None:
        remember_revocations(archive, assessor, run.control.cancel)
    accept(run, archive, accepted)
    return assessor


def _kept_apart(archive: Archive, *, alone: bool) -> contextlib.AbstractContextManager[None]:
    """Refuses to serve where other servers could not be kept apart, unless there are none."""
    if not alone:
        archive.require_locks()
    return contextlib.nullcontext()


@contextlib.contextmanager
def _featured(run: Session, app: App) -> Iterator[list[Mount]]:
    """The mounts of all features; their services run while the block does."""
    mounts: list[Mount] = []
    with contextlib.ExitStack() as services:
        for listed in run.features:
            feature, settings = listed.load(), run.config.feature(listed)
            mounts += feature.mounts(app, settings)
            for service in feature.services(app, settings):
                services.enter_context(service)
        yield mounts


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
