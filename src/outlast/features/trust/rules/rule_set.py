"""A file of rules in Cedar, checked against our schema, and what it says of a model.

Cedar skips a rule that fails while it is evaluated, also one that forbids: then the answer is no.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from outlast.core.claims import Claim
from outlast.core.digest import Digest
from outlast.core.errors import BadRulesError, NoRulesEngineError, one_line
from outlast.core.policy import Action
from outlast.features.trust.rules.data_files import packaged, read_bounded
from outlast.features.trust.rules.scope import live_conditions
from outlast.features.trust.rules.vocabulary import (
    ARCHIVE,
    HERE,
    MODEL,
    LikePattern,
    no_entity,
    problem,
)

SCHEMA: Final = "schema.cedarschema"
_MOST_SHOWN: Final = 300
_MOST_RULES: Final = 10_000
_WEIGHED: Final = frozenset(
    f"claims.{name}" for name in (*(claim.value for claim in Claim), "observers")
)
"""Which claims hold. That one is stale, refused or revoked says nothing of what is enough."""
_encode: Final = msgspec.json.Encoder().encode
_PRINCIPAL: Final = {"type": ARCHIVE, "id": HERE}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its name (``@id``), whether it permits or forbids, what it says to people
    (``@reason``), the attributes that it asks for, and the actions for which it asks for claims.
    """

    name: str
    permits: bool
    reason: str
    attributes: tuple[str, ...]
    weighs_claims: frozenset[Action] = frozenset()


@dataclass(frozen=True, slots=True)
class RuleDecision:
    """What the rules say of one action: `rules` decided it (none: no rule permits it). `error`: why
    it could not be decided; then nothing is allowed.
    """

    allowed: bool
    rules: tuple[Rule, ...] = ()
    error: str = ""


class RuleSet:
    """Rules that were checked. Thread-safe."""

    def __init__(self, path: Path, text: str) -> None:
        """Raises :class:`BadRulesError` where anything is wrong with `text`."""
        cedar = _engine()
        self.path = path
        self.digest = Digest.of(text.encode())
        self.rules = _checked(text)
        self._by_name = {rule.name: rule for rule in self.rules}
        self._policies = cedar.PolicySet.from_str(text)
        self._cedar = cedar

    def weighs_claims(self, action: Action) -> bool:
        """Whether a rule asks for claims before an action."""
        return any(action in rule.weighs_claims for rule in self.rules)

    def decide(self, action: Action, attributes: Mapping[str, Any]) -> RuleDecision:
        """What the rules say of `action` with a model that has these attributes. Attributes that
        the schema does not have, or lacks, are an error, as is any rule that cannot be evaluated.
        """
        resource = {"type": MODEL, "id": str(attributes.get("name", ""))}
        request = {
            "principal": _PRINCIPAL,
            "action": {"type": "Action", "id": action.value},
            "resource": resource,
            "context": {},
        }
        try:
            entity = _encode([{"uid": resource, "attrs": attributes, "parents": []}]).decode()
            said = self._cedar.is_authorized(request, self._policies, entity, schema=_schema())
        except (ValueError, TypeError, OverflowError) as error:
            return RuleDecision(allowed=False, error=one_line(str(error), _MOST_SHOWN))
        names, failed = said.diagnostics.id_annotations_by_reason, said.diagnostics.errors
        decided = tuple(self._by_name[names[one]] for one in said.diagnostics.reasons)
        if failed:
            return RuleDecision(
                allowed=False, rules=decided, error=one_line(failed[0], _MOST_SHOWN)
            )
        if said.decision not in {self._cedar.Decision.Allow, self._cedar.Decision.Deny}:
            return RuleDecision(allowed=False, rules=decided, error="the rules gave no decision")
        allowed = said.decision is self._cedar.Decision.Allow
        # An answer that no rule gave is none that an operator wrote.
        return RuleDecision(allowed=allowed and bool(decided), rules=decided)


def read_rules(path: Path) -> RuleSet:
    """The rules in a file. Raises :class:`BadRulesError`, which names the file."""
    try:
        text = read_bounded(path, "rules").decode()
        return RuleSet(path, text)
    except UnicodeDecodeError:
        raise BadRulesError(f"{path}: it is not UTF-8") from None
    except BadRulesError as error:
        raise BadRulesError(f"{path}: {error}", hint=error.hint) from None


def _engine() -> Any:
    try:
        import cedarpy  # noqa: PLC0415 - 15 MB that only rules need
    except ImportError as error:
        raise NoRulesEngineError("rules need a package that is not installed: cedarpy") from error
    return cedarpy


@cache
def _schema() -> Any:
    return _engine().Schema.from_str(packaged(SCHEMA))


def _checked(text: str) -> tuple[Rule, ...]:
    """The rules of a file. Raises :class:`BadRulesError`."""
    cedar = _engine()
    try:
        policies = json.loads(cedar.policies_to_json_str(text))
    except ValueError as error:
        raise BadRulesError(f"it is not Cedar: {one_line(str(error), _MOST_SHOWN)}") from None
    if policies["templates"] or policies["templateLinks"]:
        raise BadRulesError("a rule with a slot (?principal, ?resource) never decides anything")
    written = policies["staticPolicies"]
    if not written:
        raise BadRulesError("it has no rule, so it would forbid everything")
    if len(written) > _MOST_RULES:
        raise BadRulesError(f"it has more than {_MOST_RULES} rules")
    rules = [_rule(name, policy) for name, policy in _in_order(written)]
    names = [rule.name for rule in rules]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadRulesError(f"two rules are called {twice!r}")
    found = cedar.validate_policies(text, _schema())
    if not found.validation_passed:
        first = found.errors[0]
        name = found.id_annotations_by_policy_id.get(first.policy_id, first.policy_id)
        raise BadRulesError(f"rule {name!r}: {one_line(first.error, _MOST_SHOWN)}")
    return tuple(rules)


def _in_order(policies: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """As they stand in the file: Cedar calls them policy0, policy1 …"""
    return sorted(policies.items(), key=lambda item: int(item[0].removeprefix("policy")))


def _rule(place: str, policy: Mapping[str, Any]) -> Rule:
    number = int(place.removeprefix("policy")) + 1
    notes = policy.get("annotations", {})
    name = notes.get("id") or ""
    if not name or not name.isprintable() or len(name) > _MOST_SHOWN:
        raise BadRulesError(f'rule {number} has no name: write @id("a-name") before it')
    attributes: dict[str, None] = {}
    for condition in policy["conditions"]:
        for attribute, words in _asked(condition["body"]):
            attributes[attribute] = None
            for word in words:
                if why := problem(attribute, word):
                    raise BadRulesError(f"rule {name!r}: {why}")
    for kind, one in _entities(policy):
        if why := no_entity(kind, one):
            raise BadRulesError(f"rule {name!r}: {why}")
    reason = one_line(notes.get("reason") or "", _MOST_SHOWN)
    permits = policy["effect"] == "permit"
    return Rule(name, permits, reason, tuple(attributes), _weighs_claims(policy))


def _weighs_claims(policy: Mapping[str, Any]) -> frozenset[Action]:
    """The actions for which a rule asks which of the four claims hold."""

    def asks(action: Action) -> bool:
        asked = (name for node in live_conditions(policy, action) for name, _ in _asked(node))
        return any(name in _WEIGHED for name in asked)

    return frozenset(filter(asks, Action))


def _entities(node: Any) -> Iterator[tuple[str, str]]:
    """What a rule names as `Kind::"name"`, wherever it does."""
    if isinstance(node, list):
        for one in node:
            yield from _entities(one)
    elif isinstance(node, dict):
        if node.keys() == {"type", "id"}:
            yield node["type"], node["id"]
        for inner in node.values():
            yield from _entities(inner)


def _asked(node: Any) -> Iterator[tuple[str, Sequence[str | LikePattern]]]:
    """The attributes of the model that an expression asks for, each with the words that it is
    compared with there. The expression is that of Cedar's JSON form.
    """
    if isinstance(node, list):
        for one in node:
            yield from _asked(one)
        return
    if not isinstance(node, dict):
        return
    if path := _path(node):
        yield path, ()
        return
    for key, inner in node.items():
        if key == "like":
            yield from _compared_with(inner["left"], [_pattern(inner["pattern"])])
        elif isinstance(inner, dict) and "left" in inner and "right" in inner:
            yield from _compared(inner["left"], inner["right"])
            yield from _compared(inner["right"], inner["left"])
        elif key != "Value":
            yield from _asked(inner)


def _compared(one: Any, other: Any) -> Iterator[tuple[str, Sequence[str | LikePattern]]]:
    yield from _compared_with(one, _words(other))


def _compared_with(
    node: Any, words: Sequence[str | LikePattern]
) -> Iterator[tuple[str, Sequence[str | LikePattern]]]:
    """The attributes that may be what is compared with `words`."""
    if path := _path(node):
        yield path, words
    elif isinstance(node, dict) and (choice := node.get("if-then-else")):
        yield from _asked(choice["if"])
        yield from _compared_with(choice["then"], words)
        yield from _compared_with(choice["else"], words)
    else:
        yield from _asked(node)


def _pattern(parts: Sequence[Any]) -> LikePattern:
    """As Cedar's JSON form writes one: letters, and "Wildcard"."""
    return LikePattern(tuple(part["Literal"] if isinstance(part, dict) else None for part in parts))


def _path(node: Any) -> str:
    """``licence.spdx`` where a node is ``resource.licence.spdx``; else empty."""
    parts: list[str] = []
    while isinstance(node, dict) and "." in node:
        parts.append(node["."]["attr"])
        node = node["."]["left"]
    return ".".join(reversed(parts)) if parts and node == {"Var": "resource"} else ""


def _words(node: Any) -> list[str]:
    """The texts that are written at a node."""
    if not isinstance(node, dict):
        return []
    if isinstance(value := node.get("Value"), str):
        return [value]
    return [word for one in node.get("Set", ()) for word in _words(one)]
