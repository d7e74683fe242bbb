"""outlast as it was before it read checked, to measure what checking costs: built once from the
repository's own history, into an environment that shares the dependencies of this one.
"""

import io
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

from bench.stage import MissingPeerError
from tests.clients import envs

COMMIT = "d5a312def34b779a49137ce948c032639ec324df"
_ROOT = Path(__file__).parent.parent.parent
_SECONDS = 1800


def python() -> Path:
    """The Python that runs it. Raises :class:`MissingPeerError` where it cannot be built."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = envs.cache_folder() / f"before-{COMMIT[:12]}-{version}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return envs.make_once(folder, _make) / "bin" / "python"
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", b"") or b""
        words = said.decode(errors="replace").strip()[-500:]
        raise MissingPeerError(
            f"{COMMIT[:12]}, before reading was checked, could not be built: {words or error}"
        ) from error


def _make(folder: Path) -> None:
    _run(sys.executable, "-m", "venv", "--without-pip", folder)
    (site,) = (folder / "lib").glob("python*/site-packages")
    # A path in a .pth file is searched, and no .pth file in it: an editable outlast stays out.
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    tar = _run("git", "-C", _ROOT, "archive", COMMIT)
    with tempfile.TemporaryDirectory(prefix="outlast-bench-") as source:
        with tarfile.open(fileobj=io.BytesIO(tar)) as files:
            files.extractall(source, filter="data")
        options = ("--quiet", "--no-deps", "--no-build-isolation", "--target", site)
        _run(sys.executable, "-m", "pip", "install", *options, source)


def _run(*command: str | Path) -> bytes:
    done = subprocess.run(command, capture_output=True, check=True, timeout=_SECONDS)
    return done.stdout
