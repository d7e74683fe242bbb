"""A mirror that keeps what passes through it as capsules: its clients see plain bytes, always."""

import threading
from functools import partial
from pathlib import Path

import pytest

from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.store.archive import Archive
from tests.hubsim import HubRepo, HubSim
from tests.pull.weights import bf16, packed, tuned
from tests.realweights import Tensor
from tests.serve.node import Node, until
from tests.serve.upstream import MIB, same, target

NAME = "model.safetensors"
MODEL = "org/model"
TUNED = "me/tuned"


@pytest.mark.parametrize("form", ["auto", "plain"])
def test_a_file_becomes_a_capsule_while_clients_read_it(tmp_path: Path, form: str) -> None:
    tensors = {f"{n}.weight": Tensor("BF16", (512, 1024), bf16(n, 1 << 19)) for n in range(20)}
    data = packed(tmp_path / "one", tensors)
    fine = packed(tmp_path / "two", tuned(tensors, "3.weight"))
    HubRepo(tmp_path / "hub", MODEL).commit({NAME: data})
    HubRepo(tmp_path / "hub", TUNED).commit({NAME: fine})
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        hub.set_faults([{"action": "slow", "file": NAME, "rate": 40 * MIB}])
        with Node(tmp_path / "home", "--upstream", hub.url, env={"OUTLAST_FORM": form}) as node:
            for repo, wanted in ((MODEL, data), (TUNED, fine)):
                got: list[bytes] = []

                def read(path: str = target(NAME, repo), into: list[bytes] = got) -> None:
                    into.append(node.get(path).body)

                threads = [threading.Thread(target=read) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert len(got) == 4
                assert all(same(body, wanted) for body in got)
                until(partial(_form, tmp_path / "home", wanted), "it is archived")
                assert same(node.get(target(NAME, repo)).body, wanted)
                part = node.get(target(NAME, repo), Range="bytes=5000000-5999999")
                assert part.status == 206
                assert same(part.body, wanted[5_000_000:6_000_000])
    expected = (Form.CAPSULE, Form.DELTA) if form == "auto" else (Form.PLAIN, Form.PLAIN)
    assert (_form(tmp_path / "home", data), _form(tmp_path / "home", fine)) == expected


@pytest.mark.parametrize(("spare", "form"), [(1.5, Form.PLAIN), (4.0, Form.CAPSULE)])
def test_a_capsule_takes_nothing_of_what_stays_free(
    tmp_path: Path, spare: float, form: Form
) -> None:
    """While it is made, the file takes the disk twice."""
    data = packed(tmp_path / "one", {"w": Tensor("BF16", (512, 8192), bf16(1, 1 << 22))})
    HubRepo(tmp_path / "hub", MODEL).commit({NAME: data})
    keep = 1 << 30
    (tmp_path / "config.toml").write_text(f"[serve]\nkeep-free = {keep}\n")
    env = {"OUTLAST_CONFIG": str(tmp_path / "config.toml"), "OUTLAST_FORM": "auto"}
    tuned = {"outlast.fetch.tuning.TUNING.small_file": MIB}
    free = keep + int(spare * len(data))
    fake = (
        "from outlast.store import disk\n"
        f"disk.free_bytes = lambda home: {free} - disk.space_used(home)"
    )
    with (
        HubSim(tmp_path / "hub", mode="thread") as hub,
        Node(tmp_path / "home", "--upstream", hub.url, env=env, tuned=tuned, sabotage=fake) as node,
    ):
        assert same(node.get(target(NAME, MODEL)).body, data)
        until(partial(_form, tmp_path / "home", data), "it is archived")
    assert _form(tmp_path / "home", data) == form


def _form(home: Path, data: bytes) -> Form | None:
    with Archive(home) as archive:
        found = archive.forms.of(Digest.of(data))
    return found.form if found is not None else None
