"""``outlast gateway``: serves, and has subcommands, each imported when it is called."""

import gc
from functools import partial
from pathlib import Path
from typing import Final

import click

from outlast.cli.config.file import environment
from outlast.cli.edge import common, host_and_port, session
from outlast.cli.options.late_group import LateGroup
from outlast.cli.screen.render import print_document
from outlast.cli.service.notify import tell_ready
from outlast.features.gateway import core_dumps
from outlast.features.gateway.accounts.prices import PriceBook
from outlast.features.gateway.commands.documents import ServingGatewayDocument
from outlast.features.gateway.commands.shared import (
    record_of,
    routes_of,
    routes_option,
    starter_of,
    till_of,
)
from outlast.features.gateway.processes.supervisor import (
    MOST,
    Seat,
    Supervisor,
    bind_shared,
    shared_port,
)
from outlast.features.gateway.serving.server import GatewayService, Parts, serve_gateway
from outlast.server.http.log import log_line
from outlast.server.model.server import bind, url_of

_PORT: Final = 8070
SUBCOMMANDS: Final = {
    "check": (
        "outlast.features.gateway.commands.check:check",
        "Ask every target for one token, and show what answers.",
    ),
    "drill": (
        "outlast.features.gateway.commands.drill:drill",
        "Block each hosted target in turn, and show that routes still answer.",
    ),
    "keys": (
        "outlast.features.gateway.commands.keys:keys",
        "Make, list, change and revoke keys of users, with budgets.",
    ),
    "usage": (
        "outlast.features.gateway.commands.usage:usage",
        "Show what was used, by origin.",
    ),
    "costs": (
        "outlast.features.gateway.commands.costs:costs",
        "Compare hosted models with one's own.",
    ),
}


@click.group(
    cls=LateGroup,
    late=SUBCOMMANDS,
    invoke_without_command=True,
    epilog="""\b
Examples:
  outlast gateway
  outlast gateway --routes /etc/outlast/gateway.toml --listen 127.0.0.1:8070
  outlast gateway --processes 4
  outlast gateway check
  outlast gateway drill
Clients then use it as OpenAI's API:
  OPENAI_BASE_URL=http://127.0.0.1:8070/v1 …

\b
Exit status:
  0 stopped by Ctrl-C or SIGTERM · 2 the routes cannot be read, bad address, or no key is required
  where others can reach it · 8 storage · 9 the address is taken
""",
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
    "--no-substitute",
    is_flag=True,
    help="Refuse requests that the first choice of a route does not answer",
)
@click.option(
    "--processes",
    type=click.IntRange(1, MOST),
    default=1,
    show_default=True,
    metavar="N",
    help="Serve from so many processes behind the one port",
)
@routes_option
@common
@click.pass_context
def gateway(
    ctx: click.Context,
    *,
    listen: str,
    processes: int,
    hosts: tuple[str, ...],
    no_substitute: bool,
    routes_file: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int | None:
    """Serve OpenAI's API, and Anthropic's messages, in front of hosted models, servers of your own
    and the archive: where one target does not answer, the next one does, and the answer says so.

    The file of routes maps the models that callers name to targets, in order. A stream that breaks
    goes on at the next target from the text so far where that is sound, and else ends in an error.
    Targets that failed are left alone, and probed in the background. Each answer names its target
    in headers (X-Outlast-Target) and in the field 'outlast'.

    With --processes, several share the port, budgets and what is known of targets that do not
    answer; the first one has the engines of the archive's models. One that ends is started anew.

    SIGHUP reads the file again. SIGTERM and Ctrl-C end the gateway once its streams are done, or
    after the seconds of the setting 'drain'. /metrics is for Prometheus, /healthz for probes.
    """
    if ctx.invoked_subcommand is not None:
        return None
    host, port = host_and_port(listen, _PORT)
    core_dumps.forbid()  # one would have keys and prompts in it
    with session(home, as_json=as_json, quiet=quiet, log_line=log_line) as run:
        config = run.config.answering_to(hosts)
        routes = routes_of(run, routes_file)

        def ready(url: str) -> None:
            tell_ready(environment(), f"answering at {url}")
            if as_json:
                print_document(ServingGatewayDocument(url=url, routes=list(routes.routes)))
                return
            print(url, flush=True)
            run.say(f"models: {', '.join(routes.routes)}; Ctrl-C ends it")

        if any(target.endpoint is not None for target in routes.targets):
            PriceBook({}).warm()  # else the first caller waits for it; once for all processes
        seat: Seat | None = None
        if processes > 1:
            port, url = shared_port(host, port)
            supervisor = Supervisor(processes, run.control.cancel)
            ended = supervisor.run(partial(ready, f"{url}/v1"))
            if isinstance(ended, int):
                return ended
            seat = ended
        with (
            run.archive(create=True) as archive,
            till_of(run, routes_file) as till,
            bind(host, port) if seat is None else bind_shared(host, port) as sock,
        ):
            service = GatewayService(
                partial(routes_of, run, routes_file),
                starter_of(run, archive),
                record_of(run),
                Parts(accounts=till, prices=till, reload=till.reload),
                hosts=config.serve.hosts,
                substitutes=not no_substitute,
                home=run.config.home,
                seat=seat,
            )
            gc.collect()
            gc.freeze()  # what is there for good: a collection of it took 17 ms of the event loop
            told = partial(ready, f"{url_of(sock)}/v1") if seat is None else seat.ready
            serve_gateway(service, sock, told, run.control.cancel)
    return 0
