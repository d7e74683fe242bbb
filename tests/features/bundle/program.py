"""A program as small as can be, in wheels of tests' own: what bundles carry in place of outlast."""

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from outlast.core.digest import Digest
from outlast.features.bundle.program.installed import wheel_of
from outlast.features.bundle.program.lock import Pinned
from outlast.features.bundle.program.wheel_names import WheelName, machine

HERE = machine(None, "linux-x86_64")
SAYS = "from tinydep import WORD\ndef run():\n    print(WORD)\n"


def make_wheel(folder: Path, package: str, files: Mapping[str, str], requires: str = "") -> Path:
    """A wheel of version 1.0 for every Python."""
    notes = f"{package}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    every = {
        **files,
        f"{notes}/METADATA": metadata,
        f"{notes}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{notes}/RECORD"
    lines = [f"{path},sha256={_sum(text)},{len(text)}\n" for path, text in every.items()]
    path = folder / f"{package}-1.0-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**every, record: "".join([*lines, f"{record},,\n"])}.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return path


def _sum(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@cache
def pip_wheel() -> tuple[str, bytes]:
    """A real pip, made of the one that is installed here."""
    return wheel_of("pip")


def make_wheels(folder: Path) -> tuple[Path, list[Path]]:
    """An `outlast` that prints one word, and a folder with what it needs."""
    script = "[console_scripts]\noutlast = outlast:run\n"
    points = {"outlast-1.0.dist-info/entry_points.txt": script}
    own = make_wheel(folder / "own", "outlast", {"outlast.py": SAYS, **points}, "tinydep")
    needed = make_wheel(folder / "needed", "tinydep", {"tinydep.py": "WORD = 'it runs'\n"})
    name, data = pip_wheel()
    pip = needed.with_name(name)
    pip.write_bytes(data)
    return own, [needed, pip]


def pins(wheels: Sequence[Path]) -> list[Pinned]:
    names = [WheelName.parse(path.name) for path in wheels]
    return [
        Pinned(name.package, name.version, "", frozenset([Digest.of(path.read_bytes())]))
        for name, path in zip(names, wheels, strict=True)
    ]
