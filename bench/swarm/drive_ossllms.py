"""The swarm engine of ossllms 0.3.0, by its own functions and as it is shipped. It runs in the
environment of that package: `python drive_ossllms.py make|seed|fetch JSON`.

`make` writes the release's torrent and prints its magnet; `seed` prints `ready` and seeds until it
is ended; `fetch` fetches by the magnet from `peers`, with no web seeds.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from ossllms.engine import LibtorrentEngine
from ossllms.seed import SeedFile, SeedHandoffPlan
from ossllms.seed_engine import LibtorrentSeedEngine
from ossllms.torrent import build_hybrid_v2_torrent

_REF = "org/bench@1"


def make(about: dict[str, Any]) -> None:
    made = build_hybrid_v2_torrent(Path(about["source"]), model_id="org/bench", version="1")
    Path(about["torrent"]).write_bytes(made.torrent_bytes)
    print(made.magnet, flush=True)


def seed(about: dict[str, Any]) -> None:
    path = Path(about["source"]) / about["file"]
    size = path.stat().st_size
    file = SeedFile(about["file"], path, size, about["sha256"], _REF)
    plan = SeedHandoffPlan("org/bench", "1", _REF, None, (file,), size, size)
    engine = LibtorrentSeedEngine(torrent_paths={_REF: about["torrent"]})
    engine.seed(plan)
    print("ready", flush=True)
    while True:
        time.sleep(3600)


def fetch(about: dict[str, Any]) -> None:
    engine = LibtorrentEngine(peers=about["peers"])
    artifact = {"path": about["file"], "size": about["size"], "sha256": about["sha256"]}
    manifest = {"torrent": {"magnet": about["magnet"], "web_seeds": []}, "artifacts": [artifact]}
    engine.fetch(manifest, about["save"])


if __name__ == "__main__":
    {"make": make, "seed": seed, "fetch": fetch}[sys.argv[1]](json.loads(sys.argv[2]))
