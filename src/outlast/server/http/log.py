"""The server's log: one JSON object a line, on stderr."""

import contextlib
import json
import logging
import sys
import time
import traceback
from typing import Any


def log_line(fields: dict[str, Any]) -> None:
    """Writes one line."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # The reader may be gone, or the disk of the log full: the server goes on.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(json.dumps({"time": stamp, **fields}) + "\n")


def log_bug(where: str, error: BaseException | None = None) -> None:
    """Writes the traceback of `error`, or else of the exception that is being handled."""
    trace = traceback.format_exc() if error is None else traceback.format_exception(error)
    log_line({"level": "error", "what": where, "traceback": "".join(trace)})


class _Handler(logging.Handler):
    """Turns what libraries log into our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"level": record.levelname.lower(), "what": "outlast.http"}
        fields["message"] = record.getMessage()[:2000]
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            fields["error"] = f"{type(error).__name__}: {error}"[:2000]
        log_line(fields)


def quiet_logger(level: int) -> logging.Logger:
    """A logger for the HTTP library: what is not below `level`, a line each."""
    logger = logging.getLogger(f"outlast.http.{level}")
    logger.handlers = [_Handler()]
    logger.setLevel(level)
    logger.propagate = False
    return logger
