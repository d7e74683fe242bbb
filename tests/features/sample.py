"""A feature that only tests have: it uses every part of the seam."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import click
from aiohttp import web

from outlast.app import App
from outlast.cli.config.section import ConfigSection, Meaning, Text, read_section
from outlast.cli.edge import common, session
from outlast.core.errors import NotFoundError
from outlast.features import Command, Listed
from outlast.ops.doctor import Finding, Health
from outlast.server.http.exchange import Exchange
from outlast.server.http.mount import Mount


@dataclass(frozen=True)
class Settings:
    greeting: str = "hello"


class SampleSection(ConfigSection, frozen=True):
    """How the sample greets."""

    greeting: Annotated[Text, Meaning("What greet prints.")] = "hello"
    password: Annotated[Text, Meaning("What is never shown.", secret=True)] = ""


class Sample:
    def settings(self, table: Mapping[str, Any]) -> Settings:
        return Settings(read_section(SampleSection, table, "[sample]").greeting)

    def mounts(self, app: App, settings: Settings) -> Iterable[Mount]:
        async def answer(exchange: Exchange) -> web.StreamResponse:
            path = exchange.request.path
            if path == "/sample/bug":
                raise ZeroDivisionError(path)
            if path != "/sample/models":
                raise NotFoundError(f"nothing at {path}")
            names = [str(summary.repo) for summary in app.archive.summaries()]
            return web.json_response({"greeting": settings.greeting, "models": names})

        return [Mount("/sample", "sample", answer)]

    def services(
        self, app: App, settings: Settings
    ) -> Iterable[contextlib.AbstractContextManager[object]]:
        return [self._marking(app.archive.layout.home, name, settings) for name in ("one", "two")]

    @contextlib.contextmanager
    def _marking(self, home: Path, name: str, settings: Settings) -> Iterator[None]:
        """Writes down when it starts and ends."""
        log = home.with_name("services.log")
        with log.open("a") as file:
            file.write(f"{name} starts: {settings.greeting}\n")
        try:
            yield
        finally:
            with log.open("a") as file:
                file.write(f"{name} ends\n")

    def checks(self, home: Path) -> Iterable[Finding]:
        yield Finding("sample", Health.WRONG, f"looked at {home.name}", "mend it")


@click.command()
@common
def greet(*, home: str | None, as_json: bool, quiet: bool) -> None:
    """Print the greeting of the configuration."""
    with session(home, as_json=as_json, quiet=quiet) as run:
        print(run.config.feature(LISTED).greeting)


SAMPLE = Sample()
LISTED = Listed(
    "sample",
    "tests.features.sample:SAMPLE",
    {"greet": Command("tests.features.sample:greet", "Print the greeting of the configuration.")},
    "tests.features.sample:SampleSection",
)
ABSENT = Listed(
    "absent",
    "tests.features.nowhere:ABSENT",
    {
        "vanish": Command("tests.features.nowhere:vanish", "A command that cannot be imported."),
        "ls": Command("tests.features.nowhere:ls", "It would replace a command of the core."),
    },
)
"""Help, and commands that do not need it, must not notice that it cannot be imported."""
