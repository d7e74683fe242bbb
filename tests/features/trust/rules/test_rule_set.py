"""Rules: what loads, and that nothing but a rule's own answer allows."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.errors import BadRulesError
from outlast.core.policy import Action
from outlast.features.trust.rules.data_files import MOST_BYTES, packaged
from outlast.features.trust.rules.rule_set import RuleSet, read_rules
from tests.features.trust.rules.world import NO_ACME, OPEN_RULES, attributes

EXAMPLES = (
    "anything-intact",
    "hosted-apis",
    "no-copyleft",
    "no-listed-parties",
    "signed-or-observed-by-two",
)


def rules(text: str) -> RuleSet:
    return RuleSet(Path("rules.cedar"), text)


def when(condition: str) -> str:
    return f'@id("it") permit (principal, action, resource) when {{ {condition} }};'


def paths(value: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, inner in value.items():
        yield (*above, name)
        if isinstance(inner, dict):
            yield from paths(inner, (*above, name))


ALL = tuple(paths(attributes()))


def without(path: tuple[str, ...]) -> dict[str, Any]:
    found = copy.deepcopy(attributes())
    place = found
    for part in path[:-1]:
        place = place[part]
    del place[path[-1]]
    return found


@pytest.mark.parametrize("path", ALL, ids=".".join)
@pytest.mark.parametrize("text", [OPEN_RULES, OPEN_RULES + NO_ACME])
def test_a_model_without_an_attribute_is_not_allowed(text: str, path: tuple[str, ...]) -> None:
    """Also where no rule asks for it. Cedar by itself would skip the rule that forbids."""
    decision = rules(text).decide(Action.PULL, without(path))
    assert not decision.allowed
    assert decision.error


@pytest.mark.parametrize("path", ALL, ids=".".join)
@pytest.mark.parametrize("value", [None, 7.5, "?", [1], {}, 1 << 64, ["\ud800"], True])
def test_a_value_of_another_type_is_not_allowed(path: tuple[str, ...], value: object) -> None:
    found = copy.deepcopy(attributes())
    place = found
    for part in path[:-1]:
        place = place[part]
    if type(value) is type(place[path[-1]]):
        return
    place[path[-1]] = value
    assert not rules(OPEN_RULES + NO_ACME).decide(Action.PULL, found).allowed


def test_an_attribute_that_the_schema_lacks_is_not_allowed() -> None:
    found = {**attributes(), "colour": "red"}
    assert rules(OPEN_RULES).decide(Action.RUN, found).error


def test_a_rule_that_fails_forbids() -> None:
    """An overflow is not seen before it happens; a rule that forbids would be skipped."""
    forbids = """@id("large") forbid (principal, action, resource)
    when { resource.size + 9223372036854775807 > 3 };"""
    decision = rules(OPEN_RULES + forbids).decide(Action.RUN, attributes())
    assert not decision.allowed
    assert "overflow" in decision.error
    assert rules(OPEN_RULES).decide(Action.RUN, attributes()).allowed


def test_nothing_is_allowed_that_no_rule_permits() -> None:
    text = '@id("pull") permit (principal, action == Action::"pull", resource);'
    assert rules(text).decide(Action.PULL, attributes()).allowed
    decision = rules(text).decide(Action.RUN, attributes())
    assert not decision.allowed
    assert (decision.rules, decision.error) == ((), "")


def test_what_forbids_goes_before_what_permits() -> None:
    decision = rules(OPEN_RULES + NO_ACME).decide(Action.PULL, attributes(name="Acme/Model"))
    assert not decision.allowed
    assert [rule.name for rule in decision.rules] == ["no-acme"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("permit (principal, action", "not Cedar"),
        ("", "no rule"),
        ("// nothing", "no rule"),
        ("permit (principal, action, resource);", "rule 1 has no name"),
        ('@id("") permit (principal, action, resource);', "rule 1 has no name"),
        (OPEN_RULES + OPEN_RULES, "two rules are called 'all'"),
        ('@id("a") permit (principal == ?principal, action, resource);', "slot"),
        ('@id("a") permit (principal, action == Action::"pul", resource);', "Action"),
        ('@id("a") permit (principal, action, resource is Modell);', "Modell"),
        (when('resource.publishr == "acme"'), "publishr"),
        (when('resource.size > "5"'), "String"),
        (when("resource.claims.intakt"), "intakt"),
        (when("context.size > 5"), "size"),
        (when("resource.claims has intact && resource.nothing"), "nothing"),
        (when('resource.jurisdiction == "China"'), "jurisdiction is never 'China'"),
        (when('"cn" == resource.jurisdiction'), "jurisdiction is never 'cn'"),
        (when('["CN", "Rusia"].contains(resource.jurisdiction)'), "'Rusia'"),
        (when('resource.formats.contains("safetensor")'), "'safetensor'"),
        (when('resource.formats.containsAny(["gguf", "picle"])'), "'picle'"),
        (when('resource.licence.copyleft == "stong"'), "'stong'"),
        (when('resource.licence.spdx == "Apache2"'), "'Apache2'"),
        (when('resource.publisher == "Acme"'), "in lower case"),
        (when('resource.listed_party == "matches"'), "'matches'"),
        (when('!(resource.listed_party != "mach")'), "'mach'"),
        (when('if resource.gated == "maybe" then true else false'), "'maybe'"),
        (when("true") + OPEN_RULES.replace("all", "it"), "two rules"),
    ],
)
def test_a_typo_does_not_load(text: str, said: str) -> None:
    with pytest.raises(BadRulesError) as caught:
        rules(text)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "condition",
    [
        'resource.licence.spdx == "Apache-2.0"',
        'resource.licence.spdx == "LicenseRef-llama-3.1"',
        'resource.jurisdiction == "unknown" || resource.jurisdiction == "CN"',
        'resource.name like "acme/*"',
        "resource.published_days >= 30",
    ],
)
def test_what_can_be_asked_loads(condition: str) -> None:
    assert len(rules(when(condition)).rules) == 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_load(name: str) -> None:
    assert rules(packaged(f"examples/{name}.cedar")).rules


def test_an_example_is_listed_here() -> None:
    from importlib import resources  # noqa: PLC0415 - for this test alone

    folder = resources.files("outlast.features.trust.rules") / "data" / "examples"
    assert {file.name for file in folder.iterdir()} == {f"{name}.cedar" for name in EXAMPLES}


@pytest.mark.parametrize("data", [b"\xff\xfe", b"x" * (MOST_BYTES + 1)])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rules.cedar"
    path.write_bytes(data)
    with pytest.raises((BadRulesError, Exception), match=r"rules\.cedar"):
        read_rules(path)


@given(st.text(max_size=200))
def test_any_text_loads_or_is_refused(text: str) -> None:
    said = ""
    try:
        assert rules(text).rules
    except BadRulesError as error:
        said = str(error)
    assert said.isprintable()


_NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)


@given(st.sampled_from(ALL), _NESTED)
def test_no_value_of_another_shape_is_allowed(path: tuple[str, ...], value: object) -> None:
    found = copy.deepcopy(attributes())
    place = found
    for part in path[:-1]:
        place = place[part]
    right, place[path[-1]] = place[path[-1]], value
    decision = rules(OPEN_RULES).decide(Action.RUN, found)
    assert not decision.allowed or type(value) is type(right)
