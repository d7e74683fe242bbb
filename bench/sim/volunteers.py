"""A year of volunteers who hold what their peers hold rarest, and of whom many leave.

Each volunteer decides every third day by the product's own function (`features.durability.copies.
volunteer`); nothing else moves a model. At first a hub holds all of them. After some days it is
gone, and then what no volunteer holds is lost for good.

What is not simulated but assumed: that all hear of a new copy, and that one is gone, after a
delay (`delay`, `notice`: days); what is fetched arrives before the next day; no node lies. The
product's nodes ask each other every ten minutes, so both delays are longer than theirs.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log1p
from random import Random

from outlast.features.durability.copies.tuning import TUNING
from outlast.features.durability.copies.volunteer import Known, Model, decide, keepers


@dataclass(frozen=True, slots=True)
class Year:
    """What is simulated. `given`: the budgets of all volunteers together, as copies of all models;
    they join while the hub is there, for `hub` days. `leave`: the part that leaves in `days` days.
    """

    volunteers: int = 10_000
    models: int = 2_000
    given: float = 6.0
    leave: float = 0.3
    days: int = 365
    hub: int = 20
    every: int = 3
    delay: int = 1
    notice: int = 2
    sizes: float = 1.0
    budgets: float = 1.5
    """Sigma of the sizes of models and of the budgets, which are lognormal."""


@dataclass(slots=True)
class Outcome:
    """After the year: so many models can be had, `left`, of so many volunteers that `stayed`;
    `stored` is what was stored on the average day after the hub was gone, `moved` what was fetched
    then, both as copies of all models.
    """

    left: int
    stayed: int
    stored: float
    moved: float
    by_copies: dict[int, int] = field(default_factory=dict)


class World:
    """The state of all volunteers."""

    def __init__(self, year: Year, seed: int) -> None:
        random = self.random = Random(seed)
        self.year = year
        self.sizes = [_lognormal(random, year.sizes, 10**10) for _ in range(year.models)]
        self.total = sum(self.sizes)
        budgets = [random.lognormvariate(0, year.budgets) for _ in range(year.volunteers)]
        scale = year.given * self.total / sum(budgets)
        self.free = [int(one * scale) for one in budgets]
        self.holds: list[set[int]] = [set() for _ in range(year.volunteers)]
        self.names: list[set[str]] = [set() for _ in range(year.volunteers)]
        self.holders: list[set[int]] = [set() for _ in range(year.models)]
        self.known: list[set[int]] = [set() for _ in range(year.models)]
        rate = -log1p(-year.leave) / year.days
        self.keepers: list[frozenset[str]] = [frozenset()] * year.models
        self.joins = [random.randrange(year.hub) for _ in range(year.volunteers)]
        self.smallest = self.contenders = 0
        self.offers: list[Model] = []
        self.leaves: dict[int, list[int]] = defaultdict(list)
        for number in range(year.volunteers):
            self.leaves[int(random.expovariate(rate))].append(number)
        self.news: dict[int, list[tuple[int, int, bool]]] = defaultdict(list)
        self.alive = [True] * year.volunteers
        self.stored = self.kept = self.moved = 0
        self.today: list[Model] = []

    def run(self) -> Outcome:
        for day in range(self.year.days):
            self._morning(day)
            for volunteer in self._order(day):
                self._decide(volunteer, day)
            self.kept += self.stored * (day >= self.year.hub)
        counts: dict[int, int] = defaultdict(int)
        for holders in self.holders:
            counts[len(holders)] += 1
        return Outcome(
            left=sum(map(bool, self.holders)),
            stayed=sum(self.alive),
            stored=self.kept / self.total / (self.year.days - self.year.hub),
            moved=self.moved / self.total,
            by_copies=dict(sorted(counts.items())),
        )

    def _order(self, day: int) -> Sequence[int]:
        there = [
            number
            for number, alive in enumerate(self.alive)
            if alive and self.joins[number] <= day and (number + day) % self.year.every == 0
        ]
        self.random.shuffle(there)
        return there

    def _morning(self, day: int) -> None:
        """Those leave whose day it is, and all hear the news."""
        year = self.year
        for volunteer in self.leaves[day]:
            self.alive[volunteer] = False
            for model in self.holds[volunteer]:
                self._lose(volunteer, model, day)
            self.holds[volunteer].clear()
        for volunteer, model, there in self.news.pop(day, ()):
            known = self.known[model]
            (known.add if there else known.discard)(volunteer)
            self.keepers[model] = keepers(str(model), [*map(str, known)])
        hub = int(day < year.hub)
        self.today = [
            Model(str(model), self.sizes[model], max(1, len(known) + hub))
            for model, known in enumerate(self.known)
        ]
        # `decide` takes nothing else: to leave it out saves time.
        self.offers = [one for one in self.today if one.copies < TUNING.enough]
        self.smallest = min((one.size for one in self.offers), default=self.total)
        self.contenders = len({holder for known in self.known for holder in known})

    def _decide(self, volunteer: int, day: int) -> None:
        holds = self.holds[volunteer]
        droppable = [
            self.today[model]
            for model in holds
            if len(self.known[model]) >= TUNING.spare
            and str(volunteer) not in self.keepers[model]
            and len(self.holders[model]) > 1  # one of them proves that it has it
        ]
        if not droppable and self.free[volunteer] < self.smallest:
            return  # `decide` would say the same
        known = Known(
            self.offers, self.names[volunteer], droppable, self.free[volunteer], self.contenders
        )
        choice = decide(known, self.random)
        if choice.take is None:
            return
        wanted = int(choice.take.manifest)
        if day >= self.year.hub and not self.holders[wanted]:
            return  # all that it heard of are gone
        for one in choice.drop:
            self._drop(volunteer, int(one.manifest), day)
        self._take(volunteer, wanted, day)

    def _take(self, volunteer: int, model: int, day: int) -> None:
        size = self.sizes[model]
        self.holds[volunteer].add(model)
        self.names[volunteer].add(str(model))
        self.holders[model].add(volunteer)
        self.free[volunteer] -= size
        self.stored += size
        self.moved += size * (day >= self.year.hub)
        self.news[day + self.year.delay].append((volunteer, model, True))

    def _drop(self, volunteer: int, model: int, day: int) -> None:
        self.holds[volunteer].discard(model)
        self.names[volunteer].discard(str(model))
        self.free[volunteer] += self.sizes[model]
        self._lose(volunteer, model, day)

    def _lose(self, volunteer: int, model: int, day: int) -> None:
        self.holders[model].discard(volunteer)
        self.stored -= self.sizes[model]
        self.news[day + self.year.notice].append((volunteer, model, False))


def _lognormal(random: Random, sigma: float, median: float) -> int:
    return int(median * random.lognormvariate(0, sigma))
