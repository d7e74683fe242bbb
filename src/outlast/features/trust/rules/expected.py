"""Runs rules over made-up models, and compares the verdicts with those that a file expects."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from outlast.core.errors import BadRulesError, OutlastError
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.core.policy import Action, Subject
from outlast.features.trust.rules.data_files import parse_toml, read_bounded
from outlast.features.trust.rules.gate import Judgement, LoadedRules, judged

_NO_FILE = FileEntry("", 0)


class ExpectedCase(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"
):
    """One case: a model, what is done with it, and what the rules should say. `set` gives it
    attributes, by path, as ``"claims.intact" = true``; the others follow from the rest.
    """

    action: Action
    model: str
    expect: Literal["allow", "deny"]
    rule: str = ""
    licence: str = ""
    base_models: list[str] = []
    files: list[str] = []
    size: int = 0
    source: str = ""
    gated: bool | None = None
    set: dict[str, Any] = {}


class _CasesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    case: list[ExpectedCase]


@dataclass(frozen=True, slots=True)
class ComparedCase:
    """A case, and what the rules say. `wrong`: how that differs, in one line; empty if it does
    not.
    """

    case: ExpectedCase
    judgement: Judgement
    wrong: str


def compare(path: Path, loaded: LoadedRules) -> Iterator[ComparedCase]:
    """The cases of the file `path`, each with what the rules say. Raises :class:`BadConfigError`,
    and :class:`BadRulesError` where a case gives a model an attribute that none has.
    """
    cases = parse_toml(_CasesFile, read_bounded(path, "cases"), str(path)).case
    if not cases:
        raise BadRulesError(f"{path}: it has no case", hint="write [[case]]")
    for number, case in enumerate(cases, 1):
        try:
            attributes = _attributes(case, loaded)
        except OutlastError as error:
            raise BadRulesError(f"{path}: case {number}: {error}") from None
        judgement = judged(loaded.rule_sets, case.action, attributes)
        if judgement.decision.error:
            raise BadRulesError(f"{path}: case {number}: {judgement.verdict.reason}")
        yield ComparedCase(case, judgement, _difference(case, judgement))


def _difference(case: ExpectedCase, judgement: Judgement) -> str:
    said = "allow" if judgement.verdict.allowed else "deny"
    decided = [rule.name for rule in judgement.decision.rules]
    by = f"by {', '.join(decided)}" if decided else "by no rule"
    if said != case.expect:
        return f"expected {case.expect}, and it is {said}, {by}"
    if case.rule and case.rule not in decided:
        return f"expected {said} by {case.rule}, and it is {by}"
    return ""


def _attributes(case: ExpectedCase, loaded: LoadedRules) -> Mapping[str, Any]:
    files = [FileEntry(path, 0) for path in case.files] or [_NO_FILE]
    files[0] = FileEntry(files[0].path, case.size)
    subject = Subject(
        RepoId.parse(case.model),
        files=tuple(files) if case.files or case.size else (),
        source=case.source,
        licence=case.licence,
        base_models=tuple(case.base_models),
        gated=case.gated,
    )
    attributes = loaded.knowledge.attributes(subject)
    for path, value in case.set.items():
        _put(attributes, path, value)
    return attributes


def _put(attributes: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place: Any = attributes
    for parent in parents:
        place = place.get(parent) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place or isinstance(place[last], dict):
        raise BadRulesError(f"no model has the attribute {path[:100]!r}")
    place[last] = value
