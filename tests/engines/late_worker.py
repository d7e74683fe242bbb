"""A worker that cannot load its model, and says why when it is asked to end."""

import atexit
import sys
from typing import NoReturn

from outlast.engines.worker import Json, RefusedError, work


def _load(config: Json) -> NoReturn:
    atexit.register(_last_words)
    raise RefusedError(f"cannot load {config['model']}")


def _last_words() -> None:
    sys.stdin.read()
    print("a tensor is missing", file=sys.stderr)


def main() -> None:
    work(_load)
