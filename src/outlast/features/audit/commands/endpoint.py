"""``outlast audit URL``."""

import secrets
from pathlib import Path
from typing import Any, NamedTuple

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import print_document
from outlast.core.digest import Digest
from outlast.core.errors import UsageError
from outlast.core.records.audit import AuditVerdict
from outlast.features.audit.audit import AuditOptions
from outlast.features.audit.commands.asking import (
    AuditRequest,
    asked_endpoint,
    bounds,
    questions,
    record_options,
    reference_options,
)
from outlast.features.audit.commands.documents import AuditedDocument
from outlast.features.audit.commands.page_option import page_option, write_page
from outlast.features.audit.evidence import EXIT, SAMPLED, AuditFinding, Verdict, ranked
from outlast.features.audit.reports.document import AuditReport, report_of
from outlast.features.audit.reports.files import report_bytes, write_file
from outlast.features.audit.reports.signature import beside, sign_report
from outlast.store import disk


@click.command(
    epilog="""\b
Examples:
  outlast audit https://api.example/v1 --model m --against org/name --key-env API_KEY
  outlast audit http://127.0.0.1:8080/v1 --model org/name --against org/name --report report.json

\b
Exit status:
  0 consistent · 2 usage · 3 not archived · 4 damage found · 8 storage · 9 engine · 10 divergent ·
  11 inconclusive · 12 untestable · 130 interrupted
"""
)
@click.argument("url")
@asked_endpoint
@questions
@bounds
@click.option("--seed", metavar="HEX", help="Ask the questions that follow from this seed")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the evidence to FILE, as JSON",
)
@page_option
@click.option(
    "--sign",
    "keys",
    multiple=True,
    metavar="KEY",
    help="A key of 'outlast key list' that signs the report (repeatable)  [default: your only key]",
)
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The passphrase of the key is the first line of this file",
)
@click.option("--unsigned", is_flag=True, help="Write the report without a signature")
@record_options
@reference_options
@common
def endpoint(
    url: str,
    *,
    seed: str | None,
    report: Path | None,
    page: Path | None,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    unsigned: bool,
    test: str | None,
    prompts: int,
    tokens: int,
    calibration: int,
    alpha: float,
    home: str | None,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> int:
    """Ask the endpoint at URL (up to /v1) questions, compare its answers with the archived weights,
    and say whether it serves them.

    The strongest test that the endpoint allows is used: its log probabilities, its text at
    temperature 0, or its text at temperature 1. The reference is computed here, once; honest
    differences between engines are measured, and so is what fewer bits would change. Only a
    deviation beyond the former is called divergent, and only an endpoint where the latter would
    have been found is called consistent. For a divergent one, explanations are ranked.

    The questions are new each time; the report has the seed that they follow from, and all answers.
    Its signature lies beside it, in FILE.dsse.json. The verdict is kept as a record in the archive,
    which the gateway heeds.
    """
    if (keys or unsigned) and report is None:
        raise UsageError("--sign and --unsigned need --report")
    if keys and unsigned:
        raise UsageError("--unsigned goes without --sign")
    chosen = AuditOptions(_seed(seed), prompts, tokens, calibration, alpha, test)
    request = AuditRequest(url=url, **asked)
    with session(home, as_json=as_json, quiet=quiet) as call, call.archive() as archive:
        finding, found = request.run(call, archive, chosen)
        if finding.verdict is not Verdict.UNTESTABLE:
            note = f"audit by {found['test']}, alpha {found['alpha']:g}"
            request.keep(archive, found, AuditVerdict(finding.verdict.value), note)
        written = report_of(found)
        if page is not None:
            write_page(page, written, finding)
        if report is not None:
            _write(call, report, written, SigningKeys(keys, passphrase_file, unsigned))
        _show(call, found, finding)
        return EXIT[finding.verdict]


class SigningKeys(NamedTuple):
    """With which keys a report is signed: those of `names`, or else the user's only one."""

    names: tuple[str, ...]
    passphrase_file: Path | None
    unsigned: bool


def _write(call: Session, path: Path, report: AuditReport, keys: SigningKeys) -> None:
    """Writes the report first: a signature may fail for want of a passphrase."""
    data, signed = report_bytes(report), beside(path)
    with disk.reporting(signed):
        disk.remove(signed)  # a signature of an older report would not match
    write_file(path, data)
    signer = None if keys.unsigned else call.statement_signer()
    if signer is None:
        return
    names = keys.names or signer.names()
    if not keys.names and len(names) != 1:
        call.say(f"the report is not signed: you have {len(names)} keys; --sign chooses one")
        return
    write_file(signed, sign_report(signer, names, keys.passphrase_file, (report, data)))


def _seed(said: str | None) -> bytes:
    if said is None:
        return secrets.token_bytes(16)
    try:
        return bytes.fromhex(said)
    except ValueError:
        raise UsageError("--seed is a number in hex, as a report has it") from None


def _show(call: Session, found: dict[str, Any], finding: AuditFinding) -> None:
    if call.as_json:
        print_document(
            AuditedDocument(
                endpoint=found["endpoint"],
                model=found["model"],
                manifest=Digest(found["manifest"]),
                verdict=finding.verdict.value,
                reason=finding.reason,
                test=found["test"],
                alpha=found["alpha"],
                p_value=finding.p_value,
                statistic=finding.statistic,
                floor=finding.floor,
                smallest=finding.smallest,
                power=finding.power,
                explanations=finding.explanations,
                requests=found["requests"],
                tokens=found["tokens_used"],
            )
        )
        return
    print(f"{finding.verdict.value}: {finding.reason}")
    if finding.statistic is not None:
        print(f"test        {found['test']}, error rate {found['alpha']:g}")
        what = "evidence  " if found["test"] == SAMPLED else "difference"
        print(f"{what}  {finding.statistic:.4f} nats; an alarm is above {finding.floor:.4f}")
        print(f"p-value     {finding.p_value:.2g}")
        smallest = "none" if finding.smallest is None else f"{finding.smallest:.4f} nats"
        print(f"smallest    {smallest}: a deviation that 90 % of such audits would have found")
        for name, share in (finding.power or {}).items():
            print(f"power       {100 * share:.0f} % against {name}")
    for name, share in ranked(finding.explanations or {}):
        print(f"may be      {100 * share:.0f} %: {name}")
    if found["excluded"]:
        print(f"excluded    {found['excluded']} tokens that could not be compared")
    if found["ended"]:
        print(f"note        {found['ended']}")
    print(f"asked       {found['requests']} requests, {found['tokens_used']:,} tokens")
