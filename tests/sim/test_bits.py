from random import Random

from bench.sim.bits import Counts, draw, each, full, lowest


def test_counts_are_sums_of_sets() -> None:
    random, counts, sets = Random(4), Counts(), []
    for _ in range(60):
        sets.append(random.getrandbits(50))
        counts.add(sets[-1])
    for gone in (sets.pop() for _ in range(25)):
        counts.drop(gone)
    for piece in range(50):
        assert counts.count(piece) == sum(one >> piece & 1 for one in sets)


def test_the_rarest_have_the_lowest_count() -> None:
    random, counts = Random(5), Counts()
    for _ in range(20):
        counts.add(random.getrandbits(64))
    among = random.getrandbits(64)
    least = min(counts.count(piece) for piece in each(among))
    assert set(each(counts.rarest(among))) == {
        piece for piece in each(among) if counts.count(piece) == least
    }


def test_what_is_drawn_is_in_the_set() -> None:
    random = Random(6)
    for _ in range(200):
        pieces = random.getrandbits(40) | 1 << random.randrange(40)
        assert pieces >> draw(pieces, 40, random) & 1
        assert lowest(pieces) == min(each(pieces))
    assert set(each(full(9))) == set(range(9))
