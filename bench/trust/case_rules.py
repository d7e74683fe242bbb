"""Judgements by rules."""

from pathlib import Path
from typing import Final

from bench.trust.seconds import seconds
from outlast.core.names import RepoId
from outlast.core.policy import Action, Subject
from outlast.features.trust.rules.data_files import packaged
from outlast.features.trust.rules.gate import RuleFiles, RulesGate

_JUDGED: Final = 5000


def measure(folder: Path) -> dict[str, float]:
    """Judgements of models that differ, and then of the same ones again."""
    path = folder / "rules.cedar"
    path.write_text(packaged("examples/no-copyleft.cedar"))
    gate = RulesGate(RuleFiles((path,)))
    subjects = [Subject(RepoId.parse(f"org/m{number}"), licence="mit") for number in range(_JUDGED)]
    gate.judge(Action.RUN, Subject(RepoId.parse("org/first"), licence="mit"))

    def judge() -> None:
        for subject in subjects:
            gate.judge(Action.RUN, subject)

    return {"cold": _JUDGED / seconds(judge), "warm": _JUDGED / seconds(judge)}
