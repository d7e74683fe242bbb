"""A wheel of a package that is installed here, made again from its files: the package index is not
asked, and does not have outlast.
"""

import base64
import hashlib
import io
import json
import zipfile
from importlib import metadata
from typing import Final

from outlast.core.errors import CorruptError, UsageError
from outlast.features.bundle.program.wheel_names import normalised

_NOT_OF_THE_WHEEL: Final = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}
"""What an installer adds to a package's own notes, and the list that is written anew."""
_OLDEST: Final = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE: Final = 0o100644 << 16


def wheel_of(package: str) -> tuple[str, bytes]:
    """The name and bytes of a wheel. The same installation gives the same bytes. Raises
    :class:`UsageError` for what is not installed from a wheel, and :class:`CorruptError` where a
    file is not the one that was installed.
    """
    hint = "build a wheel in its source with 'pip wheel --no-deps .', and name it with --wheel"
    try:
        found = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        raise UsageError(f"{package} is not installed as a package", hint=hint) from None
    tags = [
        line.partition(":")[2].strip().split("-")
        for line in (found.read_text("WHEEL") or "").splitlines()
        if line.startswith("Tag:")
    ]
    if _is_checkout(found) or not tags:
        raise UsageError(f"this {package} runs from its source, not from a wheel", hint=hint)
    lines, out = [], io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(found.files or []):
            if ".." in path.parts or "__pycache__" in path.parts:
                continue  # scripts and caches, which every installer makes for itself
            notes = path.parent.name.endswith(".dist-info")
            if notes and path.name in _NOT_OF_THE_WHEEL:
                continue
            data = _read(path)
            lines.append(f"{path},sha256={_encoded(data)},{len(data)}\n")
            _add(archive, str(path), data)
            if notes:
                record = f"{path.parent}/RECORD"
        _add(archive, record, "".join([*lines, f"{record},,\n"]).encode())
    parts = [".".join(sorted(set(column))) for column in zip(*tags, strict=True)]
    name = normalised(package).replace("-", "_")
    return f"{name}-{found.version}-{'-'.join(parts)}.whl", out.getvalue()


def _is_checkout(found: metadata.Distribution) -> bool:
    said = json.loads(found.read_text("direct_url.json") or "{}")
    return bool(said.get("dir_info", {}).get("editable"))


def _read(path: metadata.PackagePath) -> bytes:
    try:
        data = path.read_binary()
    except FileNotFoundError:
        raise CorruptError(f"{path} of the installed outlast is missing") from None
    if path.hash is not None and path.hash.value != _encoded(data):
        raise CorruptError(
            f"{path} of the installed outlast was changed",
            hint="install outlast anew, or name a wheel of it with --wheel",
        )
    return data


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _add(archive: zipfile.ZipFile, path: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(path, _OLDEST)
    entry.external_attr = _PLAIN_FILE
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, data)
