"""One audit, as the commands that audit run it: what they are asked for, and what they find."""

import contextlib
import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Final, NamedTuple, TypeVar
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


def _all(*options: Callable[[F], F]) -> Callable[[F], F]:
    """These options, in this order."""

    def added(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return added


asked_endpoint: Final = _all(
    click.option("--model", required=True, metavar="NAME", help="The model's name at the endpoint"),
    click.option(
        "--against",
        type=TARGET,
        required=True,
        metavar="org/name[@rev]",
        help="The archived model that it is said to be",
    ),
)
"""Options that say which model is asked."""
questions: Final = _all(
    click.option(
        "--test",
        type=click.Choice([LOGPROBS, GREEDY, SAMPLED]),
        help="Use this test  [default: the strongest that the endpoint allows]",
    ),
    click.option(
        "--prompts", type=int, default=_DEFAULT.prompts, show_default=True, help="Questions to ask"
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
)
"""Options that say what an audit asks, and how much."""
bounds: Final = _all(
    click.option("--max-requests", type=int, help="Send so many requests at most"),
    click.option("--max-tokens", type=int, help="Ask for so many tokens at most, prompts included"),
    click.option("--max-cost", type=float, help="Spend so much at most; needs --price"),
    click.option(
        "--price",
        type=(float, float),
        metavar="IN OUT",
        help="Price of a million tokens of prompts, and of answers",
    ),
    click.option("--key-env", metavar="NAME", help="The environment variable that has the API key"),
)
"""Options of what may be spent, and of the key."""
record_options: Final = _all(
    click.option(
        "--valid-days",
        type=click.IntRange(1, 3650),
        default=30,
        show_default=True,
        help="How long the record of the verdict counts",
    ),
)
reference_options: Final = _all(
    click.option(
        "--file", "wanted", metavar="GLOB", help="Choose the file, if the model has several"
    ),
    click.option("--threads", type=int, help="CPU threads of the reference"),
    budget_option,
)


class AskedModel(NamedTuple):
    """An endpoint that can be asked, and the reference beside it."""

    endpoint: AuditedEndpoint
    reference: Reference
    spend: AuditBudget
    prepared: ops.Prepared


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """What a command is asked to audit: an endpoint and its model, against what, within which
    bounds. The fields are options of this module.
    """

    url: str
    model: str
    against: Target
    max_requests: int | None
    max_tokens: int | None
    max_cost: float | None
    price: tuple[float, float] | None
    key_env: str | None
    wanted: str | None
    threads: int | None
    budget: int | None
    valid_days: int = 0

    def __post_init__(self) -> None:
        if self.max_cost is not None and self.price is None:
            raise UsageError("--max-cost needs --price")
        endpoint_url(self.url)

    @property
    def endpoint(self) -> str:
        """The URL as reports have it."""
        return endpoint_url(self.url)

    def manifest(self, archive: Archive) -> Digest:
        """That of the archived model, before anything is loaded. Raises
        :class:`~outlast.core.errors.NotFoundError`.
        """
        return archive.revision(self.against.repo, self.against.ref).digest

    @contextlib.contextmanager
    def open(
        self, call: Session, archive: Archive, *, cached: bool, context: int | None = None
    ) -> Iterator[AskedModel]:
        """What is asked, while the block runs; `cached`: what the reference computes is kept for
        later; `context`: the most tokens that it has to read at once. Raises
        :class:`~outlast.core.errors.EngineError` and what preparing the model does.
        """
        if find_spec("numpy") is None:
            raise EngineError("audits need numpy", hint="pip install '.[audit]' in a checkout")
        spend = AuditBudget(
            self.max_requests, self.max_tokens, self.max_cost, self.price or (0.0, 0.0)
        )
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
        if context is not None:
            computing = replace(computing, context=max(context, computing.context))
        cache = ScoreCache(call.config.home if cached else None)
        with (
            prepared,
            HttpClient(call.config.http()) as http,
            Reference(prepared, cache, computing, cancel) as reference,
        ):
            key = key_of(self.key_env)
            endpoint = AuditedEndpoint(
                self.endpoint, self.model, key, http=http, budget=spend, cancel=cancel
            )
            yield AskedModel(endpoint, reference, spend, prepared)

    def run(
        self, call: Session, archive: Archive, options: AuditOptions
    ) -> tuple[AuditFinding, dict[str, Any]]:
        """The verdict, and the values of the report. Raises what the audit raises."""
        # Of fresh questions it would only grow.
        with self.open(call, archive, cached=not options.afresh) as (asked, reference, spend, held):
            finding, found = Audit(asked, reference, spend, options, call.say).run()
        revision = held.revision
        return finding, found | {
            "repo": str(revision.repo),
            "revision": revision.id.hex,
            "manifest": revision.digest.hex,
            "files": list(held.choice.files),
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


def endpoint_url(url: str) -> str:
    """The address of an endpoint up to /v1, as reports have it. Raises :class:`UsageError`."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise UsageError(f"not the address of an endpoint: {url!r}", hint="as https://host/v1")
    return url.rstrip("/")


def key_of(name: str | None) -> str | None:
    """The API key in the environment variable of this name. Raises :class:`UsageError`."""
    if name is None:
        return None
    found = environment().get(name)
    if not found:
        raise UsageError(f"the environment has no {name}")
    return found
