"""Text from outside that a terminal may show: all that is writing, nothing that steers.

The rule names what is barred, and does not ask Python's tables what is printable: those know no
character that is newer than the interpreter, and would bar the latest emoji.
Names and messages have a stricter rule of their own, :func:`outlast.core.errors.one_line`.
"""

from typing import Final

_MARK: Final = "\N{REPLACEMENT CHARACTER}"
_BARRED: Final = (
    (0x00, 0x08),  # C0 but for tab and line feed: bells, and ESC, with which sequences begin
    (0x0B, 0x1F),
    (0x7F, 0x9F),  # DEL and C1: each of them alone is what ESC and a letter are
    (0x202A, 0x202E),  # overrides and embeddings of the writing direction
    (0x2066, 0x2069),  # isolates
    (0x206A, 0x206F),  # formatting that Unicode itself deprecates
    (0xD800, 0xDFFF),  # halves of characters: no stream could encode them
    (0xFFF9, 0xFFFB),  # marks of annotations, which hide text
)
_TABLE: Final = {code: _MARK for low, high in _BARRED for code in range(low, high + 1)} | {
    0x2028: "\n",  # line and paragraph separators
    0x2029: "\n",
}


class Printable:
    """Makes a stream of text printable, piece by piece."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """The printable form of the stream's next piece."""
        text = self._held + text
        # A carriage return is half of a line's end, or else it would overwrite the line.
        self._held = "\r" if text.endswith("\r") else ""
        return printable(text.removesuffix("\r"))

    def end(self) -> str:
        """What is left of the stream at its end."""
        rest, self._held = self._held, ""
        return printable(rest)


def printable(text: str) -> str:
    """`text` with what could steer a terminal replaced by U+FFFD. What writing needs is kept:
    joiners, variation selectors, combining marks, the tags of flags, and the marks U+200E, U+200F
    and U+061C, which say the direction of one place and override nothing.
    """
    return text.replace("\r\n", "\n").translate(_TABLE)
