"""The fine-tunes of MiniLM: trained once by recipe.py, kept in the cache."""

import fcntl
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from bench import peers
from bench.process import BenchError
from tests import realweights

_ROOT = Path(__file__).parent.parent.parent
_RECIPE = Path(__file__).with_name("recipe.py")
_REQUIREMENTS = _ROOT / "requirements" / "bench-codec.txt"
_SECONDS = 1800


def base() -> Path:
    """What they were trained from: MiniLM in bf16."""
    return realweights.minilm_bf16()


def tuned(name: str) -> Path:
    """One of them, in bf16: after ``15`` or ``60`` steps, or the latter's difference ``x8`` or
    ``x40``.
    """
    return _folder() / f"{name}.safetensors"


def _folder() -> Path:
    made_of = (_RECIPE, _REQUIREMENTS, base(), realweights.minilm_vocabulary())
    key = hashlib.sha256(b"".join(hashlib.sha256(p.read_bytes()).digest() for p in made_of))
    folder = realweights.cache_folder() / f"finetune-{key.hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".training-") as work:
                made = Path(work) / "made"
                made.mkdir()
                _train(made)
                made.rename(folder)
    return folder


def _train(folder: Path) -> None:
    python = peers.codecs() / "python"
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    try:
        subprocess.run(
            [python, "-m", "bench.codec.recipe", base(), realweights.minilm_vocabulary(), folder],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stderr", ""))[-1000:]
        raise BenchError(f"the fine-tune could not be trained: {error}\n{said}") from error
