"""python-tuf, which the extra [trust] installs: whether it is there, and its faults as ours."""

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import Final

from outlast.core.errors import CatalogueRefusedError, UsageError

_NAMES: Final = ("tuf", "securesystemslib", "cryptography")


def has_library() -> bool:
    """Whether the libraries of catalogues are installed."""
    return all(importlib.util.find_spec(name) is not None for name in _NAMES)


def require_tuf() -> None:
    """Raises :class:`UsageError` where they are not."""
    for name in _NAMES:
        if importlib.util.find_spec(name) is None:
            raise UsageError(
                f"catalogues need the library {name}, which is not installed",
                hint="pip install '.[trust]' in a checkout of outlast",
            )


@contextlib.contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turns what python-tuf raises about bytes from outside into :class:`CatalogueRefusedError`:
    its own errors, and those of Python about a field that is missing or of another type.
    """
    from securesystemslib.exceptions import Error as SigningError  # noqa: PLC0415 - of [trust]
    from tuf.api.exceptions import RepositoryError  # noqa: PLC0415

    try:
        yield
    except (RepositoryError, SigningError) as error:
        raise CatalogueRefusedError(f"{what}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise CatalogueRefusedError(
            f"{what} is malformed: {type(error).__name__} {error}"
        ) from error
