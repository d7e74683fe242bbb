"""Two servers say that they serve a model in bf16; one serves it in 4 bits. An audit tells which.

The model is the first two layers of SmolLM2, so that computing the reference takes seconds.
"""

import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from demo.commands import PROGRAM, environment, outlast
from demo.story import StepFailedError, require, say

_MODEL: Final = "me/small-bf16"
_FEW: Final = ("--prompts", "6", "--tokens", "8", "--calibration", "12", "--threads", "1")
_VERDICTS: Final = {"honest": ("consistent", 0), "in 4 bits": ("divergent", 10)}


def told_apart(folder: Path) -> list[tuple[str, str]]:
    """The scene; its line of the demo's table."""
    if find_spec("numpy") is None:
        say("    left out: numpy is not installed (pip install '.[audit]')")
        return []
    started = time.monotonic()
    mine, liar = folder / "auditor", folder / "liar"
    full, cut = _models(folder)
    outlast(environment(mine), "add", str(full), "--as", _MODEL, "--quiet")
    outlast(environment(liar), "add", str(cut), "--as", _MODEL, "--quiet")
    sizes = [sum(file.stat().st_size for file in one.iterdir()) for one in (full, cut)]
    say(f"    both servers call it {_MODEL}; {sizes[0] >> 20} MiB, and {sizes[1] >> 20} MiB")
    for home, (name, (verdict, status)) in zip((mine, liar), _VERDICTS.items(), strict=True):
        page = folder / f"outlast-demo-{verdict}.html"
        with _serving(home) as url:
            done = _audit(mine, url, page)
        for line in done.stdout.splitlines():
            say(f"    | {line}")
        require(done.returncode == status, f"the one that is {name}: {verdict}, status {status}")
        kept = Path(tempfile.gettempdir(), page.name)
        shutil.copy(page, kept)
        require(kept.stat().st_size > 10_000, f"its page, for a browser: {kept}")
        report = str(page.with_suffix(".json"))
        again = outlast(environment(mine), "audit", "replay", report, "--json", status=status)
        require(json.loads(again.splitlines()[-1])["same"], "the report gives the same verdict")
    return [("seconds for two audits", f"{time.monotonic() - started:.0f}")]


def _models(folder: Path) -> tuple[Path, Path]:
    """Folders with the model in bf16, and in 4 bits."""
    from tests.features.audit.models import (  # noqa: PLC0415 - needs numpy
        as_q4_0,
        small_bf16,
        small_f16,
    )

    full, cut, source = folder / "bf16", folder / "int4", folder / "f16"
    full.mkdir()
    cut.mkdir()
    half = small_f16(source)
    small_bf16(half, full / "small-BF16.gguf")
    as_q4_0(half, cut / "small-BF16.gguf")
    return full, cut


@contextmanager
def _serving(home: Path) -> Iterator[str]:
    """`outlast run --api`; its URL up to /v1."""
    arguments = ("run", _MODEL, "--api", "127.0.0.1:0", "--threads", "1", "--context", "512")
    say(f"    $ outlast {' '.join(arguments)}")
    with subprocess.Popen(
        [*PROGRAM, *arguments, "--json"],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield _address(process.stdout or ())
        finally:
            process.send_signal(signal.SIGTERM)


def _address(lines: Iterable[str]) -> str:
    for line in lines:
        said = json.loads(line)
        if said["type"] == "serving":
            return str(said["url"])
    raise StepFailedError("the server did not start")


def _audit(home: Path, url: str, page: Path) -> "subprocess.CompletedProcess[str]":
    report = page.with_suffix(".json")
    told: Sequence[str] = ("--page", str(page), "--report", str(report), "--unsigned")
    arguments = ("audit", url, "--model", _MODEL, "--against", _MODEL)
    say(f"    $ outlast {' '.join(arguments)} --page {page.name}")
    return subprocess.run(
        [*PROGRAM, *arguments, *_FEW, *told],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
