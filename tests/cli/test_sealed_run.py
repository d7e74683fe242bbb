"""`outlast run --sealed`, with a real engine; and what its API says of where answers come from."""

import json
import signal
import urllib.request
from pathlib import Path

import pytest

from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.records.logs.sealed_runs import SealedRun, SealedRuns
from tests.cli.call import finish, inside, start
from tests.gguf_cut import small_smollm2
from tests.realweights import WeightsUnavailableError

RUN = ("run", "me/model", "--sealed", "--threads", "1")
LOCKS = ("network namespace", "seccomp filter")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    pytest.importorskip("xllamacpp")
    try:
        weights = small_smollm2(tmp_path)
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    inside("add", str(weights), "--as", "me/model", "--form", "plain", home=tmp_path).ok()
    return tmp_path


def runs(home: Path) -> tuple[str, list[SealedRun]]:
    with Archive(home / "archive") as archive:
        manifest = archive.revision(RepoId.parse("me/model")).digest
        return manifest.hex, list(SealedRuns(archive.layout.home).of(manifest))


def test_an_answer_leaves_a_note(home: Path) -> None:
    call = inside(*RUN, "Hi", "--max-tokens", "2", home=home).ok()
    assert "sealed: network namespace and seccomp filter" in call.err
    _, [run] = runs(home)
    assert (run.by, run.requests, run.packets) == (LOCKS, 1, 0)
    assert run.engine.startswith("xllamacpp ")
    inside("run", "me/model", "Hi", "--max-tokens", "2", "--threads", "1", home=home).ok()
    assert len(runs(home)[1]) == 1  # that run was not sealed


def test_the_api_says_what_answers(home: Path) -> None:
    process = start(*RUN, "--api", "127.0.0.1:0", home=home)
    assert process.stdout is not None
    url = process.stdout.readline().decode().strip()
    try:
        assert url.startswith("http://"), finish(process).err
        manifest, _ = runs(home)
        for stream in (False, True):
            body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
            data = json.dumps(body | {"stream": stream}).encode()
            with urllib.request.urlopen(f"{url}/chat/completions", data) as answer:
                assert answer.headers["X-Outlast-Manifest"] == f"sha256:{manifest}"
                assert answer.headers["X-Outlast-Sealed"] == ", ".join(LOCKS)
                first = answer.read().split(b"\n")[0].removeprefix(b"data: ")
            said = json.loads(first)["outlast"]
            assert said["manifest"] == f"sha256:{manifest}"
            assert said["engine"].startswith("xllamacpp ")
        with urllib.request.urlopen(f"{url}/models") as answer:
            assert json.loads(answer.read())["outlast"] == said
    finally:
        process.send_signal(signal.SIGTERM)
        finish(process)
    _, [run] = runs(home)
    assert (run.requests, run.packets) == (2, 0)
