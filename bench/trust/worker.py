"""One thing that trust costs, measured in a process of its own: ``python -m bench.trust.worker CASE
FOLDER [MORE]`` prints its figures as one JSON object, with the most memory that it took.
"""

import contextlib
import datetime as dt
import io
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.trust.catalogue import full_sync, peers_sync
from outlast.core.names import RepoId, Target
from outlast.core.policy import Action, Subject
from outlast.features import FEATURES
from outlast.features.trust.rules.data_files import packaged
from outlast.features.trust.rules.gate import RuleFiles, RulesGate
from outlast.features.trust.rules.publishers import read_publishers
from outlast.features.trust.screening.known_publishers import KnownPublishers
from outlast.features.trust.screening.list_screen import NamedList
from outlast.features.trust.screening.names.matching import NameIndex
from outlast.features.trust.screening.screen import compare
from outlast.features.trust.screening.subjects import parties_of
from outlast.store.archive import Archive

Figures = dict[str, float]
_BLOBS: Final = ("/blobs/", "/capsules/")
_JUDGED: Final = 5000
_KIB: Final = 1024


def who(folder: Path) -> Figures:
    """The command ``verify --who`` over all that is archived in `folder`; how many files of blobs
    were opened.
    """
    from outlast.cli.main import main  # noqa: PLC0415 - the other cases do without

    opened = 0

    def count(event: str, given: Sequence[Any]) -> None:
        nonlocal opened
        if event == "open" and any(part in str(given[0]) for part in _BLOBS):
            opened += 1

    sys.addaudithook(count)
    told, began = io.StringIO(), time.process_time()
    words = ["verify", "--who", "--json", "--home", str(folder)]
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        main(words, features=FEATURES)
    took = time.process_time() - began
    said = [json.loads(line) for line in told.getvalue().splitlines()]
    whole = [one for one in said if "claims" in one and _all_hold(one["claims"])]
    return {"revisions": len(whole), "seconds": took, "blobs": opened}


def _all_hold(claims: Any) -> bool:
    return len(claims) == 4 and all(one["standing"] == "holds" for one in claims)


def ours(folder: Path, home: Path) -> Figures:
    return {"seconds": full_sync(folder, home)}


def theirs(folder: Path, home: Path) -> Figures:
    return {"seconds": peers_sync(folder, home)}


def screening(folder: Path, lists: Path) -> Figures:
    """Each model of an archive against the rows of a list; a model is its publisher, those behind
    it, the names in its card, and the same of what it was made from.
    """
    began = time.process_time()
    found = NamedList.parse(f"us-csv={lists}").read(dt.datetime.now(dt.UTC).date(), 30)
    index = NameIndex([found])
    loaded = time.process_time() - began
    known = KnownPublishers(read_publishers(None))
    with Archive(folder) as archive:
        targets = [Target(one.repo, None) for one in archive.summaries()]
        _screen(archive, targets[0], known, index)  # loads what is loaded once
        took = sorted(
            _seconds(partial(_screen, archive, target, known, index)) for target in targets
        )
    return {
        "rows": len(found.parties),
        "load": loaded,
        "median": took[len(took) // 2],
        "most": took[-1],
    }


def _screen(archive: Archive, target: Target, known: KnownPublishers, index: NameIndex) -> None:
    compare(parties_of(archive, target, known), index)


def rules(folder: Path) -> Figures:
    """Judgements of models that differ, and then of the same ones again."""
    path = folder / "rules.cedar"
    path.write_text(packaged("examples/no-copyleft.cedar"))
    gate = RulesGate(RuleFiles((path,)))
    subjects = [Subject(RepoId.parse(f"org/m{number}"), licence="mit") for number in range(_JUDGED)]
    gate.judge(Action.RUN, Subject(RepoId.parse("org/first"), licence="mit"))

    def judge() -> None:
        for subject in subjects:
            gate.judge(Action.RUN, subject)

    return {"cold": _JUDGED / _seconds(judge), "warm": _JUDGED / _seconds(judge)}


def _seconds(act: Callable[[], object]) -> float:
    """CPU time."""
    began = time.process_time()
    act()
    return time.process_time() - began


_CASES: Final[dict[str, Callable[..., Figures]]] = {
    "who": who,
    "ours": ours,
    "theirs": theirs,
    "screening": screening,
    "rules": rules,
}


def main() -> None:
    case, *paths = sys.argv[1:]
    figures = _CASES[case](*map(Path, paths))
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
    print(json.dumps({**figures, "rss": rss}))


if __name__ == "__main__":
    main()
