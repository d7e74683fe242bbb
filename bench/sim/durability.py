"""How many holders keep every piece alive for a year, in 9,999 of 10,000 such years.

Holders leave for good, each for itself, at a steady rate. Without repair what is left after a year
is what began; with repair a holder that left is replaced after a while, by a copy of what is still
there. Loss of a piece is for ever: the origin is gone.
"""

from dataclasses import dataclass
from math import exp, expm1, log, log1p
from random import Random

TARGET = 0.9999
YEAR = 365.0
_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Churn:
    """`leave`: the part of the holders that leaves in a year; `repair`: days until one that left is
    replaced (None: never).
    """

    leave: float
    repair: float | None = None

    @property
    def rate(self) -> float:
        """Departures per holder and day."""
        return -log1p(-self.leave) / YEAR


def survival(holders: int, churn: Churn, days: float = YEAR) -> float:
    """The chance that, of `holders` whole copies, at least one was there at every time."""
    if churn.repair is None:
        gone = -expm1(-churn.rate * days)
        return 1 - gone**holders
    return 1 - _absorbed(holders, churn.rate, 1 / churn.repair, days)


def _absorbed(holders: int, leave: float, repair: float, days: float) -> float:
    """The chance that a birth-death chain on 0..holders, begun at `holders`, comes to 0 (where it
    stays) within so many days: by uniformization (Jensen 1953).
    """
    fastest = holders * max(leave, repair)
    steps = fastest * days
    chances = [0.0] * holders + [1.0]
    lost, weight, reached, taken = 0.0, exp(-steps) if steps < 700 else 0.0, 0.0, 0
    if steps >= 700:
        return _by_steps(holders, leave, repair, days)
    while reached < 1 - 1e-12 and taken < 10 * steps + 200:
        lost += weight * chances[0]
        reached += weight
        chances = _step(chances, leave / fastest, repair / fastest)
        taken += 1
        weight *= steps / taken
    return lost


def _by_steps(holders: int, leave: float, repair: float, days: float) -> float:
    fastest = holders * max(leave, repair)
    chances = [0.0] * holders + [1.0]
    for _ in range(round(fastest * days)):
        chances = _step(chances, leave / fastest, repair / fastest)
    return chances[0]


def _step(chances: list[float], leave: float, repair: float) -> list[float]:
    top = len(chances) - 1
    after = [chances[0], *([0.0] * top)]
    for alive in range(1, top + 1):
        chance = chances[alive]
        down, up = alive * leave, (top - alive) * repair
        after[alive - 1] += chance * down
        after[alive] += chance * (1 - down - up)
        if alive < top:
            after[alive + 1] += chance * up
    return after


def whole(churn: Churn, target: float = TARGET) -> int:
    """The smallest number of holders of whole copies."""
    return next(n for n in range(1, _MOST) if survival(n, churn) >= target)


def partial(share: float, pieces: int, churn: Churn, target: float = TARGET) -> int:
    """The smallest number of holders that keep a part each, chosen by chance and independently,
    of a payload of so many pieces: every piece must have a holder that stays. Without repair.

    A piece is lost with the chance (1 - share * stays) ** holders; all live with the product.
    """
    stays = exp(-churn.rate * YEAR)
    lost_each = -expm1(log(target) / pieces)
    if share * stays >= 1:
        return 1
    found = log(lost_each) / log1p(-share * stays)
    return int(found) + (found > int(found))


def spread(parts: int, churn: Churn, target: float = TARGET) -> int:
    """The same where holders share out the pieces: `parts` equal parts, each kept by as many
    holders as another. All parts must live.
    """
    need = target ** (1 / parts)
    copies = next(n for n in range(1, _MOST) if survival(n, churn) >= need)
    return copies * parts


def at_once(part: float, target: float = TARGET, parts: int = 1) -> int:
    """Copies of each part so that all parts live when `part` of all holders leave at one time."""
    lost_each = -expm1(log(target) / parts)
    found = log(lost_each) / log(part)
    return int(found) + (found > int(found))


def sample(holders: int, churn: Churn, random: Random, times: int, days: float = YEAR) -> float:
    """The same as :func:`survival`, by trying it out so many times."""
    lived = sum(_lives(holders, churn, random, days) for _ in range(times))
    return lived / times


def _lives(holders: int, churn: Churn, random: Random, days: float) -> bool:
    alive, now = holders, 0.0
    repair = 1 / churn.repair if churn.repair else 0.0
    while alive:
        total = alive * churn.rate + (holders - alive) * repair
        now += random.expovariate(total)
        if now > days:
            return True
        alive += -1 if random.random() * total < alive * churn.rate else 1
    return False
