"""For which actions a rule asks for what: what its head and its conditions say of `action` alone is
worked out, and what can then never be evaluated is passed over. Nodes are those of Cedar's JSON
form.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from outlast.core.policy import Action

_ACTION: Final = {"Var": "action"}


def live_conditions(policy: Mapping[str, Any], action: Action) -> Iterator[Any]:
    """The parts of a rule's conditions that can be evaluated for an action; none where the rule is
    about other actions.
    """
    if not _in_head(policy.get("action", {}), action):
        return
    bodies = [(one["kind"] == "when", one["body"]) for one in policy["conditions"]]
    if any(known(body, action) is (not wanted) for wanted, body in bodies):
        return
    for _, body in bodies:
        yield from _live(body, action)


def known(node: Any, action: Action) -> bool | None:
    """Whether an expression is true or false for every model; None where a model decides it."""
    if not isinstance(node, dict) or len(node) != 1:
        return None
    (operator, inner), *_ = node.items()
    if operator in {"==", "!="} and inner["left"] == _ACTION:
        named = _named(inner["right"])
        return None if len(named) != 1 else (action.value in named) is (operator == "==")
    if operator in {"==", "!="} and inner["right"] == _ACTION:
        return known({operator: {"left": _ACTION, "right": inner["left"]}}, action)
    if operator == "in" and inner["left"] == _ACTION:
        return action.value in _named(inner["right"]) if _named(inner["right"]) else None
    if operator == "!":
        found = known(inner["arg"], action)
        return None if found is None else not found
    if operator in {"&&", "||"}:
        return _both(operator, known(inner["left"], action), known(inner["right"], action))
    return None


def _both(operator: str, left: bool | None, right: bool | None) -> bool | None:
    decides = operator == "||"
    if left is decides or right is decides:
        return decides
    return None if left is None or right is None else not decides


def _live(node: Any, action: Action) -> Iterator[Any]:
    """A node, or what of it can be evaluated."""
    if isinstance(node, dict) and known(node, action) is not None:
        return
    operator = next(iter(node), "") if isinstance(node, dict) and len(node) == 1 else ""
    if operator in {"&&", "||"}:
        inner = node[operator]
        yield from _live(inner["left"], action)
        yield from _live(inner["right"], action)
    elif operator == "!":
        yield from _live(node[operator]["arg"], action)
    elif operator == "if-then-else":
        yield from _live_choice(node[operator], action)
    else:
        yield node


def _live_choice(choice: Mapping[str, Any], action: Action) -> Iterator[Any]:
    decided = known(choice["if"], action)
    if decided is None:
        yield from _live(choice["if"], action)
    for branch, other in (("then", False), ("else", True)):
        if decided is not other:
            yield from _live(choice[branch], action)


def _in_head(head: Mapping[str, Any], action: Action) -> bool:
    """Whether the head of a rule names an action."""
    if head.get("op") == "All":
        return True
    named = [head["entity"]] if "entity" in head else head.get("entities", [])
    return action.value in {one["id"] for one in named}


def _named(node: Any) -> frozenset[str]:
    """The actions that are written at a node; none where it is something else."""
    if not isinstance(node, dict):
        return frozenset()
    if "Set" in node:
        return frozenset(name for one in node["Set"] for name in _named(one))
    entity = node["Value"].get("__entity") if isinstance(node.get("Value"), dict) else None
    return frozenset() if entity is None else frozenset({entity["id"]})
