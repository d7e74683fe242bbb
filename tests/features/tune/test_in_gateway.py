"""Adapters of PEFT in the gateway: a real engine has the base once, a request names its adapter."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from outlast.core.names import RepoId
from outlast.core.records.lineage import LINEAGE_FILE, LineageRecord, MadeFrom, Making
from outlast.store.archive import Archive
from tests.campaign import LONG
from tests.cli.call import inside
from tests.engines.test_transformers_api import write_lora
from tests.features.gateway.gateways import Answer, Caller, gateway
from tests.features.tune.conftest import NAME
from tests.ports import free_port

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(not LONG, reason="`make torture`: it starts torch"),
]
ADAPTERS = ("me/facts", "me/style")
NAMES = (NAME, *(f"{NAME}+{adapter}" for adapter in ADAPTERS))
ROUTES = f"""
[endpoints.cloud]
url = "http://127.0.0.1:{{port}}/v1"
hosted = true
[archive."{NAME}"]
threads = 1
[routes."{NAME}"]
targets = ["cloud:big", "archive:{NAME}"]
adapters = ["me/facts", "me/style"]
first-token = 300
whole = 300
"""


def archived(home: Path, name: str, seed: int) -> str:
    """Archives an adapter of the tiny model; its manifest."""
    folder = home / name
    folder.mkdir(parents=True)
    write_peft(folder, seed)
    with Archive(home / "archive") as archive:
        base = archive.revision(RepoId.parse(NAME))
    record = LineageRecord(Making.ADAPTER, (MadeFrom(base.repo, base.digest, base.commit),), seed=1)
    (folder / LINEAGE_FILE).write_bytes(record.to_bytes())
    inside("add", folder, "--as", name, home=home).ok()
    with Archive(home / "archive") as archive:
        return archive.revision(RepoId.parse(name)).digest.hex


def write_peft(folder: Path, seed: int) -> None:
    """As PEFT writes it."""
    made = write_lora(folder / "adapter_model.safetensors", seed)
    config = {**made.config, "peft_type": "LORA", "base_model_name_or_path": NAME}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def says(caller: Caller, name: str) -> Answer:
    return caller.chat(model=name, max_tokens=6, temperature=0)


def test_each_request_has_its_own(home: Path, tmp_path: Path) -> None:
    manifests = [archived(home, name, seed) for seed, name in enumerate(ADAPTERS)]
    place = tmp_path / "gateway"
    place.mkdir()
    with (
        Archive(home / "archive") as archive,
        gateway(place, ROUTES.format(port=free_port()), archive=archive) as caller,
    ):
        alone = [says(caller, name) for name in NAMES]
        assert [answer.status for answer in alone] == [200] * 3, alone[0].body
        texts = [answer.json["choices"][0]["message"]["content"] for answer in alone]
        assert len(set(texts)) == 3
        # In another order and at once: nothing of one is in another.
        with ThreadPoolExecutor(6) as pool:
            again = list(pool.map(lambda name: says(caller, name), [*NAMES[::-1], *NAMES]))
        found = [answer.json["choices"][0]["message"]["content"] for answer in again]
        assert found == [*texts[::-1], *texts]
        streamed = caller.chat(model=NAMES[1], stream=True, max_tokens=6, temperature=0)
        assert streamed.text == texts[1]
        assert streamed.done
        # Each says which weights answered; the first target was down, and has no adapters.
        assert [answer.json["outlast"]["target"] for answer in alone] == [
            f"archive:{name}" for name in NAMES
        ]
        assert "X-Outlast-Adapter" not in alone[0].headers
        for answer, manifest in zip(alone[1:], manifests, strict=True):
            assert answer.headers["X-Outlast-Adapter"] == f"sha256:{manifest}"
            assert answer.headers["X-Outlast-Manifest"] == alone[0].headers["X-Outlast-Manifest"]
            assert re.search("transformers", answer.json["outlast"]["engine"])
            assert "passed" not in answer.json["outlast"]
        assert says(caller, f"{NAME}+me/other").status == 404
