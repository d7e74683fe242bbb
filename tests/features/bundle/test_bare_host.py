"""A bundle on a host without a network and without a package: how long until its first answer?"""

import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from outlast.core.control import Control
from outlast.features.bundle.planning import ExportWishes
from outlast.features.bundle.program.gather import ProgramWishes, gather
from outlast.features.bundle.program.wheel_names import machine
from outlast.store.archive import Archive
from tests.features.bundle.world import export_to, put
from tests.realweights import smollm2_gguf

ROOT = Path(__file__).parents[3]
SECONDS = 120.0
"""From the first command to the end of the first answer, as promised. Those of the processor count:
on a machine that does nothing else they are at least as many as those on the wall.
"""
_PYTHON = Path("/usr/bin/python3")
_MODEL = "org/smol"
_BARE = """
set -eu
for folder in /usr/lib/python3/dist-packages /usr/share/python-wheels /usr/local /opt; do
    [ ! -d "$folder" ] || mount -t tmpfs none "$folder"
done
[ "$(cat /proc/net/dev | grep -c :)" = 1 ]  # the loopback, which is down
cd /
exec env -i PATH=/usr/bin:/bin HOME="$1" sh -eu -c "$2"
"""


def bare(home: Path, command: str) -> str:
    """Runs a command as on a fresh Debian with its Python: no network, no packages, no settings.
    The empty folders are mounted for this command alone.
    """
    own: list[str | Path] = [
        "unshare",
        "--net",
        "--mount",
        "sh",
        "-c",
        _BARE,
        "bare",
        home,
        command,
    ]
    done = subprocess.run(own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.torture
@pytest.mark.net
@pytest.mark.skipif(not os.environ.get("OUTLAST_TORTURE"), reason="compiles the kernels anew")
def test_the_first_answer(tmp_path: Path) -> None:
    if not _PYTHON.exists() or os.geteuid() or not shutil.which("unshare"):
        pytest.skip("needs root, unshare, and a Python of the system")
    minor = subprocess.run(
        [_PYTHON, "-c", "import sys; print(sys.version_info.minor)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    if int(minor.stdout) != sys.version_info.minor:
        pytest.skip("the system's Python is of another version than this one")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, f"--wheel-dir={tmp_path}", ROOT], check=True, cwd=tmp_path)
    wishes = ProgramWishes([machine()], [*tmp_path.glob("outlast-*.whl")])
    program = gather(wishes, Control())
    usb, home = tmp_path / "usb", tmp_path / "home"
    with Archive(tmp_path / "archive", create=True) as archive:
        put(archive, tmp_path, {"smol.gguf": smollm2_gguf().read_bytes()}, _MODEL)
        export_to(archive, usb, _MODEL, wishes=ExportWishes(program=program))
    home.mkdir()
    outlast = home / ".local" / "lib" / "outlast" / "bin" / "outlast"
    steps = {
        "install": f"sh {usb}/install.sh",
        "import": f"{outlast} import {usb}",
        "answer": f'{outlast} run {_MODEL} --temperature 0 --max-tokens 12 "Capital of France?"',
    }
    took: dict[str, float] = {}
    for name, command in steps.items():
        wall, begun = time.monotonic(), _processor()
        said = bare(home, command)
        took[name] = _processor() - begun
        print(f"{name}: {took[name]:.1f} s of a processor, {time.monotonic() - wall:.1f} s")
    assert "capital" in said
    assert sum(took.values()) <= SECONDS


def _processor() -> float:
    """Seconds of a processor that all ended commands took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
