"""The main job on a real model, step by step: archived in fewer bytes, interrupted, resumed, served
when the hub is gone, and run. Then a hub withdraws what is followed (`demo.watch`), a file rots and
a bundle crosses an air gap (`demo.durable`), copies that are not what they seem are refused
(`demo.trust`), the archive stands in for a hosted model (`demo.gateway`), the model is tuned
(`demo.tune`), servers that say what they serve are audited (`demo.audit`), and the swarm's story
(`demo.swarm`). Exit status 0 only if every step held.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.audit import told_apart
from demo.commands import PROGRAM, environment
from demo.durable import crossed, rotten
from demo.gateway import kept_up
from demo.sites import as_own_root
from demo.story import StepFailedError, megabytes, require, say, wait_until
from demo.trust import trusted
from demo.tune import learned
from demo.watch import watched
from outlast.core.digest import Digest
from outlast.store.archive import Archive
from outlast.store.layout import Layout
from outlast.store.partials import present_bytes
from tests.hubsim import HubRepo, HubSim
from tests.realweights import minilm_bf16, minilm_vocabulary, smollm2_gguf

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct-GGUF"
BF16 = "sentence-transformers/all-MiniLM-L6-v2"
QUESTION = "What is the capital of France? Answer in one short sentence."
HUB_RATE = 24_000_000


def command(home: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    return [*PROGRAM, *arguments], environment(home)


def outlast(home: Path, *arguments: str) -> str:
    """Runs a command of outlast on a node; what it printed."""
    say(f"    $ outlast {' '.join(arguments)}")
    line, environment = command(home, *arguments)
    done = subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise StepFailedError(f"outlast {arguments[0]} ended with status {done.returncode}")
    return done.stdout


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def serving(home: Path, *upstream: str) -> Iterator[str]:
    """`outlast serve` on a node; the URL."""
    behind = [word for url in upstream for word in ("--upstream", url)]
    arguments = ("serve", "--listen", "127.0.0.1:0", *behind)
    say(f"    $ outlast {' '.join(arguments)}")
    line, environment = command(home, *arguments)
    with subprocess.Popen(
        line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield (process.stdout.readline() if process.stdout else "").strip()
        finally:
            process.terminate()


class DeadHub:
    """Stands on the port of the hub that is gone and counts who still calls."""

    def __init__(self, url: str) -> None:
        self.calls = 0
        self._socket = socket.create_server(("127.0.0.1", int(url.rsplit(":", 1)[1])))
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            self.calls += 1
            connection.close()


def interrupted_pull(hub: HubSim, home: Path, size: int, digest: str) -> int:
    """Pulls until half of the file is here, then kills the process; the bytes that survived."""
    line, environment = command(home, "pull", MODEL, "--from", hub.url, "--quiet")
    say(f"    $ outlast pull {MODEL} --from {hub.url}")
    layout = Layout(home)
    with subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL) as process:
        wait_until(
            lambda: process.poll() is not None or present_bytes(layout, digest, size) > size // 2,
            "half of the file",
        )
        require(process.poll() is None, "the pull was still running at half of the file")
        process.kill()
    say("    kill -9")
    return present_bytes(layout, digest, size)


def stored(home: Path, model: str) -> tuple[int, int, str]:
    """The bytes of a model, those that hold it, and the form of its largest file."""
    about = json.loads(outlast(home, "show", model, "--json").splitlines()[-1])
    largest = max(about["forms"], key=lambda form: form["stored_bytes"])
    return about["bytes"], about["stored_bytes"], largest["form"]


def saved(size: int, held: int) -> str:
    return f"{megabytes(size)} in {megabytes(held)}, {1 - held / size:.1%} saved"


def decode_rate(home: Path, digest: str) -> float:
    """Bytes of a blob that one core decodes in a second: the best of five times."""
    best = 0.0
    with Archive(home) as archive, archive.open_blob(Digest(digest)) as blob:
        for _ in range(5):
            started = time.process_time()
            for _ in blob.chunks():
                pass
            best = max(best, blob.size / (time.process_time() - started))
    return best


def served_sha256(home: Path, model: str, name: str) -> str:
    """What a plain HTTP client gets from a node for a file."""
    with (
        serving(home) as endpoint,
        urllib.request.urlopen(f"{endpoint}/{model}/resolve/main/{name}") as reply,
    ):
        return hashlib.file_digest(reply, "sha256").hexdigest()


class Node:
    """Runs outlast for the story of `demo.watch`."""

    words = staticmethod(command)
    sha256 = staticmethod(served_sha256)


def bf16_model(folder: Path) -> list[tuple[str, str]]:
    """A model in bf16 is a third smaller, and costs no reader anything."""
    weights = minilm_bf16()
    digest = sha256(weights)
    home = folder / "a"
    outlast(home, "add", str(weights), "--as", BF16, "--quiet")
    size, held, form = stored(home, BF16)
    require(form == "capsule" and held < 0.7 * size, f"A holds {saved(size, held)}")
    require(served_sha256(home, BF16, weights.name) == digest, "a client gets the same bytes")
    return [
        ("bf16 weights (MiniLM)", saved(size, held)),
        ("decoded by one core", f"{decode_rate(home, digest) / 1e9:.1f} GB/s"),
    ]


def run_demo(folder: Path) -> list[tuple[str, str]]:
    started = time.monotonic()
    say("1. A real model: SmolLM2-135M-Instruct (GGUF, Q4_1), out of a package of the index")
    weights = smollm2_gguf()
    size, digest = weights.stat().st_size, sha256(weights)
    say(f"    {weights.name}, {megabytes(size)}, sha256 {digest[:16]}…")

    say("2. Node A archives it, and one in bf16 (MiniLM), in as few bytes as they need")
    source = folder / "model"
    source.mkdir()
    shutil.copy(weights, source)
    (source / "README.md").write_text("---\nlicense: apache-2.0\n---\n# SmolLM2 135M, as GGUF\n")
    outlast(folder / "a", "add", str(source), "--as", MODEL, "--quiet")
    require(digest in outlast(folder / "a", "show", MODEL, "--json"), "A has it under its sha256")
    whole, held, form = stored(folder / "a", MODEL)
    require(form == "capsule" and held < 0.9 * whole, f"A holds {saved(whole, held)}")
    bf16 = bf16_model(folder)

    say("3. A stand-in hub serves it; node B pulls, is killed half-way, and resumes")
    repo = HubRepo(folder / "hub", MODEL)
    repo.commit({path.name: path for path in sorted(source.iterdir())}, refs=["main"])
    with HubSim(folder / "hub") as hub:
        hub.set_faults([{"action": "slow", "file": "*.gguf", "rate": HUB_RATE // 4}])
        kept = interrupted_pull(hub, folder / "b", size, digest)
        say(f"    {megabytes(kept)} survived the kill")
        pulled = json.loads(
            outlast(folder / "b", "pull", MODEL, "--from", hub.url, "--json").splitlines()[-1]
        )
        sent = sum(e.sent for e in hub.requests() if e.file == weights.name)
        refetched = sent - size
        twice = f"{megabytes(refetched)} were fetched twice (at most 16 MiB)"
        require(0 <= refetched <= 16 * 2**20, twice)
        require(not pulled["partial"], "B's archive is complete")
        _, _, form = stored(folder / "b", MODEL)
        require(form == "capsule", "it was encoded while it arrived")
        url = hub.url
    say("4. The hub goes dark; an unmodified huggingface_hub client asks B")
    dead = DeadHub(url)
    with serving(folder / "b", url) as endpoint:
        got = client_download(endpoint, folder / "client", weights.name)
    require(sha256(got) == digest, "decoded for the client, the file has the same sha256")
    require(dead.calls == 0, "no request went to the dead hub")

    say("5. B runs it")
    limits = ("--temperature", "0", "--max-tokens", "40", "--json")
    answer = json.loads(outlast(folder / "b", "run", MODEL, QUESTION, *limits).splitlines()[-1])
    say(f"    > {QUESTION}\n    {answer['text'].strip()}")
    require(bool(answer["text"].strip()), "the model answered")

    others = further(folder, weights, digest)
    return [
        ("4-bit weights (SmolLM2)", saved(whole, held)),
        *bf16,
        ("bytes moved from the hub", megabytes(sent)),
        ("bytes fetched twice after kill -9", megabytes(refetched)),
        ("upstream requests after the hub went dark", str(dead.calls)),
        *others,
        ("tokens per second", f"{answer['usage']['tokens_per_second']:.1f}"),
        ("seconds in all", f"{time.monotonic() - started:.0f}"),
    ]


def further(folder: Path, weights: Path, digest: str) -> list[tuple[str, str]]:
    """What may befall models once they are archived, each in a scene; their lines of the table."""
    say("6. A hub withdraws what W follows: between two looks, and in the middle of a pull")
    followed = watched(folder, weights, digest, Node())

    say("7. A bit of a file flips on the disk of R while a client downloads it")
    mended = rotten(folder, MODEL, weights, digest, Node(), mirrored_download)

    say("8. The model crosses an air gap: on a stick, of which a tenth is damaged on the way")
    carried = crossed(folder, MODEL, QUESTION, Node())

    say("9. Who vouches for a model, with no hub to ask; and five copies that are refused")
    vouched = trusted(folder, Node())

    say("10. A hosted model is throttled, cut off and banned; the app that calls it goes on")
    called = kept_up(folder / "b", MODEL)

    say(
        "11. The model learns from ten lines; the adapter answers otherwise, and says what it is of"
    )
    tuned = learned(folder / "b", folder, MODEL)

    say("12. Two servers say that they serve a model in bf16; one serves it in 4 bits")
    audited = told_apart(folder)
    return [*followed, *mended, *carried, *vouched, *called, *tuned, *audited]


def client_download(endpoint: str, home: Path, name: str) -> Path:
    """`hf_hub_download` in a process of its own; the path of the file."""
    script = f"from huggingface_hub import hf_hub_download as d; print(d({MODEL!r}, {name!r}))"
    environment = dict(
        os.environ,
        HF_ENDPOINT=endpoint,
        HF_HOME=str(home),
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
    )
    say(f"    $ HF_ENDPOINT={endpoint} python -c 'hf_hub_download({MODEL!r}, {name!r})'")
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip().splitlines()[-1])


def mirrored_download(home: Path, hub: str, client: Path) -> str:
    """The sha256 of the weights as `hf_hub_download` gets them from a node with a hub behind it."""
    name = smollm2_gguf().name
    with serving(home, hub) as endpoint:
        return sha256(client_download(endpoint, client, name))


def print_table(rows: list[tuple[str, str]]) -> None:
    say()
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"    {name.ljust(width)}  {value}")
    say()


def swarm() -> bool:
    """The swarm's story, in a process of its own: it may need networks of its own."""
    minilm_vocabulary()  # while this process still reaches the package index
    line = as_own_root([sys.executable, "-m", "demo.swarm"])
    return subprocess.run(line, check=False).returncode == 0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="outlast-demo-") as folder:
        try:
            rows = run_demo(Path(folder))
        except (StepFailedError, subprocess.CalledProcessError) as error:
            say(f"FAILED: {error}")
            return 1
    print_table(rows)
    if not swarm():
        return 1
    say("every step held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
