"""``outlast audit contract``."""

from typing import Any, Final

import click

from outlast.cli.edge import common, session
from outlast.cli.screen.render import print_documents, print_table
from outlast.core.errors import one_line
from outlast.features.audit.commands.asking import (
    AuditRequest,
    asked_endpoint,
    bounds,
    reference_options,
)
from outlast.features.audit.commands.documents import ContractClauseDocument
from outlast.features.audit.contract.checks import check_contract, is_broken
from outlast.features.audit.contract.interview import Interview

_BROKEN: Final = 10
_LEAST_CONTEXT: Final = 256
_MOST_CONTEXT: Final = 131_072


@click.command(
    epilog="""\b
Examples:
  outlast audit contract https://api.example/v1 --model m --against org/name --key-env API_KEY
  outlast audit contract http://127.0.0.1:8080/v1 --model m --against org/name --context 8192

\b
Exit status:
  0 none is broken · 2 usage · 3 not archived · 4 damage found · 8 storage · 9 engine ·
  10 one is broken · 130 interrupted
"""
)
@click.argument("url")
@asked_endpoint
@click.option(
    "--context",
    type=click.IntRange(_LEAST_CONTEXT, _MOST_CONTEXT),
    metavar="TOKENS",
    help="Ask for what stands in a prompt of so many tokens, too  [default: no long prompt]",
)
@bounds
@reference_options
@common
def contract(
    url: str,
    *,
    context: int | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> int:
    """Check whether the endpoint at URL (up to /v1) does what requests ask of it.

    What it bills is counted anew by the archived model's own tokenizer and chat template, so a
    hidden system prompt shows. Answers are cut, stopped, sampled, biased and put in a form, and
    what came is compared with what was asked. A parameter that is refused with an error is no
    breach. Whether the weights are the real ones is for 'outlast audit'.
    """
    request = AuditRequest(url=url, **asked)
    with session(home, as_json=as_json, quiet=quiet) as call, call.archive() as archive:
        with request.open(call, archive, cached=False, context=context) as opened:
            interview = Interview(opened.endpoint, opened.reference)
            clauses = check_contract(interview, context, call.say)
            manifest = opened.prepared.revision.digest
        if as_json:
            print_documents(
                [
                    ContractClauseDocument(
                        endpoint=request.endpoint,
                        model=request.model,
                        manifest=manifest,
                        clause=one.name,
                        state=one.state.value,
                        detail=one.detail,
                    )
                    for one in clauses
                ]
            )
        else:
            print_table([[one.state.value, one.name, one_line(one.detail)] for one in clauses])
        return _BROKEN if is_broken(clauses) else 0
