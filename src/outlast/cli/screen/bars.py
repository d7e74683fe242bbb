"""Bars of progress on a terminal. Imports rich, which is slow to load: import it when needed."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
)
from rich.text import Text

from outlast.cli.screen.render import rate_and_left


class _RateColumn(ProgressColumn):
    """How fast, and how long yet. It is asked several times a second, also while nothing comes."""

    def render(self, task: Task) -> Text:
        return Text(rate_and_left(task.fields["rate"]))


def make_bars() -> Progress:
    """Bars on stderr. The fields of a task are its `rate`, and `wait`: what it waits for."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        _RateColumn(),
        TextColumn("{task.fields[wait]}", markup=False),
        console=Console(stderr=True),
    )
