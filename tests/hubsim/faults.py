"""Which fault, if any, a request gets. The rules' JSON form is described in README.md."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, get_args

from tests.hubsim.log import LogEntry
from tests.hubsim.route import What

RuleJson = Mapping[str, Any]

_ACTIONS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "status": {
        "status": int, "retry_after": int, "retry_after_form": str, "ratelimit": bool,
        "code": str, "message": str,
    },
    "limit": {"most": int, "over": str, "status": int, "retry_after": int, "rate": int},
    "truncate": {"at": int, "rate": int},
    "reset": {"at": int, "rate": int},
    "stall": {"at": int, "rate": int},
    "slow": {"rate": int},
    "delay": {"seconds": (int, float)},
    "hold": {},
    "flip": {"at": int, "mask": int, "every": int},
    "changed": {"etag": str, "size_delta": int},
    "content_range": {"shift": int},
    "ignore_range": {},
    "length": {"delta": int},
    "redirect_cdn": {"expires_in": int},
    "redirect_loop": {},
    "redirect": {"to": str, "status": int},
    "page": {"type": str, "body": str},
    "gzip": {},
    "headers": {"set": dict, "drop": list},
    "size": {"delta": int, "size": int},
    "inject": {"entries": list},
    "keep": {"rows": int},
    "malformed_json": {"kind": str},
    "huge_json": {"bytes": int, "depth": int},
    "link": {"to": str},
}  # fmt: skip
_LISTINGS = ("info", "tree", "paths-info", "refs", "commits", "list")
_FILES = ("resolve", "cdn")
_APPLIES: dict[str, tuple[str, ...]] = {
    "size": ("info", "tree", "paths-info"),
    "inject": ("info", "tree", "paths-info"),
    "keep": ("info", "tree", "paths-info"),
    "malformed_json": _LISTINGS,
    "huge_json": _LISTINGS,
    "link": ("tree", "commits", "list"),
    **dict.fromkeys(
        ("flip", "changed", "content_range", "ignore_range", "length", "gzip", "redirect_cdn"),
        _FILES,
    ),
}
_BODY_ONLY = frozenset({"truncate", "reset", "stall", "slow", "flip"})
_RANGED_ONLY = frozenset({"content_range", "ignore_range"})
_SELECTORS: dict[str, type | tuple[type, ...]] = {
    "action": str, "path": str, "file": str, "method": str, "on": str, "repo": str, "what": str,
    "ranged": bool, "nth": (int, list), "skip": int, "count": int, "p": (int, float), "per": str,
}  # fmt: skip


@dataclass(slots=True)
class Rule:
    """One rule, its matches so far by counter key, and how often it was applied."""

    action: str
    given: RuleJson
    seen: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)

    @classmethod
    def parse(cls, given: RuleJson) -> "Rule":
        """Check a rule; raises ValueError naming what is wrong with it."""
        action = given.get("action")
        if action not in _ACTIONS:
            raise ValueError(f"unknown action {action!r}; known: {', '.join(_ACTIONS)}")
        allowed = _SELECTORS | _ACTIONS[action]
        for key, value in given.items():
            if key not in allowed:
                raise ValueError(f"{action}: unknown key {key!r}")
            if not isinstance(value, allowed[key]):
                raise ValueError(f"{action}: {key} has the wrong type")  # noqa: TRY004
        if given.get("what") not in (None, *get_args(What)):
            raise ValueError(f"{action}: unknown what {given['what']!r}")
        return cls(action, dict(given))

    def matches(self, entry: LogEntry) -> bool:
        """Whether the selectors and the action's own nature fit the request."""
        given = self.given
        applies = _APPLIES.get(self.action)
        if applies is not None and entry.what not in applies:
            return False
        if self.action in _BODY_ONLY and entry.method == "HEAD":
            return False
        if self.action in _RANGED_ONLY and entry.range is None:
            return False
        globs = [("path", entry.path), ("repo", entry.repo)]
        if applies is None or entry.what in _FILES:
            globs.append(("file", entry.file))
        equal = (("method", entry.method), ("on", entry.listener), ("what", entry.what))
        return (
            all(fnmatchcase(value, given.get(key, "*")) for key, value in globs)
            and all(given.get(key, value) == value for key, value in equal)
            and given.get("ranged", entry.range is not None) == (entry.range is not None)
        )

    def fires(self, entry: LogEntry, chance: float) -> bool:
        """Count a match, and say whether this one gets the fault."""
        given = self.given
        key = entry.path if given.get("per") == "path" else ""
        self.seen[key] += 1
        number = self.seen[key]
        nth = given.get("nth", number)
        fire = (
            number in (nth if isinstance(nth, list) else [nth])
            and number > given.get("skip", 0)
            and self.fired[key] < given.get("count", number)
            and chance < given.get("p", 1)
        )
        self.fired[key] += fire
        return fire


class FaultPlan:
    """The rules in force. The same seed and the same requests give the same faults."""

    def __init__(self, rules: Iterable[RuleJson] = (), seed: int = 0) -> None:
        self.rules = [Rule.parse(rule) for rule in rules]
        self.replaced = asyncio.Event()
        self._seed = seed
        self._asked: Counter[tuple[int, str, str, str | None]] = Counter()

    def pick(self, entry: LogEntry) -> Rule | None:
        """The first rule that matches and fires."""
        for number, rule in enumerate(self.rules):
            if rule.matches(entry) and rule.fires(entry, self._chance(number, entry)):
                return rule
        return None

    def _chance(self, number: int, entry: LogEntry) -> float:
        """A number in [0, 1) from the seed, the request, and how often it came."""
        key = (number, entry.method, entry.path, entry.range)
        self._asked[key] += 1
        text = f"{self._seed} {key} {self._asked[key]}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.sha256(text).digest()[:8]) / 2**64
