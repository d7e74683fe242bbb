"""Gives an engine a model together with the code that the operator allowed: in a private folder,
with copies of the bytes that were hashed here. Runs in the worker.
"""

import hashlib
import os
from collections.abc import Mapping
from typing import Any, Final

from outlast.engines.worker import RefusedError

MAX_CODE_FILE: Final = 4 * 1024 * 1024
"""Bytes of one file."""


def folder_with_code(model: str, code: Mapping[str, Mapping[str, Any]], place: str) -> str:
    """Makes the folder `place`, with links to all in `model` and the files of `code`: by path in
    the model, the `file` that has the bytes and their `sha256`. Returns `place`. Raises
    :class:`RefusedError` where bytes are others, and nothing of them is there then.
    """
    found = {path: _verified(path, one["file"], one["sha256"]) for path, one in code.items()}
    folders = {""} | {parent for path in found for parent in _parents(path)}
    for folder in sorted(folders):
        os.mkdir(os.path.join(place, folder) if folder else place)
        here = os.path.join(model, folder)
        for name in sorted(os.listdir(here)) if os.path.isdir(here) else ():
            inner = f"{folder}/{name}" if folder else name
            if inner not in folders and inner not in found:
                os.symlink(os.path.abspath(os.path.join(here, name)), os.path.join(place, inner))
    for path, data in found.items():
        with open(os.path.join(place, path), "xb") as file:
            file.write(data)
    return place


def _verified(path: str, file: str, sha256: str) -> bytes:
    with open(file, "rb") as opened:
        data = opened.read(MAX_CODE_FILE + 1)
    if len(data) > MAX_CODE_FILE:
        raise RefusedError(f"{path} has more than {MAX_CODE_FILE} bytes of code")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RefusedError(
            f"{path} is not the code that was allowed", "'outlast verify' tells whether it rotted"
        )
    return data


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
