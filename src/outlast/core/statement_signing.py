"""Signatures over statements, for features that have no keys of their own."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class StatementSigner(Protocol):
    """Signs statements (in-toto) with the user's keys, and says who signed one."""

    def names(self) -> list[str]:
        """The names of the user's keys."""

    def sign(
        self, statement: Mapping[str, Any], keys: Sequence[str], passphrase_file: "Path | None"
    ) -> bytes:
        """An envelope (DSSE) over the statement, which is given the public keys as `keys` in its
        predicate. Asks for passphrases at the terminal, unless a file has it. Raises
        :class:`~outlast.core.errors.UsageError`, :class:`NotFoundError` and :class:`BadKeyError`.
        """

    def check(self, envelope: bytes) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """The statement, and the fingerprints of the keys that it names, all of which signed it:
        whether they count is for the reader to say. Raises
        :class:`~outlast.core.errors.MalformedError` and :class:`BadSignatureError`.
        """
