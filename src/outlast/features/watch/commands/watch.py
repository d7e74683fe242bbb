"""``outlast watch``."""

import click

from outlast.app import hub_sources
from outlast.cli.config.file import check_url
from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import plural, print_document
from outlast.core.control import Control
from outlast.core.errors import UnreachableError, UsageError, WithdrawnError, one_line
from outlast.core.events import Event, WatchNoticed
from outlast.features.watch.assemble import open_watcher
from outlast.features.watch.changes import Change
from outlast.features.watch.commands.documents import ChangeDocument
from outlast.features.watch.follows import read_follows
from outlast.features.watch.settings import WatchSettings
from outlast.features.watch.telling.alerts import sentence
from outlast.features.watch.watch import Lookout, hasten, watch_once
from outlast.features.watch.watch import watch as keep_watching
from outlast.fetch.transfer import Wishes
from outlast.intake.form_policy import FormWishes


@click.command(
    epilog="""\b
Examples:
  outlast watch --once
  outlast watch --once --now
  outlast watch --once --json
  outlast watch --from https://huggingface.co

\b
Exit status:
  0 nothing was withdrawn · 2 nothing is followed, or usage · 3 something was withdrawn · 5 a hub
  gives no answers · 8 storage · 130 interrupted
"""
)
@click.option("--once", is_flag=True, help="Look at what is due, and end")
@click.option("--now", is_flag=True, help="Begin with a look at all that is followed, due or not")
@click.option(
    "--from",
    "words",
    multiple=True,
    metavar="URL",
    help="Watch this hub (repeatable)  [default: the setting from]",
)
@common
def watch(
    *,
    once: bool,
    now: bool,
    words: tuple[str, ...],
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Look at hubs for what 'outlast follow' names, and tell what changed since the last time.

    Each model is looked at once a day, those of high priority four times, within the requests a day
    that the setting requests-per-day allows: most requests are conditional, and one list does for
    all models of an organisation. The first look at a model tells nothing. What changed is printed
    as it comes, one line each, is written down for 'outlast log', and is sent to the webhook and
    the e-mail addresses of the configuration, once. A hub that gives no answers at all is told of
    once, and nothing is said of its models until it does.

    Then what follows with a budget name is archived, what is at risk first.

    With --once the command ends when nothing more is due, and the exit status says whether
    something was withdrawn: for cron. Without it, it goes on until Ctrl-C. --now looks at what was
    looked at a moment ago, too: after bad news, say. The requests of the day are its limit as well.
    'outlast serve' with --upstream watches too.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        config = run.config
        settings = config.features.get("watch", WatchSettings())
        urls = [check_url(word) for word in words] or config.sources
        wishes = Wishes(
            connections=config.connections, rate=config.rate, forms=FormWishes(config.form)
        )
        if not read_follows(config.home, settings.lists):
            raise UsageError("nothing is followed yet", hint="begin with 'outlast follow org/name'")

        def emit(event: Event) -> None:
            if not isinstance(event, WatchNoticed):  # it is printed as a result
                run.screen.emit(event)

        with (
            run.archive(create=True) as archive,
            open_watcher(
                archive,
                hub_sources(config.upstreams(urls), config.http()),
                settings,
                Control(emit, run.control.cancel),
                wishes=wishes,
                http=config.http(),
            ) as watcher,
        ):
            if not watcher.hubs:
                raise UsageError("no hub is named", hint="name one with --from URL, or in 'from'")
            if now:
                hasten(watcher)
            if not once:
                run.say("watching, until Ctrl-C")
                keep_watching(watcher, lambda change: _print(run, change))
            return _look_once(run, watcher)


def _look_once(run: Session, watcher: Lookout) -> int:
    """The exit status."""
    passed = watch_once(watcher, lambda change: _print(run, change))
    run.say(f"{_watched(watcher)} watched: {plural(passed.changes, 'change')}")
    for hub in passed.dark:
        run.say(f"{hub} gives no answers: it is asked again later")
    if passed.withdrawn:
        return WithdrawnError.exit_code
    return UnreachableError.exit_code if passed.dark else 0


def _watched(watcher: Lookout) -> str:
    """How many models at which hubs."""
    memory = watcher.context.memory
    counts = [sum(count for _, count, _ in memory.load(hub.name)) for hub in watcher.hubs]
    named = [
        f"{plural(count, 'model')} at {hub.name}"
        for count, hub in zip(counts, watcher.hubs, strict=True)
    ]
    return one_line(", ".join(named))


def _print(run: Session, change: Change) -> None:
    if run.as_json:
        print_document(
            ChangeDocument(
                when=change.when,
                hub=change.hub,
                repo=change.repo,
                what=change.kind,
                ref=change.ref,
                before=change.before,
                after=change.after,
                reason=change.reason,
                diff=change.diff,
                files=change.files,
                commit=None,
            )
        )
        return
    print(f"{change.when}  {one_line(sentence(change))}", flush=True)
