"""verify.py as tests run it: in this process, or alone in one of its own."""

import contextlib
import importlib.util
import io
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import outlast

SCRIPT = Path(outlast.__file__).parent / "features" / "bundle" / "carried" / "verify.py"


@dataclass(frozen=True)
class Said:
    """What it said and returned. `faults`: the lines that name one."""

    status: int
    text: str

    @property
    def faults(self) -> list[str]:
        return [t for t in self.text.splitlines() if t.startswith(("WRONG", "DAMAGED"))]


@cache
def loaded() -> Any:
    spec = importlib.util.spec_from_file_location("carried_verify", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def verify(folder: Path, *arguments: str | Path) -> Said:
    """In this process, which is quicker."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = loaded().main(["--here", str(folder), "--jobs", "1", *map(str, arguments)])
    return Said(status, out.getvalue())


def run(command: Sequence[str | Path]) -> Said:
    """In a process that sees no package and no variable of ours."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env={}, cwd="/"
    )
    return Said(done.returncode, done.stdout + done.stderr)
