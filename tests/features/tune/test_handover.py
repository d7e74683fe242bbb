"""Trainings that other programs carry out: what they get, and what comes back."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from outlast.core.digest import Digest
from outlast.core.names import RepoId
from outlast.core.records.lineage import LineageRecord
from outlast.features.tune.handover.axolotl import axolotl_config
from outlast.features.tune.options import TuneOptions
from outlast.store.archive import Archive
from outlast.store.records.lineage import lineage_of
from tests.campaign import LONG
from tests.cli.call import inside
from tests.features.tune.adapters import write_adapter, write_base
from tests.features.tune.conftest import NAME

OPTIONS = ("--rank", "4", "--batch", "2", "--epochs", "6", "--rate", "0.02", "--held-out", "0.2")


@pytest.fixture(name="given")
def _given(tmp_path: Path) -> Path:
    """A home with a base that does not run."""
    inside("add", write_base(tmp_path / "base"), "--as", "org/base", home=tmp_path).ok()
    return tmp_path


def rows(folder: Path, kind: str = "messages") -> Path:
    kinds: dict[str, Any] = {
        "messages": lambda n: {
            "messages": [
                {"role": "user", "content": f"sea {n}?"},
                {"role": "assistant", "content": "wide"},
            ]
        },
        "prompt": lambda n: {"prompt": f"sea {n}", "completion": " wide", "more": 1},
        "text": lambda n: {"text": f"the sea is wide {n}"},
    }
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(kinds[kind](n)) + "\n" for n in range(5)))
    return path


def hand_over(home: Path, engine: str, data: Path, base: str = "org/base") -> Any:
    job = home / "job"
    words = ("--data", data, "--out", "me/fact", *OPTIONS, "--engine", engine, "--to", job)
    return inside("tune", base, *words, "--json", home=home).ok().result


def record_of(home: Path, name: str) -> LineageRecord:
    with Archive(home / "archive") as archive:
        found = lineage_of(archive, archive.revision(RepoId.parse(name)))
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["messages", "prompt", "text"])
def test_the_folder_has_all_that_is_needed(given: Path, kind: str) -> None:
    data = rows(given, kind)
    said = hand_over(given, "axolotl", data)
    assert (said["rows"], said["held_out"]) == (4, 1)
    job = given / "job"
    config = json.loads((job / "axolotl.yaml").read_text())
    assert Path(config["base_model"], "config.json").samefile(job / "base" / "config.json")
    assert (job / "base" / "model.safetensors").read_bytes() == (
        given / "base" / "model.safetensors"
    ).read_bytes()
    [dataset] = config["datasets"]
    handed = [json.loads(line) for line in Path(dataset["path"]).read_text().splitlines()]
    asked = [json.loads(line) for line in data.read_text().splitlines()]
    asked = [{key: row[key] for key in row if key != "more"} for row in asked]
    assert sorted(map(json.dumps, handed)) == sorted(map(json.dumps, asked))
    assert config["lora_r"] == 4
    assert config["num_epochs"] == 6
    assert said["run"].startswith("axolotl train ")
    assert "--take" in said["take"]


def test_what_comes_back_has_the_same_record(given: Path) -> None:
    data = rows(given)
    hand_over(given, "torchrun", data)
    write_adapter(given / "job" / "adapter", None, names="/somewhere/base")
    told = {
        "metrics": {"loss": 0.5, "steps": 12, "held_out_loss_after": 0.25},
        "versions": {"torch": "2.13.0"},
        "tokenizer": "ab" * 32,
    }
    (given / "job" / "adapter" / "metrics.json").write_text(json.dumps(told))
    call = ("tune", "org/base", "--take", given / "job", "--out", "me/fact", "--json")
    said = inside(*call, home=given).ok().result
    assert said["after"] == 0.25
    record = record_of(given, "me/fact")
    assert record.data == Digest.of(data.read_bytes())
    assert record.parameters["engine"] == "torchrun"
    assert record.parameters["rank"] == 4
    assert record.parameters["rate"] == 0.02
    assert record.versions["torch"] == "2.13.0"
    assert record.tokenizer == Digest("ab" * 32)
    assert record.seed == 0
    with Archive(given / "archive") as archive:
        found = archive.revision(RepoId.parse("me/fact"))
    assert found.paths == {
        *("README.md", "adapter_config.json", "adapter_model.safetensors", "lineage.json")
    }


def test_what_does_not_fit_is_refused(given: Path) -> None:
    data = rows(given)
    hand_over(given, "ray", data)
    assert (given / "job" / "ray_train.py").exists()
    inside("add", write_base(given / "two", fill=2), "--as", "org/two", home=given).ok()
    write_adapter(given / "job" / "adapter", None)
    take = ("--take", given / "job", "--out", "me/fact")
    call = inside("tune", "org/two", *take, home=given)
    assert call.code == 2
    assert "was handed over for org/base" in call.err
    other = given / "other.jsonl"
    other.write_text('{"text": "else"}\n{"text": "more"}\n')
    assert "with other data" in inside("tune", "org/base", *take, "--data", other, home=given).err
    again = ("--data", data, "--out", "me/x", "--engine", "ray", "--to", given / "job")
    assert "is not empty" in inside("tune", "org/base", *again, home=given).err
    half = ("--data", data, "--out", "me/x", "--engine", "ray")
    assert inside("tune", "org/base", *half, home=given).code == 2
    (given / "job" / "job.json").write_text('{"type": "urn:outlast:handover:v1"}')
    assert "lacks something" in inside("tune", "org/base", *take, home=given).err


def test_axolotl_gets_the_modules_that_were_named() -> None:
    config = axolotl_config(Path("/x"), "text", TuneOptions(targets=("q_proj",), steps=9), held=0)
    assert config["lora_target_modules"] == ["q_proj"]
    assert "lora_target_linear" not in config
    assert config["max_steps"] == 9
    assert "num_epochs" not in config


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="`make torture`: two processes that load torch")
def test_torchrun_trains_it(home: Path, torch_python: Path | None, packages: str) -> None:
    del packages
    data = rows(home)
    hand_over(home, "torchrun", data, NAME)
    python = torch_python or sys.executable
    command = [python, "-m", "torch.distributed.run", "--nproc-per-node", "2", "train.py"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    env.pop("PYTHONPATH", None)
    done = subprocess.run(
        command, cwd=home / "job", env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    take = ("tune", NAME, "--take", home / "job", "--out", "me/fact", "--json")
    said = inside(*take, home=home).ok().result
    assert said["steps"] == 12
    assert said["after"] < 0.9 * said["before"]
    record = record_of(home, "me/fact")
    assert record.versions["processes"] == "2"
    assert record.template is not None
