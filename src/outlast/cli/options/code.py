"""The option that lets `run` use the code of a model, and what it asks before."""

import datetime as dt
import shlex
from dataclasses import dataclass
from itertools import islice
from typing import Final

import click

from outlast.cli.edge import Session
from outlast.cli.options.accepted import DigestStartType
from outlast.cli.screen.render import plural
from outlast.core.errors import CodeNotAllowedError
from outlast.core.names import Target
from outlast.core.printable import printable
from outlast.intake.formats.model_code import ModelCode
from outlast.intake.vouched import SHOWN
from outlast.ops.words.code import CodeState, allow_code, code_changes, code_state
from outlast.store.archive import Archive

_MOST_LINES: Final = 400
"""Lines of a diff on the terminal."""

allow_code_option = click.option(
    "--allow-code",
    "code_start",
    type=DigestStartType("code"),
    metavar="DIGEST",
    help="Let transformers import the model's Python files, which have this digest together; that "
    "is remembered ('outlast accept --code' lists it)",
)


@dataclass(frozen=True, slots=True)
class CodeForRun:
    """`allowed`: what the engine may import; `hint`: what to do where it needs code; `changed`:
    other code of this model was allowed before.
    """

    allowed: ModelCode | None = None
    hint: str = ""
    changed: CodeState | None = None


def code_for_run(call: Session, archive: Archive, target: Target, start: str | None) -> CodeForRun:
    """What of a model's code may run: what was allowed before, or is now, where its digest begins
    with `start`.
    """
    if start is not None:
        state = allow_code(archive, target, start, dt.datetime.now(dt.UTC))
        call.say(
            f"allowed, and remembered: {plural(len(state.code.files), 'file')} of code of "
            f"{state.code.repo}, {state.code.digest.short}…"
        )
    else:
        state = code_state(archive, archive.revision(target.repo, target.ref))
    if state.word is not None:
        return CodeForRun(state.code)
    hint = _hint(target, state) if state.code.files else ""
    return CodeForRun(None, hint, state if state.has_changed else None)


def refuse_changed_code(call: Session, archive: Archive, target: Target, code: CodeForRun) -> None:
    """Shows what changed, and raises :class:`CodeNotAllowedError`, where other code of the model
    was allowed before.
    """
    if code.changed is not None:
        _show_changes(call, archive, code.changed)
        raise CodeNotAllowedError(
            f"the code of {target} is not what was allowed before", hint=code.hint
        )


def _hint(target: Target, state: CodeState) -> str:
    word = state.code.digest.hex[:SHOWN]
    return f"read its .py files, then: outlast run {shlex.quote(str(target))} --allow-code {word}"


def _show_changes(call: Session, archive: Archive, state: CodeState) -> None:
    assert state.before is not None
    call.say(f"what changed since {state.before.since}, when its code was allowed:")
    lines = list(islice(code_changes(archive, state.before, state.code), _MOST_LINES + 1))
    for line in lines[:_MOST_LINES]:
        call.say(printable(line))
    if len(lines) > _MOST_LINES:
        call.say(f"… and more: the first {_MOST_LINES} lines are shown")
