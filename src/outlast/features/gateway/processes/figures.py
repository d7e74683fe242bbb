"""The figures of all processes of a gateway as those of one."""

import http.client
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from outlast.features.gateway.processes.sockets import read
from outlast.features.gateway.processes.status import METRICS_PATH

_MOST: Final = 16 * 1024 * 1024
_SECONDS: Final = 2.0
_ALIKE: Final = ("outlast_gateway_breaker",)
"""What processes know together, and what says when they began: the highest counts, not the sum."""
_log = logging.getLogger(__name__)


def figures_of_all(own: bytes, others: Iterable[Path]) -> bytes:
    """`own` in Prometheus' exposition format, together with what the processes behind these sockets
    have. One that does not answer is left out, and logged. Takes as long as they do.
    """
    texts = [own]
    for path in others:
        try:
            texts.append(read(path, METRICS_PATH, _MOST, _SECONDS))
        except (OSError, http.client.HTTPException) as error:
            _log.warning("a process's figures are left out: %s", error)
    return added(texts)


def added(texts: Sequence[bytes]) -> bytes:
    """Texts with the same families as one: samples with the same name and labels are added."""
    found: dict[str, list[tuple[str, float]]] = {}
    heads: dict[str, list[str]] = {}
    for text in texts:
        family = ""
        for line in text.decode().splitlines():
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                head = heads.setdefault(family, [])
                if len(head) < 2:
                    head.append(line)
            elif line:
                name, _, said = line.rpartition(" ")
                found.setdefault(family, []).append((name, float(said)))
    lines = []
    for family, head in heads.items():
        samples: dict[str, float] = {}
        for name, value in found.get(family, ()):
            alike = family in _ALIKE or family.endswith("_created")
            before = samples.get(name, 0.0)
            samples[name] = max(before, value) if alike else before + value
        lines += head + [f"{name} {value}" for name, value in samples.items()]
    return "\n".join([*lines, ""]).encode()
