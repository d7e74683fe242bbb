"""The gate: answers what the core asks by the operator's rules. It refuses where it cannot decide:
without rules that load, without the package that evaluates them, with any error on the way.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from outlast.core.errors import OutlastError
from outlast.core.policy import Action, Subject, Verdict
from outlast.features.trust.rules.attributes import Knowledge
from outlast.features.trust.rules.labels import read_labels
from outlast.features.trust.rules.publishers import read_publishers
from outlast.features.trust.rules.rule_set import Rule, RuleDecision, RuleSet, read_rules
from outlast.features.trust.rules.screen import NO_SCREEN, PartyScreen

_KEPT: Final = 8192
"""Decisions that are remembered. Guess: some actions with each of a thousand models."""
_MOST_NAMED: Final = 4
_encode: Final = msgspec.json.Encoder(order="sorted").encode
_Stamp = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class RuleFiles:
    """Where the operator's files are. Each file of `rules` has to allow an action. None: there is
    no such file.
    """

    rules: tuple[Path, ...]
    publishers: Path | None = None
    labels: Path | None = None

    @property
    def all(self) -> tuple[Path | None, ...]:
        return (*self.rules, self.publishers, self.labels)


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """The files as they were read."""

    rule_sets: tuple[RuleSet, ...]
    knowledge: Knowledge


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules say of one action with one model: the verdict, which rules decided, in which
    file, and the attributes that were asked.
    """

    verdict: Verdict
    decision: RuleDecision
    attributes: Mapping[str, Any]
    path: Path | None = None


class RulesGate:
    """Implements :class:`outlast.core.policy.Gate`. Thread-safe; follows its files."""

    def __init__(
        self,
        files: RuleFiles,
        *,
        reports: bool = False,
        screen: PartyScreen = NO_SCREEN,
    ) -> None:
        """With `reports` everything is allowed, and verdicts say what would not be."""
        self._files = files
        self._reports = reports
        self._screen = screen
        self._lock = threading.Lock()
        self._loaded: tuple[_Stamp, LoadedRules] | None = None
        self._known: OrderedDict[tuple[Action, bytes], Judgement] = OrderedDict()

    def judge(self, action: Action, subject: Subject) -> Verdict:
        try:
            verdict = self.explain(action, subject).verdict
        except OutlastError as error:
            verdict = Verdict(allowed=False, reason=f"the rules cannot be asked: {error}")
        if not self._reports:
            return verdict
        # Rules that are not in force take the place of nothing.
        return Verdict(
            allowed=True, reason=verdict.reason, rule=verdict.rule, reported=not verdict.allowed
        )

    def explain(self, action: Action, subject: Subject) -> Judgement:
        """The judgement in full, as it is where rules are in force. Raises :class:`BadRulesError`
        and :class:`BadConfigError` where a file cannot be read.
        """
        loaded = self.load()
        attributes = loaded.knowledge.attributes(subject)
        key = (action, _digest(attributes))
        with self._lock:
            known = self._known.get(key)
        if known is None:
            known = judged(loaded.rule_sets, action, attributes)
            self._keep(key, known, loaded)
        return known

    def load(self) -> LoadedRules:
        """The files, read again where one of them changed. Raises as :meth:`explain`."""
        stamp = tuple(map(_stamp, self._files.all))
        with self._lock:
            if self._loaded is None or self._loaded[0] != stamp:
                self._loaded = None  # what fails now must not leave the old ones in force
                self._known.clear()
                self._loaded = stamp, self._read()
            return self._loaded[1]

    def _read(self) -> LoadedRules:
        files = self._files
        return LoadedRules(
            tuple(map(read_rules, files.rules)),
            Knowledge(read_publishers(files.publishers), read_labels(files.labels), self._screen),
        )

    def _keep(self, key: tuple[Action, bytes], judged: Judgement, loaded: LoadedRules) -> None:
        with self._lock:
            if self._loaded is None or self._loaded[1] is not loaded:
                return  # judged by rules that do not hold any more
            self._known[key] = judged
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)


def judged(
    rule_sets: Sequence[RuleSet], action: Action, attributes: Mapping[str, Any]
) -> Judgement:
    """What all files say: the first that does not allow it, or else the last."""
    none = Verdict(allowed=False, reason="there are no rules")
    found = Judgement(none, RuleDecision(allowed=False), attributes)
    for rules in rule_sets:
        decision = rules.decide(action, attributes)
        found = Judgement(_verdict(decision, attributes), decision, attributes, rules.path)
        if not decision.allowed:
            break
    weighs = any(rules.weighs_claims(action) for rules in rule_sets)
    return replace(found, verdict=replace(found.verdict, weighs_claims=weighs))


def _verdict(decision: RuleDecision, attributes: Mapping[str, Any]) -> Verdict:
    rule = decision.rules[0] if decision.rules else None
    name = rule.name if rule is not None else ""
    if decision.error:
        return Verdict(False, f"the rules cannot be evaluated: {decision.error}", name)
    if rule is None:
        return Verdict(False, "no rule permits it")
    return Verdict(decision.allowed, _reason(rule, attributes), name)


def _reason(rule: Rule, attributes: Mapping[str, Any]) -> str:
    facts = ", ".join(
        f"{name} is {shown(value_of(attributes, name))}" for name in rule.attributes[:_MOST_NAMED]
    )
    return ": ".join(filter(None, (rule.reason, facts))) or "so the rule says, of every model"


def value_of(attributes: Mapping[str, Any], path: str) -> Any:
    """The value of an attribute, as ``licence.spdx``."""
    value: Any = attributes
    for part in path.split("."):
        value = value[part]
    return value


def shown(value: Any) -> str:
    """A value for a person."""
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value)


def _digest(attributes: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(_encode(attributes)).digest()


def _stamp(path: Path | None) -> tuple[int, ...] | None:
    """Programs that copy set the time of a change; none sets that of the change of its entry."""
    try:
        stat = path.stat() if path is not None else None
    except OSError:
        return None
    if stat is None:
        return None
    return (
        stat.st_dev,
        stat.st_ino,
        stat.st_mode,
        stat.st_size,
        stat.st_mtime_ns,
        stat.st_ctime_ns,
    )
