"""What asking the rules costs, in processor time: `python -m bench.rules`."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.core.policy import Action, Subject
from outlast.features.trust.rules.data_files import packaged
from outlast.features.trust.rules.gate import RuleFiles, RulesGate
from outlast.intake.judging import Judgements
from outlast.store.archive import Archive

_MODELS = 5000


def _each(act: Callable[[Subject], object], subjects: Sequence[Subject]) -> float:
    """Microseconds for each."""
    began = time.process_time()
    for subject in subjects:
        act(subject)
    return (time.process_time() - began) / len(subjects) * 1e6


def main() -> None:
    """Prints a line for each figure."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.cedar"
        path.write_text(packaged("examples/no-copyleft.cedar"))
        gate = RulesGate(RuleFiles((path,)))
        files = (FileEntry("model.safetensors", 5),)
        subjects = [
            Subject(RepoId.parse(f"org/m{number}"), files=files, licence="mit")
            for number in range(_MODELS)
        ]
        gate.judge(Action.RUN, Subject(RepoId.parse("org/first"), licence="mit"))
        for name in ("not judged before", "judged before"):
            took = _each(lambda subject: gate.judge(Action.RUN, subject), subjects)
            print(f"{name}: {took:.1f} us, {1e6 / took:,.0f} a second")
        with Archive(Path(folder) / "archive", create=True, gate=gate) as archive:
            judgements = Judgements(archive, Action.PULL)
            revision = Revision.of(RepoId.parse("org/m"), None, [])
            path.write_text(packaged("examples/anything-intact.cedar"))
            judgements.require(revision)
            took = _each(lambda _subject: judgements.require(revision), subjects)
            print(f"a request whose answer is known: {took:.2f} us")


if __name__ == "__main__":
    main()
