"""Lines of `policy`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.core.policy import Action
from outlast.features.trust.rules.rule_set import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePart:
    """A rule."""

    name: Annotated[str, "its name (@id)"]
    permits: Annotated[bool, "whether it permits; else it forbids"]
    reason: Annotated[str, "what it says to people (@reason); may be empty"]
    attributes: Annotated[Sequence[str], "the attributes of a model that it asks for"]


@document("policy")
class RulesDocument(Document):
    """`policy check`: a file of rules that is right."""

    type: Literal["rules"] = "rules"
    path: Annotated[Path, "the file"]
    digest: Annotated[Digest, "its sha256"]
    rules: Annotated[Sequence[RulePart], "its rules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributePart:
    """An attribute of a model."""

    name: Annotated[str, "its name, as `licence.spdx`"]
    value: Annotated[str, "its value, as a person reads it; a set as JSON"]


@document("policy")
class ExplainedDocument(Document):
    """`policy explain`: what the rules say. The exit status is 7 where they do not allow it."""

    type: Literal["verdict"] = "verdict"
    action: Annotated[Action, "what would be done"]
    repo: Annotated[RepoId, "with which model"]
    revision: Annotated[GitOid | None, "its revision; null: it is not archived"]
    allowed: Annotated[bool, "whether the rules allow it"]
    reason: Annotated[str, "why, in one line"]
    path: Annotated[Path | None, "the file of rules that decided"]
    rules: Annotated[Sequence[RulePart], "the rules that decided; none: no rule permits it"]
    attributes: Annotated[Sequence[AttributePart], "what these asked for; with --all: everything"]


@document("policy")
class TestedDocument(Document):
    """`policy test`: a case whose verdict is not the expected one."""

    type: Literal["differs"] = "differs"
    action: Annotated[Action, "what would be done"]
    model: Annotated[str, "with which model"]
    problem: Annotated[str, "how the verdict differs, for a person"]


@document("policy")
class TestedAllDocument(Document):
    """`policy test`: the result. The exit status is 1 where a case differs."""

    type: Literal["tested"] = "tested"
    cases: Annotated[int, "cases in the file"]
    differ: Annotated[int, "those of them whose verdict is another one"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DependentPart:
    """A revision that depends on another one."""

    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "its commit"]
    deltas: Annotated[int, "its files that are held as deltas against files of the other"]
    bytes: Annotated[int, "bytes of these deltas"]
    names_it: Annotated[bool, "whether it says that it was made from the other model"]


@document("policy")
class ForbiddenDocument(Document):
    """`policy what-if`: an action with a revision that the rules would not allow."""

    type: Literal["forbidden"] = "forbidden"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "its commit"]
    bytes: Annotated[int, "bytes of its files"]
    action: Annotated[Action, "what would not be allowed"]
    already: Annotated[bool, "whether the rules in force do not allow it either"]
    rule: Annotated[str, "the rule that decides; empty: no rule permits it"]
    reason: Annotated[str, "why, in one line"]
    dependents: Annotated[Sequence[DependentPart], "the revisions here that depend on it"]


@document("policy")
class WhatIfDocument(Document):
    """`policy what-if`: the result."""

    type: Literal["what-if"] = "what-if"
    revisions: Annotated[int, "revisions that are here"]
    forbidden: Annotated[int, "revisions with which an action would not be allowed"]
    new: Annotated[int, "those of them for which that is new"]


def rule_part(rule: Rule) -> RulePart:
    """A rule, as it is printed."""
    return RulePart(
        name=rule.name, permits=rule.permits, reason=rule.reason, attributes=rule.attributes
    )
