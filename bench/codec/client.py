"""Asks the workers."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from bench.process import BenchError

_ROOT = Path(__file__).parent.parent.parent
_FAREWELL = 10.0
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
    "MALLOC_ARENA_MAX": "1",
}


class Client:
    """A worker process. Raises :class:`BenchError` where it answers with an error or ends."""

    def __init__(self, python: Path, module: str, *arguments: str, said: Path) -> None:
        environment = {
            **os.environ,
            **_ALLOCATOR,
            **dict.fromkeys(_ONE_THREAD, "1"),
            "PYTHONPATH": os.pathsep.join((str(_ROOT), os.environ.get("PYTHONPATH", ""))),
        }
        self._said = said
        with said.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-m", "bench.codec.worker", module, *arguments],
                env=environment,
                cwd=said.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, name: str, *arguments: Any) -> Any:
        """Has a request answered."""
        ask, answers = self._process.stdin, self._process.stdout
        assert ask is not None
        assert answers is not None
        try:
            ask.write(json.dumps([name, arguments]) + "\n")
            ask.flush()
            line = answers.readline()
        except OSError:
            line = ""
        if not line:
            code, said = self._process.wait(), self._said.read_text(errors="replace")[-1000:]
            raise BenchError(f"the codecs' process ended with {code}: {said}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise BenchError(f"{name} {' '.join(map(str, arguments))}: {reply['error']}")
        return reply["reply"]

    def close(self) -> None:
        """Lets it end by itself, which clears what it keeps in files."""
        try:
            self._process.communicate(timeout=_FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
