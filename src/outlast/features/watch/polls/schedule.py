"""Who is asked when: pure functions of what is known and the time, in seconds since 1970.

Each hub has one budget of requests a day. What is due comes within it, the longest due first; where
the budget would not do, everything becomes due later in the same proportion.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from outlast.core.keep_list import Priority

DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """The numbers of watching that are ours to choose; times in seconds."""

    least_budget: int = 100
    """Requests a day to a hub that follows few models. A visit of a browser takes more."""
    urgent: float = 4.0
    """How much oftener models of high priority are looked at, and those of low priority less."""
    jitter: float = 0.1
    """Part of a period by which a model is due earlier, so that not all are due at once."""
    tries: int = 3
    """Requests until something counts as failed."""
    rest: float = 2.0
    """Before the second of them; it doubles."""
    back_off: float = 300.0
    """Until the next look at what failed; it doubles with each failure."""
    longest_back_off: float = 6 * 3600.0
    settled: float = 3600.0
    """For how long a hub that was dark must have failed no request until it counts as back."""
    flapping: float = 4.0
    """By how much longer it must, each time that it was dark again soon after it was back."""
    memory: float = 7 * DAY
    """What is soon."""
    longest_rest: float = 30 * DAY
    """For which a hub may ask to be left alone. What lasts longer comes from a clock that was ahead
    when it was noted, and has been set back."""
    limit_wait: float = 60.0
    """After a hub said that it was asked too much, and not for how long."""
    pace: float = 0.6
    """Between two requests: 500 in five minutes is what a large hub grants to those unnamed."""
    archive_again: float = 1200.0
    """Until what could not be archived is tried again, if that may pass by itself."""
    archive_later: float = DAY
    """The same for what is withdrawn, or too large for its follow or the disk."""
    longest_wait: float = 3600.0
    """For the answers of one hub in one pass, where other hubs are watched too: the rest comes in
    the next pass. Guess: 10,000 models of a hub that answers in a third of a second."""
    service: float = 30.0
    """Between two looks of the service at what is due."""


TUNING: Final = Tuning()


@dataclass(frozen=True, slots=True)
class Load:
    """What an account costs: `models` are followed, and one list has them in so many `pages`."""

    models: int
    priority: Priority
    pages: int = 1

    @property
    def by_list(self) -> bool:
        """Whether one list costs less than a question for each model."""
        return self.models > 1 and self.pages < self.models

    @property
    def requests(self) -> int:
        """For a look at each model and its refs."""
        return (self.pages if self.by_list else self.models) + self.models


def rank(priority: Priority) -> int:
    """0 for the most urgent."""
    return [*Priority].index(priority)


def budget(models: int, wanted: int | None, tuning: Tuning = TUNING) -> int:
    """Requests a day to a hub: what the operator wants, else one for each model, and not too few
    for a list that is short.
    """
    return wanted or max(tuning.least_budget, models)


def period(priority: Priority, every: float, stretch: float, tuning: Tuning = TUNING) -> float:
    """Seconds between two looks."""
    factor = {Priority.HIGH: 1 / tuning.urgent, Priority.NORMAL: 1.0, Priority.LOW: tuning.urgent}
    return every * factor[priority] * stretch


def stretch(loads: Iterable[Load], every: float, allowed: int, tuning: Tuning = TUNING) -> float:
    """By how much all periods are longer, so that a day's requests are `allowed`; 1 at least."""
    early = 1 - tuning.jitter / 2  # on average
    daily = sum(
        load.requests * DAY / (period(load.priority, every, 1.0, tuning) * early) for load in loads
    )
    return max(1.0, daily / allowed)


def next_due(name: str, now: float, seconds: float, tuning: Tuning = TUNING) -> float:
    """When something is due again that was done now: up to a tenth earlier, by its name and day."""
    return now + seconds * (1 - tuning.jitter * _share(f"{name} {now // DAY}"))


def latest_due(now: float, every: float, stretch: float, tuning: Tuning = TUNING) -> float:
    """Nothing is due later than this, unless it was noted by a clock that was ahead."""
    longest = period(Priority.LOW, every, stretch, tuning)
    return now + max(longest, tuning.longest_back_off, tuning.archive_later)


def first_due(name: str, now: float, seconds: float) -> float:
    """When it is due for the second time, so that what began at once is spread over a period."""
    return now + seconds * (0.5 + 0.5 * _share(name))


def _share(text: str) -> float:
    """A number in [0, 1) that follows from a text."""
    return int.from_bytes(hashlib.blake2s(text.encode(), digest_size=6).digest()) / 2.0**48


def back_off(name: str, failures: int, tuning: Tuning = TUNING) -> float:
    """Seconds until the next look at what failed so often in a row."""
    wait = min(tuning.longest_back_off, tuning.back_off * 2.0 ** min(failures - 1, 20))
    return wait * (1 - tuning.jitter * _share(f"{name} {failures}"))


def day_of(now: float) -> str:
    """As 2030-01-31."""
    return moment(now)[:10]


def moment(now: float) -> str:
    """As 2030-01-31T12:00:00+00:00."""
    return dt.datetime.fromtimestamp(now, dt.UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class HubHealth:
    """How a hub does as a whole. `dark`: it was told that it answers nothing. `until`: it is left
    alone that long. `failed`: when it failed last. `returned`: when it was told to be back.
    """

    dark: bool = False
    until: float = 0.0
    failed: float = 0.0
    failures: int = 0
    returned: float = 0.0
    flaps: int = 0

    def after_failure(self, name: str, now: float, tuning: Tuning = TUNING) -> Self:
        """It answered nothing."""
        again = not self.dark and self.returned > now - tuning.memory
        flaps = self.flaps + again if self.dark or again else 0
        return replace(
            self,
            dark=True,
            failed=now,
            failures=self.failures + 1,
            until=now + back_off(name, self.failures + 1, tuning),
            flaps=flaps,
        )

    def after_answer(self, now: float, tuning: Tuning = TUNING) -> Self:
        """It answers. It counts as back when it did so for long enough."""
        if not self.dark:
            return self
        if self.failed <= now < self._settles(tuning):
            return replace(self, failures=0)
        return replace(self, dark=False, failures=0, returned=now)

    def is_asked(self, now: float, tuning: Tuning = TUNING) -> bool:
        """Whether it is time to see if a hub that was dark is back."""
        return self.dark and (self.failures > 0 or not self.failed <= now < self._settles(tuning))

    def rests(self, now: float, tuning: Tuning = TUNING) -> bool:
        """Whether it is left alone. A clock that was set back since does not make that longer."""
        return now < self.until <= now + tuning.longest_rest

    def _settles(self, tuning: Tuning) -> float:
        """When it counts as back, if it fails no more; at once after the clock was set back."""
        return self.failed + tuning.settled * tuning.flapping**self.flaps

    def resting(self, until: float) -> Self:
        """It asked to be left alone."""
        return replace(self, until=until)

    def hastened(self, name: str, tuning: Tuning = TUNING) -> Self:
        """It is asked at once, unless it asked to be left alone itself."""
        backs_off = self.until == self.failed + back_off(name, self.failures, tuning)
        return replace(self, until=0.0) if backs_off else self

    def to_json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The inverse; what is not there, or wrong, is as at the beginning."""
        known: dict[str, Any] = {}
        for name, field in cls.__dataclass_fields__.items():
            value = document.get(name, field.default)
            known[name] = value if isinstance(value, type(field.default)) else field.default
        return cls(**known)
