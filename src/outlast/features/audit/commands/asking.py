"""One audit, as the commands that audit run it: what they are asked for, and what they find."""

import importlib.metadata
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click

from outlast import __version__
from outlast.cli.config.file import environment
from outlast.cli.edge import TARGET, Session, budget_option
from outlast.core.digest import Digest
from outlast.core.errors import EngineError, UsageError
from outlast.core.names import Target
from outlast.core.records.audit import AuditRecord, AuditVerdict
from outlast.features.audit.asking.budget import AuditBudget
from outlast.features.audit.asking.endpoint import AuditedEndpoint
from outlast.features.audit.audit import Audit, AuditOptions
from outlast.features.audit.evidence import GREEDY, LOGPROBS, SAMPLED, AuditFinding
from outlast.features.audit.reference.cache import ScoreCache
from outlast.features.audit.reference.reference import Reference, ReferenceOptions
from outlast.ops import run as ops
from outlast.sources.http import HttpClient
from outlast.store.archive import Archive

F = TypeVar("F", bound=Callable[..., Any])
_DAY: Final = 86_400
_DEFAULT: Final = AuditOptions(b"")


def questions(command: F) -> F:
    """The options that say what is asked, and how much."""
    options = (
        click.option(
            "--model", required=True, metavar="NAME", help="The model's name at the endpoint"
        ),
        click.option(
            "--against",
            type=TARGET,
            required=True,
            metavar="org/name[@rev]",
            help="The archived model that it is said to be",
        ),
        click.option(
            "--test",
            type=click.Choice([LOGPROBS, GREEDY, SAMPLED]),
            help="Use this test  [default: the strongest that the endpoint allows]",
        ),
        click.option(
            "--prompts",
            type=int,
            default=_DEFAULT.prompts,
            show_default=True,
            help="Questions to ask",
        ),
        click.option(
            "--tokens",
            type=int,
            default=_DEFAULT.tokens,
            show_default=True,
            help="Tokens of an answer that are compared",
        ),
        click.option(
            "--calibration",
            type=int,
            default=_DEFAULT.calibration,
            show_default=True,
            help="Questions that honest engines are tried on here",
        ),
        click.option(
            "--alpha",
            type=float,
            default=_DEFAULT.alpha,
            show_default=True,
            help="Rate of false alarms",
        ),
        click.option("--max-requests", type=int, help="Send so many requests at most"),
        click.option(
            "--max-tokens", type=int, help="Ask for so many tokens at most, prompts included"
        ),
        click.option("--max-cost", type=float, help="Spend so much at most; needs --price"),
        click.option(
            "--price",
            type=(float, float),
            metavar="IN OUT",
            help="Price of a million tokens of prompts, and of answers",
        ),
        click.option(
            "--key-env", metavar="NAME", help="The environment variable that has the API key"
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def reference_options(command: F) -> F:
    """The options of the reference and of the record that is kept."""
    options = (
        click.option(
            "--valid-days",
            type=click.IntRange(1, 3650),
            default=30,
            show_default=True,
            help="How long the record of the verdict counts",
        ),
        click.option(
            "--file", "wanted", metavar="GLOB", help="Choose the file, if the model has several"
        ),
        click.option("--threads", type=int, help="CPU threads of the reference"),
        budget_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """What a command is asked to audit: an endpoint and its model, against what, within which
    bounds. The fields are the options of `questions` and `reference_options`.
    """

    url: str
    model: str
    against: Target
    max_requests: int | None
    max_tokens: int | None
    max_cost: float | None
    price: tuple[float, float] | None
    key_env: str | None
    valid_days: int
    wanted: str | None
    threads: int | None
    budget: int | None

    def __post_init__(self) -> None:
        if self.max_cost is not None and self.price is None:
            raise UsageError("--max-cost needs --price")
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise UsageError(
                f"not the address of an endpoint: {self.url!r}", hint="as https://host/v1"
            )

    @property
    def endpoint(self) -> str:
        """The URL as reports have it."""
        return self.url.rstrip("/")

    def manifest(self, archive: Archive) -> Digest:
        """That of the archived model, before anything is loaded. Raises
        :class:`~outlast.core.errors.NotFoundError`.
        """
        return archive.revision(self.against.repo, self.against.ref).digest

    def run(
        self, call: Session, archive: Archive, options: AuditOptions
    ) -> tuple[AuditFinding, dict[str, Any]]:
        """The verdict, and the values of the report. Raises what the audit raises."""
        if find_spec("numpy") is None:
            raise EngineError("audits need numpy", hint="pip install '.[audit]' in a checkout")
        bounds = (self.max_requests, self.max_tokens, self.max_cost)
        spend = AuditBudget(*bounds, self.price or (0.0, 0.0))
        cancel = call.control.cancel
        prepared = ops.prepare(
            archive,
            self.against,
            wanted=self.wanted,
            engine=None,
            recheck=False,
            budget=call.config.working_copies if self.budget is None else self.budget,
            assessor=lambda: call.assessor(archive),
            control=call.control,
        )
        computing = ReferenceOptions(threads=self.threads)
        cache = ScoreCache(None if options.afresh else call.config.home)  # it would only grow
        with (
            prepared,
            HttpClient(call.config.http()) as http,
            Reference(prepared, cache, computing, cancel) as reference,
        ):
            asked = AuditedEndpoint(
                self.endpoint,
                self.model,
                _key(self.key_env),
                http=http,
                budget=spend,
                cancel=cancel,
            )
            finding, found = Audit(asked, reference, spend, options, call.say).run()
        revision = prepared.revision
        return finding, found | {
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

    def keep(
        self, archive: Archive, found: dict[str, Any], verdict: AuditVerdict, note: str
    ) -> None:
        """Keeps a verdict among the statements about the manifest, which the gateway heeds."""
        now = found["time"]
        until = now + self.valid_days * _DAY
        named = (found["endpoint"], found["model"], Digest(found["manifest"]))
        record = AuditRecord(*named, verdict, now, until, note)
        with archive.writer() as writer:
            archive.attestations.add(writer, record.manifest, record.to_bytes())


def _key(name: str | None) -> str | None:
    if name is None:
        return None
    found = environment().get(name)
    if not found:
        raise UsageError(f"the environment has no {name}")
    return found
