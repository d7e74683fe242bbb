"""Counts what screening finds on all sets of names, among 30,000 rows:

    python -m tests.features.trust.screening.measure [--treasury alt.csv] [--misses]

*match*: recall of it, over the names of listed parties; its precision: of the names that match some
row, those that match a row of the party they mean. *or possible*: the same of both levels. With
`--misses` it prints each miss and each false alarm of the sets that were used to mend the rules,
and of no other.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.features.trust.screening.names.matching import Alike, NameIndex
from tests.features.trust.screening import fresh_names, held_out
from tests.features.trust.screening.labelled import ALL, HELD_OUT, Label
from tests.features.trust.screening.listed_parties import PUBLIC, Row, realistic
from tests.features.trust.screening.rows_index import index_of

ROWS: Final = 30_000
_SAME: Final = tuple(
    frozenset(line.split())
    for line in (
        "S1 P17018 P18715",
        "S2 P17013",
        "H20 P45919",
        "H23 P40718",
        "H25 P34656",
        "H26 P34497",
        "H27 P18784",
        "H29 P25578",
        "H31 P13152",
        "H35 P48007",
        "P43069 P17258",
        "F46 P24977",
        "F56 P11184",
        "F60 P39179",
        "F62 P38759",
        "F77 P50890",
    )
)
"""Rows of different sets that are one party."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a set of names showed."""

    listed: int
    others: int
    match: float
    seen: float
    precise: float
    precise_seen: float
    wrong: int
    alarms: int

    def __str__(self) -> str:
        return (
            f"{self.listed:4} listed, {self.others:4} others: match recall {self.match:.3f} "
            f"precision {self.precise:.3f} ({self.wrong} wrong); or possible {self.seen:.3f}, "
            f"{self.precise_seen:.3f} ({self.alarms} wrong)"
        )


def measured(
    index: NameIndex, labels: Sequence[Label], problems: list[str] | None = None
) -> Counted:
    """Counts each label once, by its likest level for its own party and for others. A match or
    possible row of another party is wrong where the own one is not found as well, or where the name
    is of no party.
    """
    match = seen = wrong = alarms = 0
    for label in labels:
        hits = index.find(label.text, handle=label.handle)
        own = [hit.alike for hit in hits if _one(hit.party.id, label.party)]
        match += Alike.MATCH in own
        seen += bool(own)
        strangers = [hit for hit in hits if not _one(hit.party.id, label.party)]
        wrong += Alike.MATCH not in own and any(hit.alike is Alike.MATCH for hit in strangers)
        alarms += not own and bool(strangers)
        if problems is not None and label.party and Alike.MATCH not in own:
            problems.append(f"missed {own[0] if own else 'none':8} {label.text!r} [{label.party}]")
        if problems is not None and not label.party and strangers:
            best = strangers[0]
            problems.append(f"alarm {best.alike:8} {label.text!r}: {best.name!r} {best.score}")
    listed = sum(bool(label.party) for label in labels)
    return Counted(
        listed,
        len(labels) - listed,
        match / max(listed, 1),
        seen / max(listed, 1),
        match / max(match + wrong, 1),
        seen / max(seen + alarms, 1),
        wrong,
        alarms,
    )


def _one(row: str, party: str) -> bool:
    return row == party or any(row in same and party in same for same in _SAME)


def sets() -> Iterator[tuple[str, bool, Sequence[Label]]]:
    """Name, whether its misses were used to mend the rules, and the labels."""
    spelled = [
        one
        for one in held_out.pair_labels()
        if one.party.removeprefix("P") not in held_out.INITIALS
    ]
    yield "labelled", True, (*ALL, *HELD_OUT)
    yield "first pairs", True, spelled
    yield "first makers", True, (*held_out.named_labels(), *held_out.OTHER_NAMES)
    fresh = (*fresh_names.labels(), *fresh_names.OTHER_NAMES)
    for half, used in ((0, True), (1, False)):
        name = "publishers, half for tuning" if used else "publishers, held-out half"
        yield name, used, [one for one in fresh if fresh_names.half(one) == half]
    yield "their translations", False, fresh_names.labels(translated=True)


def all_rows() -> tuple[Row, ...]:
    """The rows of all sets, filled up with made-up ones."""
    given = (*PUBLIC, *held_out.pair_rows(), *held_out.NAMED, *fresh_names.rows())
    return (*given, *realistic(ROWS - len(given)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--treasury", type=Path)
    parser.add_argument("--misses", action="store_true")
    args = parser.parse_args()
    index = index_of(all_rows())
    for name, used, labels in sets():
        problems: list[str] = []
        print(f"{name:28}{measured(index, labels, problems)}")
        if args.misses and used:
            print("\n".join(problems))
    if args.treasury is not None:
        listed, labels = fresh_names.treasury(args.treasury)
        others = measured(index_of(listed), fresh_names.OTHER_NAMES)
        print(f"{'others, the list alone':28}{others}")
        index = index_of((*listed, *realistic(ROWS - len(listed))))
        for half, name in enumerate(("pairs, half for tuning", "pairs, held-out half")):
            problems = []
            chosen = [one for one in labels if fresh_names.half(one) == half]
            print(f"{name:28}{measured(index, chosen, problems)}")
            if args.misses and not half:
                print("\n".join(problems))


if __name__ == "__main__":
    main()
