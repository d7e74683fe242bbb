"""Models that lie in registries: pulled, served and exported, alone and beside a hub."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from outlast.core.errors import IntegrityError
from outlast.core.names import Target
from outlast.ops.export import link
from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.hubsim import HubRepo, HubSim
from tests.noise import noise
from tests.pull.kit import (
    BIG,
    FILES,
    MIB,
    Puller,
    check_archive,
    check_pulled,
    contents,
    has_blob,
)
from tests.registrysim import Fault, RegistrySim, modelpack, ollama
from tests.serve.node import Node
from tests.serve.wire import once

LARGE = noise(3, 16 * MIB + 5)


@pytest.fixture
def sim() -> Iterator[RegistrySim]:
    with RegistrySim(login="own", storage=True) as sim:
        sim.push("org/name", modelpack(FILES), "latest")
        yield sim


def registry(sim: RegistrySim) -> str:
    return f"oci+{sim.url}"


def with_documents(sim: RegistrySim, name: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a model, and what its registry says of them."""
    digest = sim.names[name]["latest"]
    manifest = sim.manifests[name, digest]
    (config,) = [
        data for key, data in sim.blobs.items() if key.encode() in manifest.split(b"layers")[0]
    ]
    return {**files, "oci-manifest.json": manifest, "oci-config.json": config}


def check_handed_on(home: Path, name: str, files: Mapping[str, bytes]) -> None:
    """A server and a folder give the same bytes."""
    with Node(home) as node:
        for path, data in files.items():
            assert once(node.url, f"/{name}/resolve/main/{path}").body == data
    folder = home.with_name("folder")
    with Archive(home) as archive:
        link(archive, Target.parse(name), cache=None, folder=folder)
    for path, data in files.items():
        assert (folder / path).read_bytes() == data


def test_a_model_of_a_registry(sim: RegistrySim, pull: Puller) -> None:
    pull("org/name", registry(sim))
    files = with_documents(sim, "org/name", FILES)
    check_pulled(pull.home, files)
    check_handed_on(pull.home, "org/name", files)
    digest = sim.names["org/name"]["latest"].removeprefix("sha256:")
    assert contents(pull.home, f"org/name@{digest[:40]}") == files


def test_a_model_of_ollamas_registry(pull: Puller) -> None:
    layers = {"model": FILES[BIG], "license": b"MIT", "params": b"{}"}
    with RegistrySim(plain=True, storage=True) as sim:
        sim.push("library/small", ollama(*layers.items()), "latest")
        pull("small", f"ollama+{sim.url}")
        named = {"model.gguf": FILES[BIG], "license.txt": b"MIT", "params.json": b"{}"}
        files = with_documents(sim, "library/small", named)
        check_pulled(pull.home, files, "small")
        check_handed_on(pull.home, "small", files)


def test_the_command(sim: RegistrySim, tmp_path: Path) -> None:
    """A registry by its kind, a part of the name in its URL; and the same by another name."""
    sim.push("team/deep/model", modelpack({"a.txt": b"1"}), "latest", "v1")
    home = tmp_path
    inside("pull", "deep/model@v1", "--from", f"oci+{sim.url}/team", home=home).ok()
    inside("pull", "Other/Name", "--from", f"oci+{sim.url}/team=deep/model", home=home).ok()
    shown = inside("ls", "--json", home=home).ok().documents
    names = {line["repo"] for line in shown if line.get("type") == "revision"}
    assert names == {"deep/model", "Other/Name"}
    wrong = inside("pull", "deep/model@v2", "--from", f"oci+{sim.url}/team", home=home)
    assert wrong.code == 3
    assert "revision-not-found" in wrong.err


def test_a_mirror_of_a_registry(sim: RegistrySim, tmp_path: Path) -> None:
    """Clients of hubs get what a registry has, streamed while it comes."""
    with Node(tmp_path / "home", "--upstream", registry(sim)) as node:
        for path, data in FILES.items():
            assert once(node.url, f"/org/name/resolve/main/{path}").body == data
        assert once(node.url, "/org/absent/resolve/main/x").status in {401, 404}


def test_a_clients_token_goes_to_no_registry(sim: RegistrySim, tmp_path: Path) -> None:
    """It is one for a hub."""
    sim.private = frozenset({"org/name"})
    sim.login, sim.secret = "basic", "someone:secret"
    with Node(tmp_path / "home", "--upstream", registry(sim)) as node:
        path = "/org/name/resolve/main/config.json"
        assert once(node.url, path, Authorization="Bearer hf_clients-own").status == 404
        assert once(node.url, path).status == 401
    assert sim.asked
    assert not any("hf_clients" in one.authorization for one in sim.asked)


def test_half_from_a_hub_and_half_from_a_registry(
    tmp_path: Path, sim: RegistrySim, pull: Puller
) -> None:
    """The hub says what the model is; the registry has some of its bytes, by another path."""
    root = tmp_path / "other"
    HubRepo(root, "org/large").commit({"weights.bin": LARGE, "config.json": b'{"a": 1}'})
    sim.push("org/large", modelpack({"elsewhere/model.bin": LARGE}), "latest")
    with HubSim(root, mode="thread") as hub:
        hub.set_faults([{"action": "slow", "rate": 8 * MIB, "what": "resolve"}])
        result = pull("org/large", hub.url, registry(sim))
    check_pulled(pull.home, {"weights.bin": LARGE, "config.json": b'{"a": 1}'}, "org/large")
    assert result.fetched.keys() == {hub.url, f"oci+{sim.url}"}
    assert min(result.fetched.values()) >= 4 * MIB
    assert pull.banned == set()


def test_a_registry_that_has_another_model_of_that_name(
    hub: HubSim, sim: RegistrySim, pull: Puller
) -> None:
    """A name proves nothing: what has other digests is not asked for, and the hub has it all."""
    sim.names.clear()
    sim.push("org/name", modelpack({"config.json": b"{}", BIG: b"other"}), "latest")
    pull("org/name", hub.url, registry(sim))
    check_pulled(pull.home)
    assert pull.banned == set()


def test_a_registry_that_lies_is_banned(hub: HubSim, sim: RegistrySim, pull: Puller) -> None:
    sim.faults = [Fault("blobs", "flip")]
    hub.set_faults([{"action": "slow", "rate": 16 * MIB, "what": "resolve"}])
    pull("org/name", hub.url, registry(sim))
    check_pulled(pull.home)
    assert pull.banned == {f"oci+{sim.url}"}


def test_wrong_bytes_are_never_acknowledged(sim: RegistrySim, pull: Puller) -> None:
    sim.faults = [Fault("blobs", "flip")]
    with pytest.raises(IntegrityError):
        pull("org/name", registry(sim))
    check_archive(pull.home)
    assert not any(has_blob(pull.home, data) for data in FILES.values() if data)
    sim.faults = []
    pull("org/name", registry(sim))
    check_pulled(pull.home, with_documents(sim, "org/name", FILES))


def test_a_registry_in_trouble(sim: RegistrySim, pull: Puller) -> None:
    """Bodies that break off, limits, and a token that expires meanwhile are waited out."""
    busy = {"Retry-After": "0"}
    sim.faults = [
        Fault("blobs", "cut", count=2),
        Fault("blobs", "status", status=429, headers=busy, count=2),
        Fault("manifests", "status", status=503, headers=busy, count=1),
    ]
    left = [None] * 3

    def expire(_: object) -> None:
        """A few times: one that expires at every step is of no use."""
        if left:
            left.pop()
            sim.expire()

    pull.listener, pull.tries = expire, 12
    pull("org/name", registry(sim))
    check_pulled(pull.home, with_documents(sim, "org/name", FILES))


def test_unsafe_names_are_left_out(sim: RegistrySim, pull: Puller) -> None:
    sim.push("org/bad", modelpack({"../up": b"1", "/abs": b"2", "ok.txt": b"3"}), "latest")
    pull("org/bad", registry(sim))
    check_pulled(pull.home, with_documents(sim, "org/bad", {"ok.txt": b"3"}), "org/bad")
    target = Target.parse("org/bad")
    with Archive(pull.home) as archive:
        assert archive.revision(target.repo, target.ref).partial


def test_what_a_token_opens_stays_private(pull: Puller) -> None:
    secret = "s3cret"
    with RegistrySim(login="own", secret=secret, private=frozenset({"org/name"})) as sim:
        sim.push("org/name", modelpack({"a.txt": b"1"}), "latest")
        pull.tokens = {registry(sim): secret}
        pull("org/name", registry(sim))
    target = Target.parse("org/name")
    with Archive(pull.home) as archive:
        assert archive.refs.about(target.repo).private
