"""Diagnostics: `--debug` and OUTLAST_LOG print on stderr why each decision was made.

Every module logs to ``logging.getLogger(__name__)``. Without either switch no logger is changed
and no record is made. Lines never leave this process with a secret in them: see :class:`Redact`.
"""

import contextlib
import importlib.util
import logging
import pkgutil
import re
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias

import outlast
from outlast.core.errors import UsageError, one_line

VARIABLE: Final = "OUTLAST_LOG"
_ROOT: Final = "outlast"
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_PACKAGE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\Z")
_LINE_LIMIT: Final = 4000
_MIN_SECRET: Final = 6
"""Characters of the shortest secret that is looked for: shorter ones occur in ordinary words."""
_HIDDEN: Final = "***"

Levels: TypeAlias = Mapping[str, int]
"""The level of each logger that was asked for, by the logger's full name."""
Write: TypeAlias = Callable[[str], None]
WriteFields: TypeAlias = Callable[[dict[str, Any]], None]


def parse_levels(text: str) -> Levels:
    """The meaning of OUTLAST_LOG: ``debug`` for all packages, ``p2p=debug,fetch=info`` for some,
    or both, separated by commas. Empty: none. Raises :class:`UsageError`.
    """
    levels: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        package, equals, name = part.rpartition("=")
        level = _LEVELS.get(name.strip().lower())
        if level is None:
            raise UsageError(
                f"{VARIABLE}: not a level: {name.strip()!r}", hint=f"known: {', '.join(_LEVELS)}"
            )
        levels[_logger_name(package.strip()) if equals else _ROOT] = level
    return levels


def _logger_name(package: str) -> str:
    name = f"{_ROOT}.{package}"
    try:
        known = _PACKAGE.match(package) and importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        known = False
    if not known:
        packages = ", ".join(m.name for m in pkgutil.iter_modules(outlast.__path__) if m.ispkg)
        raise UsageError(f"{VARIABLE}: no package {package!r}", hint=f"known: {packages}")
    return name


class Redact(logging.Filter):
    """Removes secrets from every record: the `secrets` of the configuration by value;
    tokens, passwords and query strings by their form. Callers do not log secrets; this is the
    second line of defence.
    """

    _PATTERNS: Final = tuple(
        (re.compile(pattern, re.IGNORECASE), replacement)
        for pattern, replacement in (
            # user:password@ of a URL; the last @ before the path counts
            (r"([a-z][a-z0-9+.-]{0,20}://)[^\s/?#]*@", rf"\1{_HIDDEN}@"),
            # what follows the ? of a URL: signatures, keys of trackers
            (r"([a-z][a-z0-9+.-]{0,20}://[^\s?#\"'<>]*)\?[^\s\"'<>]*", rf"\1?{_HIDDEN}"),
            # a magnet link names trackers with keys in them: only its first infohash is kept
            (r"(magnet:\?(?:xt=[a-z0-9:]*)?)[^\s\"'<>]*", rf"\1{_HIDDEN}"),
            # headers, as they are sent or as they print in a mapping
            (
                r"((?:proxy-)?authorization|(?:set-)?cookie)(['\"]?\s*[:=]\s*)[^\r\n,}]*",
                rf"\1\2{_HIDDEN}",
            ),
            (r"\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}", rf"\1 {_HIDDEN}"),
            (
                r"([?&;][\w-]{0,60}(?:token|signature|key|secret|credential)[\w-]{0,60}=)[^\s&\"']+",
                r"\1***",
            ),
            (r"\bhf_[a-z0-9_]{8,}", f"hf_{_HIDDEN}"),
        )
    )

    def __init__(self, secrets: Collection[str] = ()) -> None:
        super().__init__()
        long_enough = {secret for secret in secrets if len(secret) >= _MIN_SECRET}
        self._secrets = sorted(long_enough, key=len, reverse=True)

    def filter(self, record: logging.LogRecord) -> bool:
        """Redacts the message and the traceback of a record, in place; keeps every record."""
        record.msg, record.args = self.redact(record.getMessage()), None
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            record.exc_text = self.redact("".join(traceback.format_exception(error)))
        if record.stack_info:
            record.stack_info = self.redact(record.stack_info)
        return True

    def redact(self, text: str) -> str:
        """`text` with every secret replaced by ``***``."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        for pattern, replacement in self._PATTERNS:
            text = pattern.sub(replacement, text)
        return text


class _RedactingHandler(logging.Handler):
    """Gives every record to `emit_fields`, with secrets removed."""

    def __init__(self, emit_fields: WriteFields, secrets: Collection[str]) -> None:
        super().__init__()
        self._emit_fields = emit_fields
        self.addFilter(Redact(secrets))

    def emit(self, record: logging.LogRecord) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = {
            "time": f"{stamp}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "what": record.name,
            "message": one_line(str(record.msg), _LINE_LIMIT),
        }
        if record.exc_text:
            fields["traceback"] = record.exc_text
        self._emit_fields(fields)


def as_text(write: Write) -> WriteFields:
    """Writes a record as a line for people: time, level, package, message. A traceback follows."""

    def emit(fields: dict[str, Any]) -> None:
        package = fields["what"].removeprefix(f"{_ROOT}.")
        write(f"{fields['time']} {fields['level']:7} {package}: {fields['message']}")
        for line in fields.get("traceback", "").splitlines():
            write(f"  {line}")

    return emit


@contextlib.contextmanager
def logging_to(emit: WriteFields, levels: Levels, secrets: Collection[str] = ()) -> Iterator[None]:
    """While the block runs, what the loggers in `levels` say goes to `emit`, from any thread."""
    handler = _RedactingHandler(emit, secrets)
    root = logging.getLogger(_ROOT)
    before = {name: logging.getLogger(name).level for name in (*levels, _ROOT)}
    root.setLevel(logging.CRITICAL)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
