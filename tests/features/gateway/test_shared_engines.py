"""Several processes, one engine: the first process has it, and the others ask that one."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.campaign import in_torture
from tests.cli.call import inside
from tests.features.gateway.test_several_processes import serving
from tests.gguf_cut import small_smollm2
from tests.realweights import WeightsUnavailableError
from tests.warm.calls import finish

pytest.importorskip("xllamacpp")
pytestmark = list(in_torture)
ROUTES = """
[archive."me/model"]
threads = 1
context = 512
[routes.m]
targets = ["archive:me/model"]
first-token = 120
"""


def _engines(group: int) -> list[int]:
    """The engines below a process, at any depth."""
    parents = {}
    engines = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError, IndexError):
            stat = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            parents[int(name)] = int(stat[1])
            if b"llama_worker" in Path(f"/proc/{name}/cmdline").read_bytes():
                engines.append(int(name))

    def is_below(pid: int) -> bool:
        while pid in parents and pid != group:
            pid = parents[pid]
        return pid == group

    return [pid for pid in engines if is_below(pid)]


def test_all_processes_ask_one_engine(tmp_path: Path) -> None:
    try:
        weights = small_smollm2(tmp_path)
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    inside("add", str(weights), "--as", "me/model", "--form", "plain", home=tmp_path).ok()
    (tmp_path / "archive" / "gateway.toml").write_text(ROUTES)
    with serving(tmp_path, 3) as (caller, process):
        for _ in range(8):  # the kernel divides them
            answer = caller.chat(max_tokens=2, temperature=0)
            assert answer.status == 200, answer.body
            assert answer.headers["X-Outlast-Manifest"] == answer.json["outlast"]["manifest"]
        stream = caller.chat(stream=True, max_tokens=3, temperature=0)
        assert stream.done
        assert stream.note["engine"]
        (engine,) = _engines(process.pid)
        # What the caller did wrong comes back in the engine's own words.
        refused = [caller.chat(max_tokens=-5, n=2) for _ in range(6)]
        assert {answer.status for answer in refused} == {400}
        os.kill(engine, signal.SIGKILL)
        end = time.monotonic() + 120
        while (answer := caller.chat(max_tokens=2)).status != 200:
            assert answer.status in {502, 503}
            assert time.monotonic() < end
        assert len(_engines(process.pid)) == 1
        process.send_signal(signal.SIGTERM)
        assert finish(process).code == 0
    assert _engines(process.pid) == []
