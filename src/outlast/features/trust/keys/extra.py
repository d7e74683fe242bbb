"""What trust needs from the package index."""

import importlib.util

from outlast.core.errors import UsageError

INSTALL = "pip install '.[trust]' in a checkout of outlast"


def has_cryptography() -> bool:
    """Whether signatures can be made and checked here."""
    return importlib.util.find_spec("cryptography") is not None


def has_sigstore() -> bool:
    """Whether signatures by certificates of sigstore can be checked here."""
    return importlib.util.find_spec("sigstore") is not None


def require_cryptography() -> None:
    """Raises :class:`UsageError` where `cryptography` is not installed."""
    if not has_cryptography():
        raise UsageError("keys and signatures need the Python package cryptography", hint=INSTALL)
