"""For which actions rules ask for claims: there they take the place of what `run` asks for."""

from pathlib import Path
from typing import Final

import pytest

from outlast.core.names import RepoId
from outlast.core.policy import Action, Subject
from outlast.features.trust.rules.data_files import packaged
from outlast.features.trust.rules.gate import RuleFiles, RulesGate
from outlast.features.trust.rules.rule_set import RuleSet

_PERMIT: Final = '@id("all") permit (principal, action, resource);\n'
_EACH: Final = {action.value for action in Action}


def weighs(text: str) -> set[str]:
    rules = RuleSet(Path("rules"), _PERMIT + text)
    return {action.value for action in Action if rules.weighs_claims(action)}


def rule(head: str, conditions: str) -> str:
    return f'@id("one") forbid (principal, {head}, resource) {conditions};'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", set()),
        (rule("action", "unless { resource.claims.published }"), _EACH),
        (rule("action", "unless { resource.claims.observers >= 2 }"), _EACH),
        (rule("action", "when { resource.claims.revoked }"), set()),
        (rule("action", "when { resource.claims.stale || resource.claims.refused }"), set()),
        (rule("action", 'when { resource.publisher == "x" }'), set()),
        (rule('action == Action::"serve"', "unless { resource.claims.intact }"), {"serve"}),
        (
            rule('action in [Action::"run", Action::"tune"]', "unless { resource.claims.listed }"),
            {"run", "tune"},
        ),
        (
            rule("action", 'when { action != Action::"run" } unless { resource.claims.intact }'),
            _EACH - {"run"},
        ),
        (
            rule("action", 'unless { action == Action::"run" || resource.claims.intact }'),
            _EACH - {"run"},
        ),
        (
            rule("action", 'when { Action::"run" == action && !resource.claims.intact }'),
            {"run"},
        ),
        (
            rule(
                "action",
                'when { !(action in [Action::"pull", Action::"run"]) && !resource.claims.listed }',
            ),
            _EACH - {"pull", "run"},
        ),
        (
            rule(
                "action",
                'when { if action == Action::"run" then resource.hosted '
                "else resource.claims.observed }",
            ),
            _EACH - {"run"},
        ),
        (
            rule("action", 'when { (resource.hosted || action == Action::"run") && '
                 "!resource.claims.published }"),
            _EACH,
        ),
    ],
)  # fmt: skip
def test_a_rule_weighs_claims_where_it_can_come_to_ask_for_them(text: str, found: set[str]) -> None:
    assert weighs(text) == found


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("anything-intact", True),
        ("signed-or-observed-by-two", True),
        ("no-copyleft", False),
        ("no-listed-parties", False),
        ("hosted-apis", False),
    ],
)
def test_the_examples(name: str, run: bool) -> None:
    rules = RuleSet(Path(name), packaged(f"examples/{name}.cedar"))
    assert rules.weighs_claims(Action.RUN) is run


def test_rules_that_only_report_take_the_place_of_nothing(tmp_path: Path) -> None:
    one, two = tmp_path / "one.cedar", tmp_path / "two.cedar"
    one.write_text(_PERMIT)
    two.write_text(_PERMIT + rule("action", "when { resource.claims.published }"))
    subject = Subject(RepoId.parse("org/name"))
    for reports, paths, found in (
        (False, (one,), False),
        (False, (one, two), True),
        (False, (two, one), True),
        (True, (one, two), False),
    ):
        verdict = RulesGate(RuleFiles(paths), reports=reports).judge(Action.RUN, subject)
        assert (verdict.allowed, verdict.weighs_claims) == (True, found)
