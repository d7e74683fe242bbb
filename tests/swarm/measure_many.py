"""What it costs to serve an archive of many blobs. Run by hand:

    python -m tests.swarm.measure_many [BLOBS]

Makes a model with so many files (5,000) of 64 KiB to 1 MiB in a temp folder, serves it twice with
all of it seeded, and prints the time until all are, memory, what an idle node takes of a core, and
what the second start read: no blob may be read again.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from outlast.codec.hashing import names_of
from outlast.core.digest import GitOid
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.node.status_client import ask_nodes
from outlast.store.archive import Archive

KIB = 1024
IDLE_S = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")


def make(home: Path, count: int) -> int:
    """An archive of `count` blobs; its bytes."""
    random = Random(1)
    unit = random.randbytes(1024 * KIB)
    entries = []
    with Archive(home, create=True) as archive, archive.writer() as writer:
        for number in range(count):
            size = random.randrange(64 * KIB, 1024 * KIB)
            data = b"%d" % number + unit[: size - 8]
            names = names_of(data)
            temp = writer.temp()
            temp.write_bytes(data)  # not worth a sync each
            writer.publish_blob(temp, names.sha256, names.size)
            archive.note_names(names)
            entries.append(FileEntry(f"f{number:05}", len(data)).with_names(names))
        revision = Revision.of(RepoId.parse("org/many"), GitOid("c" * 40), entries)
        archive.put_revision(writer, revision)
    return sum(entry.size for entry in entries)


def proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def cpu_seconds(pid: int) -> float:
    fields = proc(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss(pid: int) -> int:
    """Bytes."""
    lines = dict(line.split(":", 1) for line in proc(pid, "status").splitlines())
    return int(lines["VmRSS"].split()[0]) * KIB


def was_read(pid: int) -> int:
    """Bytes that all reads returned."""
    lines = dict(line.split(": ") for line in proc(pid, "io").splitlines())
    return int(lines["rchar"])


def seeded(home: Path) -> int:
    return sum(node.seeding for node in ask_nodes(home).nodes)


def serve(home: Path, count: int) -> dict[str, float]:
    line = [sys.executable, "-m", "outlast", "serve", "--listen", "127.0.0.1:0", "--json"]
    env = dict(os.environ, OUTLAST_SWARM="1", XDG_CONFIG_HOME=str(home / "no-config"))
    began = time.monotonic()
    server = subprocess.Popen(
        [*line, "--home", str(home)],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while seeded(home) < count:
            if server.poll() is not None or time.monotonic() - began > 600:
                raise SystemExit("it does not seed all")
            time.sleep(0.02)
        ready = time.monotonic() - began
        read, first = was_read(server.pid), cpu_seconds(server.pid)
        time.sleep(5)
        before = cpu_seconds(server.pid)
        time.sleep(IDLE_S)
        idle = (cpu_seconds(server.pid) - before) / IDLE_S
        return {
            "seconds until all are seeded": round(ready, 2),
            "cpu seconds until then": round(first, 2),
            "MB read until then": round(read / 1e6, 1),
            "MB resident": round(rss(server.pid) / 1e6, 1),
            "percent of a core, idle": round(100 * idle, 2),
        }
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "archive"
        size = make(home, count)
        print(f"{count} blobs, {size / 1e6:.0f} MB")
        for start in ("first start", "second start"):
            print(start, json.dumps(serve(home, count)))


if __name__ == "__main__":
    main()
