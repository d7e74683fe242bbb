"""``outlast audit URL``."""

import importlib.metadata
import platform
import secrets
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import click

from outlast import __version__
from outlast.cli.config.file import environment
from outlast.cli.edge import TARGET, Session, budget_option, common, session
from outlast.cli.screen.render import print_document
from outlast.core.digest import Digest
from outlast.core.errors import EngineError, UsageError
from outlast.core.names import Target
from outlast.core.records.audit import AuditRecord, AuditVerdict
from outlast.features.audit.asking.budget import AuditBudget
from outlast.features.audit.asking.endpoint import AuditedEndpoint
from outlast.features.audit.audit import Audit, AuditOptions
from outlast.features.audit.commands.documents import AuditedDocument
from outlast.features.audit.commands.page_option import page_option, write_page
from outlast.features.audit.evidence import (
    EXIT,
    GREEDY,
    LOGPROBS,
    SAMPLED,
    AuditFinding,
    Verdict,
    ranked,
)
from outlast.features.audit.reference.cache import ScoreCache
from outlast.features.audit.reference.reference import Reference, ReferenceOptions
from outlast.features.audit.reports.document import AuditReport, report_of
from outlast.features.audit.reports.files import report_bytes, write_file
from outlast.features.audit.reports.signature import beside, sign_report
from outlast.ops import run as ops
from outlast.sources.http import HttpClient
from outlast.store import disk
from outlast.store.archive import Archive

_DAY: Final = 86_400
_DEFAULT: Final = AuditOptions(b"")


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
@click.option("--model", required=True, metavar="NAME", help="The model's name at the endpoint")
@click.option(
    "--against",
    type=TARGET,
    required=True,
    metavar="org/name[@rev]",
    help="The archived model that it is said to be",
)
@click.option(
    "--test",
    type=click.Choice([LOGPROBS, GREEDY, SAMPLED]),
    help="Use this test  [default: the strongest that the endpoint allows]",
)
@click.option(
    "--prompts", type=int, default=_DEFAULT.prompts, show_default=True, help="Questions to ask"
)
@click.option(
    "--tokens",
    type=int,
    default=_DEFAULT.tokens,
    show_default=True,
    help="Tokens of an answer that are compared",
)
@click.option(
    "--calibration",
    type=int,
    default=_DEFAULT.calibration,
    show_default=True,
    help="Questions that honest engines are tried on here",
)
@click.option(
    "--alpha", type=float, default=_DEFAULT.alpha, show_default=True, help="Rate of false alarms"
)
@click.option("--max-requests", type=int, help="Send so many requests at most")
@click.option("--max-tokens", type=int, help="Ask for so many tokens at most, prompts included")
@click.option("--max-cost", type=float, help="Spend so much at most; needs --price")
@click.option(
    "--price",
    type=(float, float),
    metavar="IN OUT",
    help="Price of a million tokens of prompts, and of answers",
)
@click.option("--key-env", metavar="NAME", help="The environment variable that has the API key")
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
@click.option(
    "--valid-days",
    type=click.IntRange(1, 3650),
    default=30,
    show_default=True,
    help="How long the record of the verdict counts",
)
@click.option("--file", "wanted", metavar="GLOB", help="Choose the file, if the model has several")
@click.option("--threads", type=int, help="CPU threads of the reference")
@budget_option
@common
def endpoint(
    url: str,
    *,
    model: str,
    against: Target,
    max_requests: int | None,
    max_tokens: int | None,
    max_cost: float | None,
    price: tuple[float, float] | None,
    key_env: str | None,
    seed: str | None,
    report: Path | None,
    page: Path | None,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    unsigned: bool,
    valid_days: int,
    wanted: str | None,
    threads: int | None,
    budget: int | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
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
    if max_cost is not None and price is None:
        raise UsageError("--max-cost needs --price")
    chosen = AuditOptions(seed=_seed(seed), **options)
    spend = AuditBudget(max_requests, max_tokens, max_cost, price or (0.0, 0.0))
    where = _checked(url)
    if find_spec("numpy") is None:
        raise EngineError("audits need numpy", hint="pip install '.[audit]' in a checkout")
    with session(home, as_json=as_json, quiet=quiet) as call, call.archive() as archive:
        prepared = ops.prepare(
            archive,
            against,
            wanted=wanted,
            engine=None,
            recheck=False,
            budget=call.config.working_copies if budget is None else budget,
            assessor=lambda: call.assessor(archive),
            control=call.control,
        )
        computing = ReferenceOptions(threads=threads)
        cancel = call.control.cancel
        cache = ScoreCache(call.config.home)
        with (
            prepared,
            HttpClient(call.config.http()) as http,
            Reference(prepared, cache, computing, cancel) as reference,
        ):
            asked = AuditedEndpoint(
                where, model, _key(key_env), http=http, budget=spend, cancel=cancel
            )
            finding, found = Audit(asked, reference, spend, chosen, call.say).run()
        revision = prepared.revision
        found |= {
            "repo": str(revision.repo),
            "revision": revision.id.hex,
            "manifest": revision.digest.hex,
            "files": list(prepared.choice.files),
            "time": int(time.time()),
            "versions": {
                "outlast": __version__,
                "python": platform.python_version(),
                "numpy": importlib.metadata.version("numpy"),
                "reference": reference.build,
            },
        }
        _keep(archive, found, finding, valid_days)
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


def _key(name: str | None) -> str | None:
    if name is None:
        return None
    found = environment().get(name)
    if not found:
        raise UsageError(f"the environment has no {name}")
    return found


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise UsageError(f"not the address of an endpoint: {url!r}", hint="as https://host/v1")
    return url.rstrip("/")


def _keep(archive: Archive, found: dict[str, Any], finding: AuditFinding, days: int) -> None:
    """Keeps the verdict among the statements about the manifest; none where nothing was tested."""
    if finding.verdict is Verdict.UNTESTABLE:
        return
    now, note = found["time"], f"audit by {found['test']}, alpha {found['alpha']:g}"
    record = AuditRecord(
        found["endpoint"],
        found["model"],
        Digest(found["manifest"]),
        AuditVerdict(finding.verdict.value),
        now,
        now + days * _DAY,
        note,
    )
    with archive.writer() as writer:
        archive.attestations.add(writer, record.manifest, record.to_bytes())


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
