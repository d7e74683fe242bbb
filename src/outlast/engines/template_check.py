"""Renders a conversation with the model's chat template before the model gets it.

A chat template is a program by the publisher of the model. llama.cpp renders it in the worker
process, without a bound on time or on what it writes; so it is rendered once by itself, with both.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from outlast.core.cancel import Cancel
from outlast.core.errors import EndlessTemplateError, EngineError
from outlast.engines.local_http import AskBounds, NoAnswerError, TooLongError, ask
from outlast.engines.tuning import Tuning

RENDER: Final = "/apply-template"
SUSPECT: Final = "the model's chat template may be damaged or hostile"


def check_template(
    socket_path: str, body: Mapping[str, Any], tuning: Tuning, cancel: Cancel
) -> None:
    """Has the engine behind `socket_path` render the messages of `body`. A template that refuses
    them is left to the chat itself, which says why. Raises :class:`EndlessTemplateError`,
    :class:`EngineError` where too much is written, and :class:`Cancelled`.
    """
    deadline = time.monotonic() + tuning.template_seconds
    bounds = AskBounds(deadline, tuning.template_bytes, tuning.poll_seconds)
    try:
        ask(socket_path, RENDER, body, bounds, cancel)
    except NoAnswerError:
        raise endless(tuning) from None
    except TooLongError:
        raise EngineError(too_long(tuning), hint=SUSPECT) from None


def endless(tuning: Tuning) -> EndlessTemplateError:
    """The error of a template that does not end."""
    seconds = f"{tuning.template_seconds:.0f} seconds"
    return EndlessTemplateError(f"the chat template did not finish in {seconds}", hint=SUSPECT)


def too_long(tuning: Tuning) -> str:
    """What is said of a template that writes too much."""
    return f"the chat template wrote more than {tuning.template_bytes >> 20} MiB"
