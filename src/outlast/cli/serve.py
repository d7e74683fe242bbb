"""``outlast serve``."""

import contextlib
import ipaddress
from pathlib import Path

import click

from outlast.cli.config.file import check_url, parse_rate
from outlast.cli.edge import common, host_and_port, session
from outlast.cli.neighbours import Origins, open_node
from outlast.cli.render import print_json
from outlast.core.control import Control
from outlast.core.events import Event, FileProblem, Note, SourceBanned, SourceWaiting
from outlast.fetch.transfer import Wishes
from outlast.intake.form_policy import FormWishes
from outlast.mirror.mirror import Mirror
from outlast.node.scope import Neighbourhood
from outlast.server.http.log import log_bug
from outlast.server.http.metrics import Metrics
from outlast.server.hub.server import Listen
from outlast.server.hub.server import serve as run_server
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource

_PORT = 8090


@click.command(
    epilog="""\b
Examples:
  outlast serve
  outlast serve --upstream https://huggingface.co
  outlast serve --listen 0.0.0.0:8090 --tokens tokens.txt
Clients then use it as their hub:
  HF_ENDPOINT=http://127.0.0.1:8090 hf download Qwen/Qwen3-0.6B
"""
)
@click.option(
    "--listen", default=f"127.0.0.1:{_PORT}", show_default=True, metavar="HOST:PORT", help="Where"
)
@click.option(
    "--upstream",
    "urls",
    multiple=True,
    metavar="URL",
    help="Fetch what is not archived from this hub (repeatable)",
)
@click.option(
    "--tokens",
    type=click.Path(path_type=Path),
    help="File of bearer tokens; without it everybody who can connect may read",
)
@click.option(
    "--ttl",
    type=click.FloatRange(0),
    default=300,
    show_default=True,
    help="Seconds until a ref is asked for again upstream",
)
@click.option("--limit-rate", metavar="RATE", help="Bytes per second from upstream, for each file")
@click.option(
    "--max-connections", type=click.IntRange(1), default=1024, show_default=True, help="At once"
)
@click.option(
    "--stall",
    type=click.FloatRange(0.1),
    default=120,
    show_default=True,
    help="Seconds that a client may take no byte",
)
@click.option("--no-swarm", is_flag=True, help="Share with nobody, and ask nobody but --upstream")
@common
def serve(
    *,
    listen: str,
    urls: tuple[str, ...],
    tokens: Path | None,
    ttl: float,
    limit_rate: str | None,
    max_connections: int,
    stall: float,
    no_swarm: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Serve the archive under the Hugging Face hub's API; with --upstream, as a verifying mirror.

    A mirror fetches what is not archived, verifies it, keeps it, and streams it on meanwhile.
    Commits that are archived are served without asking upstream; refs are asked for again after
    --ttl seconds, and when upstream does not answer the last known commit is served.

    What [share] of the configuration allows is also offered to neighbours on the LAN and to static
    peers (and a mirror asks them first); --no-swarm turns that off.

    /metrics is for Prometheus, /healthz for probes; every request writes a JSON line to stderr.
    """
    host, port = host_and_port(listen, _PORT)
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(session(home, as_json=as_json, quiet=quiet))
        archive = stack.enter_context(run.archive(create=True))
        metrics = Metrics()
        http = HttpClient(run.config.http(), metrics.asked)
        upstream = [check_url(url) for url in urls]
        sources = [HubSource(http, url, run.config.token_for(url)) for url in upstream]

        def emit(event: Event) -> None:
            metrics.observe(event)
            if isinstance(event, Note | SourceBanned | SourceWaiting | FileProblem):
                run.screen.emit(event)

        rate = parse_rate(limit_rate) if limit_rate else run.config.rate
        forms = FormWishes(run.config.form)
        control = Control(emit, run.control.cancel)
        around = None
        if run.config.swarm.enabled and not no_swarm:
            everybody = Origins((), peers=None)
            node = stack.enter_context(
                open_node(run, archive, control, everybody, command="serve", metrics=metrics)
            )
            around = Neighbourhood(node)
        mirror = Mirror(
            archive,
            sources,
            ttl=ttl,
            wishes=Wishes(connections=run.config.connections, rate=rate, forms=forms),
            control=control,
            around=around,
            on_bug=lambda error: log_bug("fetch", error),
        )

        def ready(url: str) -> None:
            if as_json:
                print_json({"type": "serving", "url": url, "archive": run.config.home})
                return
            print(url, flush=True)
            run.say(f"serving {run.config.home}; clients: HF_ENDPOINT={url}")
            if tokens is None and not _is_loopback(host):
                run.say("everybody who can reach this address may read: --tokens asks for tokens")

        where = Listen(host, port, tokens, max_connections, stall)
        run_server(mirror, metrics, where, ready)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
