"""``outlast policy``."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.screen.render import plural, print_document, print_table
from outlast.core.errors import NotFoundError, RefusedByRulesError, UsageError, one_line
from outlast.core.names import Target
from outlast.core.policy import Action, Subject
from outlast.core.sizes import human_size
from outlast.features.trust.commands.policy_documents import (
    AttributePart,
    DependentPart,
    ExplainedDocument,
    ForbiddenDocument,
    RulesDocument,
    TestedAllDocument,
    TestedDocument,
    WhatIfDocument,
    rule_part,
)
from outlast.features.trust.commands.screen import screen_command
from outlast.features.trust.rules.assemble import make_gate, rule_files, rules_gate
from outlast.features.trust.rules.expected import ComparedCase, compare
from outlast.features.trust.rules.gate import Judgement, RuleFiles, RulesGate, shown, value_of
from outlast.features.trust.rules.rule_set import RuleSet
from outlast.features.trust.rules.what_if import Forbidden, what_if
from outlast.features.trust.settings import TrustSettings
from outlast.intake.judging import subject_of
from outlast.store.archive import Archive

if TYPE_CHECKING:
    from outlast.cli.feature import Listed

_FILE: Final = click.Path(path_type=Path)
_rules_option: Final = click.option(
    "--rules", type=_FILE, metavar="FILE", help="These rules, in place of those in force"
)
_DIFFERS: Final = 1


@click.group(
    epilog="""\b
Examples:
  outlast policy check
  outlast policy explain run org/name
  outlast policy test cases.toml --rules new.cedar
  outlast policy what-if --rules new.cedar
  outlast policy screen --all --lists consolidated.csv
"""
)
def policy() -> None:
    """Check, explain and test the rules of this archive: what may be pulled, served, shared,
    exported, run and tuned; and screen the parties behind models against lists.

    Rules are written in Cedar, in the file that the setting [trust] rules names, or in
    trust/rules.cedar in the archive. 'outlast guide rules' has what they can ask for.
    """


@click.command(
    short_help="Load the rules, and say what is wrong with them.",
    epilog="""\b
Examples:
  outlast policy check
  outlast policy check new.cedar

\b
Exit status:
  0 they are right · 2 they are not, or there are none
""",
)
@click.argument("file", type=_FILE, required=False)
@common
def check(*, file: Path | None, home: str | None, as_json: bool, quiet: bool) -> None:
    """Load the rules in FILE, or those in force, with the tables of publishers and labels, and say
    what is wrong with them: also words that an attribute never has.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        for rules in _gate(run, file).load().rule_sets:
            if run.as_json:
                parts = [rule_part(rule) for rule in rules.rules]
                print_document(RulesDocument(path=rules.path, digest=rules.digest, rules=parts))
            else:
                _print_rules(rules)


@click.command(
    short_help="Say whether an action is allowed, and which rules decide it.",
    epilog="""\b
Examples:
  outlast policy explain run org/name
  outlast policy explain pull org/name --all
  outlast policy explain serve org/name --rules new.cedar

\b
Exit status:
  0 allowed · 2 usage, or the rules are wrong · 3 no archive · 7 not allowed
""",
)
@click.argument("action", type=click.Choice([action.value for action in Action]))
@click.argument("target", type=TARGET)
@click.option("--all", "everything", is_flag=True, help="Print all attributes of the model")
@_rules_option
@common
def explain(
    *,
    action: str,
    target: Target,
    everything: bool,
    rules: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Say whether ACTION is allowed with a model, which rules decide that, and by what. No byte is
    fetched: a model that is not archived is judged by its name alone.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        subject = _subject(run, archive, target)
        judgement = _gate(run, rules).explain(Action(action), subject)
        document = ExplainedDocument(
            action=Action(action),
            repo=subject.repo,
            revision=None if subject.revision is None else subject.revision.id,
            allowed=judgement.verdict.allowed,
            reason=judgement.verdict.reason,
            path=judgement.path,
            rules=[rule_part(rule) for rule in judgement.decision.rules],
            attributes=_attributes(judgement, everything=everything),
        )
        if run.as_json:
            print_document(document)
        else:
            _print_explained(document)
        return 0 if judgement.verdict.allowed else RefusedByRulesError.exit_code


@click.command(
    short_help="Compare verdicts with those that a file expects.",
    epilog="""\b
Examples:
  outlast policy test cases.toml
  outlast policy test cases.toml --rules new.cedar

\b
Exit status:
  0 all verdicts are as expected · 1 some are not · 2 a file is wrong
""",
)
@click.argument("file", type=_FILE)
@_rules_option
@common
def test(*, file: Path, rules: Path | None, home: str | None, as_json: bool, quiet: bool) -> int:
    """Judge the models that FILE describes, and compare the verdicts with those it expects.

    FILE is TOML: each [[case]] has action, model and expect (allow or deny); it may have rule,
    licence, base-models, files, size, source, gated, and set: attributes by their names.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        found = list(compare(file, _gate(run, rules).load()))
        wrong = [one for one in found if one.wrong]
        for one in wrong:
            _tell_difference(run, one)
        if run.as_json:
            print_document(TestedAllDocument(cases=len(found), differ=len(wrong)))
        else:
            said = f"{plural(len(wrong), 'case')} differ" if wrong else "all as expected"
            print(f"{plural(len(found), 'case')}: {said}")
        return _DIFFERS if wrong else 0


@click.command(
    "what-if",
    short_help="Show what new rules would forbid, and what depends on it.",
    epilog="""\b
Examples:
  outlast policy what-if --rules new.cedar
  outlast policy what-if --rules new.cedar --action serve --action run

\b
Exit status:
  0 done · 2 usage, or the rules are wrong · 3 no archive · 130 interrupted
""",
)
@click.option("--rules", type=_FILE, required=True, metavar="FILE", help="The new rules")
@click.option(
    "--action",
    "actions",
    type=click.Choice([action.value for action in Action]),
    multiple=True,
    help="Only this action (may be repeated)  [default: serve, share, export, run]",
)
@common
def what_if_command(
    *, rules: Path, actions: Sequence[str], home: str | None, as_json: bool, quiet: bool
) -> None:
    """Show what of the archive new rules would forbid, whether the rules in force do so too, and
    what depends on it: deltas against its files, and models that were made from it.

    Nothing is changed, and no file is read.
    """
    asked = [Action(action) for action in actions] or [
        Action.SERVE,
        Action.SHARE,
        Action.EXPORT,
        Action.RUN,
    ]
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        new, now = _gate(run, rules), make_gate(run.config.home, _settings(run))
        found = list(what_if(archive, new, now, asked, run.control.cancel))
        total = len(archive.summaries())
        _tell_forbidden(run, found, total)


for _command in (check, explain, test, what_if_command, screen_command):
    policy.add_command(_command)


# The rules


def _settings(run: Session) -> TrustSettings:
    """Those of the feature that the command belongs to."""
    listed: Listed = next(feature for feature in run.features if "policy" in feature.commands)
    settings: TrustSettings = run.config.feature(listed)
    return settings


def _gate(run: Session, file: Path | None) -> RulesGate:
    """The rules in `file`, or those in force. Raises :class:`UsageError` where there are none."""
    files = rule_files(run.config.home, _settings(run))
    if file is not None:
        files = RuleFiles((file,), files.publishers, files.labels)
    if not files.rules:
        raise UsageError(
            "there are no rules: everything is allowed",
            hint="name a file with the setting [trust] rules; 'outlast guide rules' has examples",
        )
    return rules_gate(files, _settings(run))


def _subject(run: Session, archive: Archive, target: Target) -> Subject:
    """What is judged: an archived revision, or a name."""
    try:
        revision = archive.revision(target.repo, target.ref)
    except NotFoundError:
        if archive.commits(target.repo):
            raise
        run.say(f"{target.repo} is not archived: it is judged by its name alone")
        return Subject(target.repo)
    return subject_of(archive, revision)


# What is printed


def _print_rules(rules: RuleSet) -> None:
    rows = [
        (rule.name, "permits" if rule.permits else "forbids", ", ".join(rule.attributes) or "-")
        for rule in rules.rules
    ]
    print(one_line(f"{rules.path}: {plural(len(rules.rules), 'rule')}, sha256 {rules.digest}"))
    print_table([("RULE", "", "ASKS FOR"), *rows])


def _attributes(judgement: Judgement, *, everything: bool) -> list[AttributePart]:
    names: Iterable[str] = dict.fromkeys(
        name for rule in judgement.decision.rules for name in rule.attributes
    )
    if everything:
        names = _all_names(judgement.attributes)
    return [
        AttributePart(name=name, value=shown(value_of(judgement.attributes, name)))
        for name in names
    ]


def _all_names(attributes: Mapping[str, Any], above: str = "") -> list[str]:
    found: list[str] = []
    for name, value in attributes.items():
        path = above + name
        found += _all_names(value, f"{path}.") if isinstance(value, dict) else [path]
    return found


def _print_explained(said: ExplainedDocument) -> None:
    word = "allowed" if said.allowed else "not allowed"
    print(one_line(f"{said.action} of {said.repo}: {word}: {said.reason}"))
    if said.path is not None:
        print(one_line(f"by {said.path}"))
    if said.rules:
        rows = [
            (rule.name, "permits" if rule.permits else "forbids", rule.reason or "-")
            for rule in said.rules
        ]
        print_table([("RULE", "", "REASON"), *rows])
    if said.attributes:
        rows = [(one.name, one.value, "") for one in said.attributes]
        print_table([("ATTRIBUTE", "VALUE", ""), *rows])


def _tell_difference(run: Session, one: ComparedCase) -> None:
    if run.as_json:
        case = one.case
        print_document(TestedDocument(action=case.action, model=case.model, problem=one.wrong))
    else:
        print(one_line(f"{one.case.action} of {one.case.model}: {one.wrong}"))


def _tell_forbidden(run: Session, found: Sequence[Forbidden], total: int) -> None:
    revisions = {(one.repo, one.commit) for one in found}
    new = {(one.repo, one.commit) for one in found if not one.already}
    if run.as_json:
        for one in found:
            print_document(_document(one))
        print_document(WhatIfDocument(revisions=total, forbidden=len(revisions), new=len(new)))
        return
    if found:
        print_table([("MODEL", "SIZE", "NOT", "", "WHY", "DEPENDS ON IT"), *map(_row, found)])
    print(
        f"of {plural(total, 'revision')} here, {len(revisions)} would be forbidden something, "
        f"{len(new)} of them what they are not now"
    )


def _row(one: Forbidden) -> tuple[str, ...]:
    rule, verdict = one.judgement.verdict.rule, one.judgement.verdict
    needing = [f"{other.repo}@{other.commit.hex[:12]}" for other in one.dependents]
    return (
        f"{one.repo}@{one.commit.hex[:12]}",
        human_size(one.size),
        one.action.value,
        "already" if one.already else "new",
        f"{rule}: {verdict.reason}" if rule else verdict.reason,
        ", ".join(needing) or "-",
    )


def _document(one: Forbidden) -> ForbiddenDocument:
    verdict = one.judgement.verdict
    return ForbiddenDocument(
        repo=one.repo,
        revision=one.commit,
        bytes=one.size,
        action=one.action,
        already=one.already,
        rule=verdict.rule,
        reason=verdict.reason,
        dependents=[
            DependentPart(
                repo=other.repo,
                revision=other.commit,
                deltas=other.deltas,
                bytes=other.bytes,
                names_it=other.names_it,
            )
            for other in one.dependents
        ],
    )
