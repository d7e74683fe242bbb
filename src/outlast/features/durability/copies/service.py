"""Keeping copies again and again: beside `serve`, and for `outlast keep`."""

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from outlast.app import App, OpenHome
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.errors import Cancelled, OutlastError
from outlast.core.events import Note
from outlast.features.durability.copies.keeper import Change, Done, Keeper
from outlast.features.durability.copies.rounds import CopiesContext
from outlast.features.durability.copies.stores import StoreAt
from outlast.features.durability.settings import CopiesSettings
from outlast.node.node import Node
from outlast.server.http.log import log_bug
from outlast.server.http.metrics import Metrics

UNFORESEEABLE: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class MetricCounters:
    """Figures for `/metrics`."""

    metrics: Metrics

    def goals(self, met: int, unmet: int) -> None:
        self.metrics.goals.labels("yes").set(met)
        self.metrics.goals.labels("no").set(unmet)

    def challenged(self, right: int, failed: int) -> None:
        self.metrics.challenges.labels("right").inc(right)
        self.metrics.challenges.labels("failed").inc(failed)


def keep(keeper: Keeper, every: float, control: Control, told: Callable[[Done], None]) -> None:
    """Keeps copies until it is cancelled; `told` hears of each. After a copy came the next round
    begins at once. What fails is said once, and tried again.
    """
    said = ""
    while True:
        fetched = False
        try:
            _, done = keeper.step()
            for one in done:
                told(one)
                fetched = fetched or one.change in {Change.FETCHED, Change.STORED}
            said = ""
        except Cancelled:
            raise
        except OutlastError as error:
            if str(error) != said:
                control.emit(Note(f"copies: {error}"))
            said = str(error)
        if not fetched:
            control.cancel.wait(every)
        control.cancel.check()


def stores_of(settings: CopiesSettings, homes: OpenHome) -> tuple[StoreAt, ...]:
    """The stores that the settings name for goals."""
    return tuple(StoreAt(one.site, one.url, partial(homes, one.url)) for one in settings.stores)


@contextlib.contextmanager
def keeping_beside(app: App, node: Node, settings: CopiesSettings) -> Iterator[None]:
    """Keeps copies in a thread beside a server while the block runs."""
    cancel = Cancel(app.control.cancel)
    control = Control(app.control.emit, cancel)
    context = CopiesContext(
        app.archive,
        node,
        settings,
        control,
        app.wishes,
        MetricCounters(app.metrics),
        UNFORESEEABLE,
        stores=stores_of(settings, app.homes),
    )

    def told(one: Done) -> None:
        where = f" in {one.store}" if one.store else ""
        control.emit(Note(f"a copy of {one.row.repo} was {one.change}{where}"))

    def work() -> None:
        try:
            keep(Keeper(context), settings.every, control, told)
        except Cancelled:
            pass
        except Exception as error:  # noqa: BLE001 - the server goes on
            log_bug("copies", error)

    thread = threading.Thread(target=work, name="copies")
    thread.start()
    try:
        yield
    finally:
        cancel.set()
        thread.join()
