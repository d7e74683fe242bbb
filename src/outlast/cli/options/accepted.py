"""Digests of manifests as people type them, and the option that lets `run` use one that nothing
else speaks for.
"""

from typing import Any, Final

import click

from outlast.core.errors import UsageError
from outlast.intake.vouched import LEAST

_HEX: Final = frozenset("0123456789abcdef")
_WHOLE: Final = 64


class DigestStartType(click.ParamType[str]):
    """The sha256 of `what`, or how it begins: at least 12 digits."""

    name = "digest"

    def __init__(self, what: str) -> None:
        self._what = what

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        del param, ctx
        text = str(value).removeprefix("sha256:").lower()
        if not LEAST <= len(text) <= _WHOLE or not set(text) <= _HEX:
            raise UsageError(
                f"not the digest of {self._what}: {str(value)[:80]!r}",
                hint=f"'outlast show' prints it: {LEAST} or more of its 64 hex digits are enough",
            )
        return text


DIGEST_START: Final = DigestStartType("a manifest")
accept_start_option = click.option(
    "--accept",
    "vouched",
    type=DIGEST_START,
    metavar="DIGEST",
    help="Run it, whose manifest has this digest, although nothing else speaks for it; that is "
    "remembered ('outlast accept' lists it)",
)
