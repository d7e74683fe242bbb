"""What was measured or guessed for the engines: how long they may take, how much is kept."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tuning:
    """Passed to an engine with its options."""

    prompt_seconds: float = 30.0
    """Until a worker has to say that the prompt is ready (transformers). A guess: a long prompt's
    template takes less than a second, a hostile one never ends."""
    template_seconds: float = 30.0
    """Until llama.cpp has to be done with the chat template: while it loads, and before each chat.
    A guess for the same reason."""
    template_bytes: int = 16 * 1024 * 1024
    """What a chat template may make of a conversation, as JSON. A guess: a context of a million
    tokens takes 4 MiB, and the API takes requests of 8 MiB."""
    stop_seconds: float = 2.0
    """Until a worker that was asked to end an answer is killed. A guess: a token takes less."""
    grace_seconds: float = 2.0
    """Until a worker that was asked to end is killed. A guess."""
    last_words_seconds: float = 30.0
    """The same for one that could not load its model: it ends by itself once its log, which tells
    why, is written. Guess: a machine with ten times as much to do as it can."""
    poll_seconds: float = 0.1
    """Between two looks at a cancel token while a worker is silent. A guess: a person who presses
    Ctrl-C does not notice it."""
    served_at_once: int = 4
    """Requests that llama.cpp answers at once. A guess: each takes a part of the context."""
    log_lines: int = 400
    """Lines of an engine's log that are kept to say why it died. A guess: llama.cpp logs about 200
    while it loads."""
    log_line_bytes: int = 8192
    """Of a line of the log, the rest counts as the next line. A guess."""
    event_bytes: int = 16 * 1024 * 1024
    """The longest event of a worker. A guess: an event is a few words of text."""


TUNING: Final = Tuning()
