"""All that is checked of an endpoint's API, in order."""

from collections.abc import Callable
from functools import partial

from outlast.features.audit.contract import forms, lengths, parameters
from outlast.features.audit.contract.clauses import Clause, ClauseState, Found, checked
from outlast.features.audit.contract.interview import Interview


def check_contract(
    interview: Interview, context: int | None, say: Callable[[str], object] = bool
) -> list[Clause]:
    """Each clause, by questions of its own; `context`: the tokens of a long prompt, None for none.
    `say` is told of each as it is found. Raises :class:`~outlast.core.errors.EngineError` and
    :class:`~outlast.core.errors.Cancelled`.
    """
    checks: dict[str, Callable[[Interview], Found]] = {
        "prompt tokens": lengths.prompt_tokens,
        "system message": lengths.system_message,
        "answer tokens": lengths.answer_tokens,
        "max_tokens": lengths.max_tokens,
        "stop": lengths.stop,
        "temperature 0": parameters.same_text,
        "temperature 1": parameters.temperature,
        "top_p": parameters.top_p,
        "seed": parameters.seed,
        "logit_bias": parameters.logit_bias,
        "n": parameters.choices,
        "logprobs": parameters.logprobs,
        "JSON schema": forms.json_schema,
        "tool call": forms.tool_call,
    }
    if context is not None:
        checks["context"] = partial(lengths.context, length=context)
    found: list[Clause] = []
    for name, check in checks.items():
        found.append(checked(name, partial(check, interview)))
        say(f"checked {len(found)} of {len(checks)}: {name}")
    return found


def is_broken(clauses: list[Clause]) -> bool:
    """Whether the endpoint breaks one of them."""
    return any(one.state is ClauseState.BROKEN for one in clauses)
