"""What commands print with --json is what docs/json.md says, line by line."""

import datetime as dt
import json
import os
import pickle
import signal
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from outlast.cli.screen.render import Screen
from outlast.core.events import FileDone, PiecesMissing, Progress
from outlast.core.names import RepoId, Target
from outlast.features.gateway.accounts.accounts import GatewayAccounts
from outlast.features.gateway.accounts.values import Estimate, Spent
from outlast.features.watch.changes import Change, ChangeKind
from outlast.features.watch.memory import Memory
from outlast.intake.formats.model_code import ModelCode
from outlast.ops.words.code import allow_code
from outlast.sources.peer_documents import CopiesSaid, HeldAs, ManifestSaid
from outlast.store.archive import Archive
from outlast.swarm.client.dht import Dht
from outlast.swarm.settings import SwarmSettings
from tests.cli.call import Call, end_all, finish, inside, outlast, start
from tests.cli.conftest import FILES
from tests.cli.json_types import COMMANDS, EVENTS, matches, problems, promised, results_of
from tests.cli.test_status import mine, node
from tests.engines.torch_env import find_python, make_tiny_models
from tests.features.gateway.upstream import providers
from tests.features.lineage import models
from tests.features.lineage.models import Zoo
from tests.features.tune.adapters import write_adapter, write_base
from tests.features.tune.conftest import NEEDED, lend_packages
from tests.features.tune.test_convert import SCRIPTS
from tests.gguf_cut import small_smollm2
from tests.hubsim import HubRepo, HubSim
from tests.ports import free_port
from tests.realweights import WeightsUnavailableError
from tests.registrysim import RegistrySim, modelpack
from tests.serve.peers import Peer, archive_files
from tests.store.weights import model, tuned
from tests.swarm.seeds import client, magnet_of, make_torrent, write

GOLDEN = Path(__file__).parents[1] / "golden" / "json-v1.json"
PAGE = b"<!doctype html><html><head><title>404</title></head><body>gone</body></html>"


@dataclass(frozen=True)
class World:
    """A home with an archive, and the calls that were made in it."""

    home: Path
    calls: list[Call]

    def __call__(
        self, *arguments: str | Path, code: int = 0, env: Mapping[str, str] | None = None
    ) -> Call:
        """A command with --json."""
        call = inside(*arguments, "--json", home=self.home, env=env)
        assert call.code == code, call.err
        self.calls.append(call)
        return call

    def damage_ref(self, name: str) -> None:
        """Makes the ref `main` of a model unreadable, with its second copy."""
        archive = self.home / "archive"
        (path,) = archive.glob(f"refs/*/{name}/main")
        for place in (path, archive / "second" / path.relative_to(archive)):
            place.write_bytes(b"garbage")

    def damage_blob(self, data: bytes) -> None:
        for path in (self.home / "archive" / "blobs").rglob("*"):
            if path.is_file() and path.read_bytes() == data:
                path.chmod(0o644)
                path.write_bytes(b"?" + data[1:])
                return
        raise AssertionError("no such blob")


@pytest.fixture
def world(home: Path) -> Iterator[World]:
    yield World(home, [])
    end_all()


def adding(world: World) -> None:
    folder = write(world.home / "page", {"model.safetensors": PAGE, "a.txt": b"a"})
    added = world("add", folder, "--as", "me/page").result
    assert added["warnings"]


def adopting(world: World) -> None:
    cache = world.home / "cache"
    world("link", "me/mine", "--cache", cache)
    world.calls.clear()
    (snapshot,) = cache.glob("models--me--mine/snapshots/*/config.json")
    blob = snapshot.resolve()
    snapshot.unlink()
    data = blob.read_bytes()
    wrong = cache / "models--me--mine" / "blobs" / ("ab" * 32)
    wrong.write_bytes(data)
    snapshot.symlink_to(Path("..") / ".." / "blobs" / wrong.name)
    result = world("adopt", cache, "--home", world.home / "new", code=4).result
    assert result["problems"]


def pulling(world: World) -> None:
    root = world.home / "hub"
    HubRepo(root, "org/m").commit({"config.json": b"{}", "model.safetensors": PAGE})
    with HubSim(root, mode="thread") as hub:
        world("pull", "org/m", "--from", hub.url, "--dry-run")
        result = world("pull", "org/m", "--from", hub.url).result
        world("pull", "--file", keep_list(world), "--from", hub.url)
    assert result["fetched"]
    assert result["warnings"]
    folder = write(world.home / "theirs" / "model", {"a.bin": os.urandom(40_000)})
    torrent = make_torrent(folder)
    config = world.home / "swarm.toml"
    config.write_text('[swarm]\nprivate = true\npeer-port = 0\npeers = ["127.0.0.1:9"]\n')
    env = {"OUTLAST_SWARM": "1", "OUTLAST_CONFIG": str(config)}
    with client() as seeder:
        seeder.seed(torrent, folder.parent)
        link = replace(magnet_of(torrent), peers=(seeder.address,)).magnet()
        for more in (["--dry-run"], []):
            command = ("pull", link, "--json", "--patience", "30", *more)
            world.calls.append(outlast(*command, home=world.home, env=env).ok())


def keep_list(world: World) -> Path:
    path = world.home / "models.txt"
    path.write_text("org/m\n")
    return path


def syncing(world: World) -> None:
    root = world.home / "hub"
    HubRepo(root, "org/m").commit({"config.json": b"{}"})
    wrong = world.home / "wrong.txt"
    wrong.write_text("org/m\norg/none\n")
    with HubSim(root, mode="thread") as hub:
        result = world("sync", "--file", keep_list(world), "--from", hub.url).result
        world("sync", "--file", wrong, "--from", hub.url, code=3)
    assert result["left"]


def serving_always(world: World) -> None:
    units = ("--user", "--unit-dir", world.home / "units")
    world("service", "install", *units, "--print")
    world("service", "install", *units)
    world("service", "uninstall", *units, "--dry-run")
    world("service", "uninstall", *units)


def listing(world: World) -> None:
    store = stored(world)
    weights = write(world.home / "base", {"model.safetensors": model(5, 200_000)})
    world("add", weights, "--as", "me/base", "--form", "capsule")
    data = tuned((weights / "model.safetensors").read_bytes(), 2)
    tune = write(world.home / "tune", {"model.safetensors": data})
    world("add", tune, "--as", "me/tune", "--form", "capsule", "--base", "me/base")
    world.damage_ref("me/mine")
    world.calls.clear()
    lines = {line["repo"]: line for line in world("ls", code=4).documents}
    assert lines["me/tune"]["bases"] == ["me/base"]
    assert world("ls", "--store", store).result["complete"]


def showing(world: World) -> None:
    root = world.home / "hub"
    repo = HubRepo(root, "org/m", gated=True)
    repo.commit({"config.json": b"{}", "model.safetensors": PAGE, "out.bin": b"x" * 50})
    with HubSim(root, mode="thread", token="hf_ok") as hub:
        env = {"HF_TOKEN": "hf_ok", "HF_ENDPOINT": hub.url}
        world("pull", "org/m", "--exclude", "out.bin", env=env)
    weights = write(world.home / "base", {"model.safetensors": model(5, 200_000)})
    world("add", weights, "--as", "me/base", "--form", "capsule")
    data = tuned((weights / "model.safetensors").read_bytes(), 2)
    tune = write(world.home / "tune", {"model.safetensors": data, "twice.safetensors": data})
    world("add", tune, "--as", "me/tune", "--form", "capsule", "--base", "me/base")
    world.calls.clear()
    pulled, thin = world("show", "org/m").result, world("show", "me/tune").result
    assert pulled["missing"]
    assert pulled["warnings"]
    assert pulled["about"]["gated"]
    assert pulled["refs"][0]["observed"]
    assert ["git_sha1" in file for file in pulled["files"]] == [True, False]
    assert thin["forms"][0]["bases"]
    assert thin["forms"][1]["same_as"]
    template = world.home / "template"
    for text in ("one", "two"):
        write(template, {"chat_template.jinja": text.encode(), "tool.py": b"pass"})
        world("add", template, "--as", "me/talk")
    del world.calls[2:]
    assert world("show", "me/talk").result["code"] == ["tool.py"]
    assert world("show", "me/talk", "--template-diff").result["changes"][0]["what"] == "changed"


def verifying(world: World) -> None:
    adding(world)
    world.calls.clear()
    world.damage_blob(FILES["config.json"])
    result = world("verify", code=4).result
    assert result["problems"]
    assert result["warnings"]
    assert world("verify", "--who", "me/mine", code=4).result["claims"]


def copying(world: World) -> None:
    write(world.home / "small", {"config.json": b"{}"})
    world("add", world.home / "small", "--as", "me/small")
    world.calls.clear()
    store = f"file://{world.home}/there"
    assert world("copy", "me/small", "--store", store).result["blobs"] == 1
    assert world("copy", "me/small", "--store", store).result["already"] == 1


def stored(world: World) -> str:
    """A second home with a model."""
    copying(world)
    world.calls.clear()
    return f"file://{world.home}/there"


def packing(world: World) -> None:
    weights = write(world.home / "base", {"model.safetensors": model(5, 200_000)})
    world("add", weights, "--as", "me/base", "--form", "plain")
    world.calls.clear()
    world("pack", "--dry-run")
    assert world("pack").result["changed"] == 1


def unpacking(world: World) -> None:
    packing(world)
    world.calls.clear()
    world("unpack", "--dry-run")
    assert world("unpack").result["changed"] == 1


def removing(world: World) -> None:
    world("rm", "me/mine", "--dry-run")
    world("rm", "me/mine")


def collecting(world: World) -> None:
    removing(world)
    world.calls.clear()
    world("rm", "me/other")
    world.calls.clear()
    world("gc", "--dry-run")
    assert world("gc").result["trash_bytes"]
    world("gc", "--undo")
    inside("add", world.home / "folder", "--as", "me/mine", home=world.home).ok()
    for folder in (world.home / "archive", world.home / "archive" / "second"):
        for path in folder.glob("manifests/*"):
            path.chmod(0o644)
            path.write_bytes(b"garbage")
    assert world("gc", code=4).result["spared"]


def linking(world: World) -> None:
    world("link", "me/mine")
    world("link", "me/mine", "--folder", world.home / "plain")


def searching(world: World) -> None:
    with Archive(world.home / "other", create=True) as archive:
        peer = Peer(archive)
        peer.shares.share(archive_files(archive, RepoId.parse("org/llama"), {"a": b"a"}), "main")
        with peer.serving():
            places = [f"peer:127.0.0.1:{port}" for port in (peer.server.port, 9)]
            more = [word for place in places for word in ("--from", place)]
            assert world("search", "llama", *more).documents[0]["held_by"]


def locating(world: World) -> None:
    HubRepo(world.home / "hub", "org/here").commit({"a.bin": b"a", "config.json": b"{}"})
    with HubSim(world.home / "hub", mode="thread") as hub:
        world("pull", "org/here", "--from", hub.url)
        world.calls.clear()
        found = world("locate", "org/here", "--from", hub.url, "--from", "peer:127.0.0.1:9")
        assert [line["state"] for line in found.of_type("holder")] == [
            *("complete", "complete", "unreachable")
        ]
        world("locate", "org/missing", "--from", hub.url, code=3)


def mirroring(world: World) -> None:
    HubRepo(world.home / "hub", "org/here").commit({"a.bin": b"a"})
    with HubSim(world.home / "hub", mode="thread") as hub:
        world("pull", "org/here", "--from", hub.url)
        world.calls.clear()
        found = world("mirror", "status", "--refresh", env={"HF_ENDPOINT": hub.url})
        assert [line["only_here"] for line in found.of_type("loss")] == [["org/here"]]


def sharing(world: World) -> None:
    out = world.home / "out"
    result = world("share", "me/mine", "--out", out, "--blobs", "--v1").result
    assert result["magnet_v1"]
    assert result["files"][0]["torrent"]
    assert world("share", "me/mine", "--stop").result["infohashes"]


def serving(world: World) -> None:
    process = start("serve", "--listen", "127.0.0.1:0", "--json", home=world.home)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    rest = finish(process)
    world.calls.append(Call(rest.code, first.decode() + rest.out, rest.err).ok())


def telling(world: World) -> None:
    with node(world.home, mine):
        (said,) = world("status").result
        assert said["transfers"]


def telling_of_all(world: World) -> None:
    telling(world)
    nodes = list(world.calls)
    nodes.append(guarding(world))
    world.calls[:] = nodes


def running(world: World) -> None:
    try:
        weights = small_smollm2(world.home)
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    world("add", weights, "--as", "me/model", "--form", "plain")
    world.calls.clear()
    ask = ("run", "me/model", "Hi", "--max-tokens", "2", "--threads", "1")
    assert world(*ask).result["usage"]
    api = ("run", "me/model", "--api", "127.0.0.1:0", "--json", "--threads", "1")
    process = start(*api, home=world.home)
    assert process.stdout is not None
    first = b""
    while b'"serving"' not in first:
        first += (line := process.stdout.readline())
        assert line, finish(process).err
    process.send_signal(signal.SIGTERM)
    rest = finish(process)
    world.calls.append(Call(0, first.decode() + rest.out, rest.err))


def examining(world: World) -> None:
    world.damage_ref("me/mine")
    world("doctor", code=1)
    world("doctor", "--mend", code=0)


def configuring(world: World) -> None:
    assert len(world("config").documents) > 20
    world("config", "--init")
    world("config", "--init", "--force")


def keeping(world: World) -> None:
    with Archive(world.home / "theirs", create=True) as archive:
        revision = archive_files(archive, RepoId.parse("org/rare"), {"a.bin": b"a"})
        peer = Peer(archive, trusts=True)
        peer.shares.share(revision, "main")
        row = ManifestSaid(revision.digest, revision.repo, revision.id, revision.size, HeldAs.OWN)
        peer.copies = CopiesSaid("a" * 16, "lan", 0, 0, (row,))
        with peer.serving():
            config = world.home / "swarm.toml"
            config.write_text(
                f'[swarm]\nprivate = true\npeers = ["127.0.0.1:{peer.server.port}"]\n'
            )
            env = {"OUTLAST_SWARM": "1", "OUTLAST_CONFIG": str(config)}
            command = ("keep", "--budget", "1GB", "--once", "--json")
            call = outlast(*command, home=world.home, env=env).ok()
    assert [line["change"] for line in call.of_type("copy")] == ["fetched"]
    world.calls.append(call)


def following(world: World) -> None:
    root = world.home / "hub"
    HubRepo(root, "org/m").commit({"config.json": b"{}"})
    with HubSim(root, mode="thread") as hub:
        env = {"HF_ENDPOINT": hub.url}
        assert world("follow", "org/m", "--include", "*.json", env=env).result["takes"]
    world("follow", "org/*", "--budget", "1GB", "--dry-run")
    assert len(world("follow", "ls").documents) == 1
    assert world("follow", "rm", "org/m").result["change"] == "removed"


def watching(world: World) -> None:
    root, archive = world.home / "hub", world.home / "archive"
    repo = HubRepo(root, "org/m")
    repo.commit({"config.json": b"{}"})
    with HubSim(root, mode="thread") as hub:
        env = {"HF_ENDPOINT": hub.url}
        inside("follow", "org/m", home=world.home, env=env).ok()
        inside("watch", "--once", home=world.home, env=env).ok()
        repo.delete()
        with closing(sqlite3.connect(archive / "watch" / "watch.sqlite")) as db, db:
            db.execute("UPDATE duties SET due = 0")
        assert world("watch", "--once", code=3, env=env).result["repo"] == "org/m"


def logging_what_was(world: World) -> None:
    change = Change(ChangeKind.GATED, "https://hub", "2030-01-02T03:04:05+00:00", files=("a",))
    with Memory.open(world.home / "archive") as memory:
        memory.tell([change, replace(change, repo=RepoId.parse("me/mine"))])
    inside("withdraw", "me/mine", "--reason", "By order.", home=world.home).ok()
    found = {line["what"] for line in world("log").documents}
    assert found == {"gated", "archived", "notice"}
    world("log", "me/mine", "--since", "2030-01-01")


def exporting(world: World) -> None:
    world("export", "me/mine", "--to", world.home / "usb", "--dry-run")
    assert world("export", "me/mine", "--to", world.home / "usb").result["parts"]


def importing(world: World) -> None:
    inside("export", "me/mine", "--to", world.home / "usb", home=world.home).ok()
    assert world("import", world.home / "usb", "--list").result["files"]
    assert world("import", world.home / "usb").result["already"] == 1


def taking_inventory(world: World) -> None:
    assert world("inventory").result["blobs"]


def writing_a_bill(world: World) -> None:
    output = world.home / "bom.json"
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    path = world.home / "bom-key.pem"
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    line = ("bom", "me/mine", "--output", output, "--sign", path)
    assert world(*line).result["models"] == 1
    assert world("bom", "--check", output).result["key"]


def writing_a_dossier(world: World) -> None:
    key = world.home / "officer.pem"
    key.touch(mode=0o600)
    secret = Ed25519PrivateKey.generate()
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    page = world.home / "page.html"
    assert world("dossier", "me/mine", "--output", page, "--key", key).result["keys"]
    assert world("dossier", "--check", page).result["keys"]


def showing_evidence(world: World) -> None:
    root = world.home / "hub"
    HubRepo(root, "org/m").commit({"config.json": b"{}"})
    with HubSim(root, mode="thread") as hub:
        inside("pull", "org/m", "--from", hub.url, home=world.home).ok()
    manifest = world("evidence", "org/m").result["manifest"]
    inside("rm", "org/m", home=world.home).ok()
    assert world("evidence", "--delete", manifest).result["type"] == "deleted"


def quarantining(world: World) -> None:
    folder = world.home / "pickled"
    folder.mkdir()
    (folder / "model.bin").write_bytes(pickle.dumps({"a": [1, 2, 3]}))
    inside("add", folder, "--as", "me/pickled", home=world.home).ok()
    digest = world("quarantine", "ls", "me/pickled").result["digest"]
    assert world("quarantine", "allow", digest).result["allowed"]
    assert world("quarantine", "ls").result["digest"] == digest
    assert not world("quarantine", "undo", digest).result["allowed"]


def withdrawing(world: World) -> None:
    world("withdraw", "me/mine", "--reason", "By order.", "--dry-run")
    assert world("withdraw", "me/mine", "--reason", "By order.", "--stop-serving").result["since"]
    assert world("withdraw", "me/mine", "--undo").result["since"] is None


def ruling(world: World) -> None:
    rules, cases = world.home / "rules.cedar", world.home / "cases.toml"
    rules.write_text(
        '@id("all") permit (principal, action, resource);\n'
        '@id("mine") forbid (principal, action, resource) when { resource.publisher == "me" };\n'
    )
    cases.write_text('[[case]]\naction = "run"\nmodel = "me/m"\nexpect = "allow"\n')
    given = ("--rules", rules)
    assert world("policy", "check", rules).result["rules"]
    assert not world("policy", "explain", "run", "me/mine", *given, code=7).result["allowed"]
    assert world("policy", "explain", "run", "other/m", "--all", *given).result["allowed"]
    assert world("policy", "test", cases, *given, code=1).result["differ"] == 1
    assert world("policy", "what-if", *given).result["forbidden"]


def keeping_keys(world: World) -> None:
    for name in ("work", "next"):
        assert world("key", "new", name).result["fingerprint"]
    world("key", "export", "work")
    assert world("key", "pin", "me", "work").result["state"] == "active"
    rotation = ("key", "export", "next", "--next-of", "work", "--for", "me")
    assert world(*rotation, "--out", world.home / "rotation").result["file"]
    world(*rotation)
    assert world("key", "pin", "--file", world.home / "rotation").result["how"] == "rotation"
    whose = ("--identity", "release@me.example", "--issuer", "https://issuer.example")
    assert world("key", "pin", "me", *whose).result["type"] == "pinned_identity"
    assert len(world("key", "list").documents) == 5
    assert world("key", "revoke", "next", "--reason", "lost").result["ended"]


def with_a_key(world: World) -> None:
    inside("key", "new", "work", home=world.home).ok()


def signing(world: World) -> None:
    with_a_key(world)
    file = world.home / "statement"
    assert world("sign", "me/mine", "--out", file).result["sequence"] == 1
    assert world("sign", "--take", file).result["type"] == "taken"
    elliptic = ec.generate_private_key(ec.SECP256R1())
    path = world.home / "elliptic.pem"
    path.touch(mode=0o600)
    path.write_bytes(elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    line = ("sign", "--openssf", "--key", path, "me/mine", "--output", world.home / "model.sig")
    assert world(*line).result["type"] == "openssf"
    with RegistrySim() as sim:
        sim.push("org/image", modelpack({"config.json": b"{}"}), "latest")
        inside("pull", "org/image", "--from", f"oci+{sim.url}", home=world.home).ok()
    cosign = ("sign", "--cosign", "r.example/m", "--key", path, "org/image", "--out", file)
    assert world(*cosign).result["type"] == "cosign"
    words = ("sign", "--cosign", "r.example/m", "--key", path, "org/image", "--out", file)
    assert world(*words).result["type"] == "cosign"


def observing(world: World) -> None:
    with_a_key(world)
    HubRepo(world.home / "hub", "org/m").commit({"config.json": b"{}"})
    with HubSim(world.home / "hub", mode="thread") as hub:
        inside("pull", "org/m", "--from", hub.url, home=world.home).ok()
        assert world("observe", "org/m", "--from", hub.url).result["sequence"] is None


def revoking(world: World) -> None:
    with_a_key(world)
    assert world("revoke", "me/mine", "--reason", "a backdoor").result["type"] == "revoked"


def accepting(world: World) -> None:
    line = world("accept").documents[0]
    assert (line["how"], line["undone"]) == ("added", False)
    digest = line["manifest"][:12]
    assert world("accept", digest, "--undo").result["undone"]
    assert world("accept", digest).result["how"] == "accepted"
    folder = world.home / "code"
    folder.mkdir()
    (folder / "own.py").write_text("")
    inside("add", folder, "--as", "me/code", home=world.home).ok()
    target = Target(RepoId.parse("me/code"), "main")
    with Archive(world.home / "archive") as archive:
        start = ModelCode.of(archive.revision(target.repo, "main")).digest.hex
        allow_code(archive, target, start, dt.datetime.now(dt.UTC))
    assert not world("accept", "--code").result["undone"]
    assert world("accept", "--code", start, "--undo").result["undone"]


def scrubbing(world: World) -> None:
    store = stored(world)
    assert world("scrub", "--store", store).result["store"] == store
    assert world("scrub").result["found"] == []
    world.damage_ref("me/mine")
    assert world("scrub", "--full", "--no-mend", code=4).result["found"]


def screening(world: World) -> None:
    path = world.home / "list.csv"
    path.write_text("_id,source,name,alt_names\n1,Sample list,Me Works,\n")
    words = ("--lists", path, "--as-of", dt.datetime.now(dt.UTC).date().isoformat())
    assert world("policy", "screen", "me/mine", *words).result["names"]
    assert world("policy", "screen", "works-me/x", *words).result["alike"] == "match"


def judging(world: World) -> None:
    ruling(world)
    screening(world)


def announcing(world: World) -> None:
    """To a DHT on loopback."""
    port = free_port()
    routers = (("127.0.0.1", port),)
    config = world.home / "dht.toml"
    config.write_text(f'[swarm]\ndht = true\ndht-routers = ["127.0.0.1:{port}"]\n')
    env = {"OUTLAST_SWARM": "1", "OUTLAST_CONFIG": str(config)}
    words = ("catalogue", "announce", "acme", "--at", "http://127.0.0.1:9/c")
    keys = ("--keys", world.home / "config" / "outlast" / "catalogues" / "acme")
    with Dht(SwarmSettings(dht=True, dht_port=port, dht_routers=routers), 1):
        assert world(*words, *keys, env=env).result["nodes"]


def cataloguing(world: World) -> None:
    world("catalogue", "init", "acme")
    world("catalogue", "add", "acme", "me/mine", "--dry-run")
    assert world("catalogue", "add", "acme", "me/mine").result["sequence"] == 1
    www = world.home / "www"
    assert world("catalogue", "publish", "acme", "--to", www).result["entries"] == 1
    assert world("catalogue", "follow", www, "--as", "theirs").result["current"]
    assert len(world("catalogue", "ls").documents) == 2
    assert world("catalogue", "ls", "theirs").result["repo"] == "me/mine"
    assert not world("catalogue", "sync").result["changed"]
    announcing(world)
    assert not world("catalogue", "unfollow", "theirs").result["dry_run"]


def counting_usage(world: World) -> None:
    made = world("gateway", "keys", "new", "alice", "--budget", "day:money=5").result
    world("gateway", "keys", "list")
    with GatewayAccounts(world.home / "archive") as box:
        held = box.reserve(box.authenticate(made["secret"]), "fast", "gpt", Estimate(9, 9, 9))
        box.settle(held, Spent("one", "openai", "gpt", "US", 5, 5, 5, 0.1))
    table = world.home / "gateway.toml"
    table.write_text('[local.fast]\ndollars-per-hour = "1"\ncurve = [[1, 9]]\n')
    world("gateway", "usage")
    world("gateway", "costs", "--file", table)


def showing_a_launch(world: World) -> None:
    there = ("--url", "http://127.0.0.1:9", "--model", "fast")
    call = inside("launch", *there, "--print-env", "--json", "claude", home=world.home)
    world.calls.append(call.ok())


def tuning(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        python = find_python(*NEEDED)
        lend_packages(python, patch)
        world("add", make_tiny_models(python) / "True", "--as", "me/tiny")
        rows = world.home / "rows.jsonl"
        rows.write_text('{"text": "sea"}\n{"text": "sky"}\n{"text": "the sea"}\n')
        with Archive(world.home / "archive") as archive:
            base = archive.revision(RepoId.parse("me/tiny"))
        made = write_adapter(world.home / "made", base)
        world.calls.clear()
        world("tune", "me/tiny", "--data", rows, "--out", "me/fact", "--dry-run")
        # Each start of torch takes as long as all of this; tests/features/tune trains one.
        world("tune", "me/tiny", "--take", made, "--out", "me/fact")
        job = ("--engine", "axolotl", "--to", world.home / "job")
        world("tune", "me/tiny", "--data", rows, "--out", "me/fact", *job)


def merging(world: World) -> None:
    world("add", write_base(world.home / "base"), "--as", "me/base")
    with Archive(world.home / "archive") as archive:
        base = archive.revision(RepoId.parse("me/base"))
    world("add", write_adapter(world.home / "made", base), "--as", "me/fact")
    with pytest.MonkeyPatch.context() as patch:
        lend_packages(find_python(*NEEDED), patch)
        world.calls.clear()
        world("merge", "me/fact")


def converting(world: World) -> None:
    world("add", write_base(world.home / "base"), "--as", "me/base")
    with pytest.MonkeyPatch.context() as patch:
        lend_packages(find_python(*NEEDED), patch)
        world.calls.clear()
        world("convert", "me/base", "--gguf", "--converter", SCRIPTS)


def telling_lineage(world: World) -> None:
    zoo = Zoo(world.home)
    base = models.model(1)
    zoo.put("base", base)
    zoo.put_gguf("small", base, "Q8_0")
    zoo.put("tuned", models.trained(base, 2))
    world("lineage", "me/tuned")
    world("lineage", "me/small", "me/base", "me/tuned")


def guarding(world: World) -> Call:
    """The call of `status` while it serves is no line of its own: it is returned."""
    with providers("cloud") as (cloud,):
        (world.home / "archive" / "gateway.toml").write_text(
            f'[endpoints.cloud]\nurl = "{cloud.url}"\nhosted = true\n'
            '[routes.m]\ntargets = "cloud:big"\n'
        )
        assert world("gateway", "check").result["answers"]
        world("gateway", "drill", code=5)
        process = start("gateway", "--listen", "127.0.0.1:0", "--json", home=world.home)
        assert process.stdout is not None
        first = process.stdout.readline()
        seen = world("status")
        world.calls.remove(seen)
        process.send_signal(signal.SIGTERM)
        rest = finish(process)
        world.calls.append(Call(rest.code, first.decode() + rest.out, rest.err).ok())
    return seen


def keeping_a_gateway(world: World) -> None:
    guarding(world)
    counting_usage(world)


def auditing(world: World) -> None:
    with providers("cloud") as (cloud,):
        (world.home / "small").mkdir()
        model = small_smollm2(world.home / "small").parent
        world("add", model, "--as", "me/small")
        report = world.home / "report.json"
        there = ("--model", "big", "--against", "me/small", "--report", report)
        world.calls.clear()
        assert world("audit", cloud.url, *there, code=12).result["verdict"] == "untestable"
        world("audit", "replay", report, code=12)
        world("audit", "compare", report, code=12)
        state = ("--state", world.home / "state.json")
        world("audit", "watch", cloud.url, *there[:4], *state, code=12)
        world("audit", "contract", cloud.url, *there[:4], code=10)
        world("audit", "speed", cloud.url, *there[:2])


EXAMPLES: dict[str, Callable[[World], None]] = {
    "accept": accepting,
    "pull": pulling,
    "sync": syncing,
    "service": serving_always,
    "add": adding,
    "adopt": adopting,
    "ls": listing,
    "show": showing,
    "verify": verifying,
    "copy": copying,
    "pack": packing,
    "unpack": unpacking,
    "rm": removing,
    "gc": collecting,
    "link": linking,
    "search": searching,
    "locate": locating,
    "mirror": mirroring,
    "share": sharing,
    "serve": serving,
    "status": telling_of_all,
    "run": running,
    "config": configuring,
    "doctor": examining,
    "keep": keeping,
    "follow": following,
    "watch": watching,
    "log": logging_what_was,
    "export": exporting,
    "import": importing,
    "inventory": taking_inventory,
    "bom": writing_a_bill,
    "dossier": writing_a_dossier,
    "quarantine": quarantining,
    "evidence": showing_evidence,
    "withdraw": withdrawing,
    "policy": judging,
    "launch": showing_a_launch,
    "scrub": scrubbing,
    "catalogue": cataloguing,
    "gateway": keeping_a_gateway,
    "key": keeping_keys,
    "sign": signing,
    "observe": observing,
    "revoke": revoking,
    "tune": tuning,
    "merge": merging,
    "convert": converting,
    "lineage": telling_lineage,
    "audit": auditing,
}
"""For each command with --json, calls that print each of its results."""


def test_no_command_is_forgotten() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()
    assert all(COMMANDS.values()), "a command with --json declares its lines with @document"


@pytest.mark.parametrize("command", EXAMPLES)
def test_each_line_is_declared(command: str, world: World) -> None:
    EXAMPLES[command](world)
    found = [line for call in world.calls for line in call.documents]
    lines = [line for item in found for line in (item if isinstance(item, list) else [item])]
    assert lines
    assert [problem for line in lines for problem in problems(command, line)] == []
    # And all that is declared is printed.
    not_printed = [
        (name, kind.__name__)
        for name, kind in results_of(command)
        if name not in _of_other_commands(command)
        and not any(line["type"] == name and matches(kind, line) for line in lines)
    ]
    assert not_printed == []
    for call in world.calls:
        assert not [line for line in call.documents if line == []]


def _of_other_commands(command: str) -> set[str]:
    """The types of a line that several commands share: each prints those with its name."""
    own = {"pack": "unpacked", "unpack": "packed"}.get(command, "")
    statements = {
        "sign": {"observed", "revoked"},
        "observe": {"published", "revoked", "taken"},
        "revoke": {"published", "observed", "taken"},
    }
    return {own, f"would-be-{own}"} if own else statements.get(command, set())


@pytest.mark.parametrize("command", EXAMPLES)
def test_an_error_is_a_line_too(command: str, tmp_path: Path) -> None:
    call = inside(*command.split(), "--no-such-option", "--json", home=tmp_path)
    message = call.failed("usage")
    (line,) = call.documents
    assert problems(command, line) == []
    assert (line["type"], line["code"], line["message"]) == ("error", "usage", message)


def test_an_error_comes_last(world: World) -> None:
    call = world("pull", "org/none", "--from", "http://127.0.0.1:9", code=5)
    assert call.result["type"] == "error"
    assert call.documents[:-1] == [d for d in call.documents if d["type"] in EVENTS]


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_lines(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    values: dict[type, Any] = {str: "a", int: 2, float: 60.5, bool: True}
    kind = EVENTS[name]
    hints = {field: values[plain] for field, plain in get_type_hints(kind).items()}
    a_minute_each = count(0.0, 60.0).__next__
    with Screen(as_json=True, quiet=False, clock=a_minute_each) as screen:
        screen.emit(kind(**hints))
    line = json.loads(capsys.readouterr().out)
    assert line == {"type": name, "v": 1, **hints}
    assert problems("ls", line) == []


def test_progress_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(as_json=True, quiet=False) as screen:
        screen.emit(Progress("a", 1))
    assert capsys.readouterr().out == ""


# The check itself

LINE = {
    "type": "damaged",
    "v": 1,
    "repo": "org/m",
    "revision": None,
    "refs": ["main"],
    "damaged": "x",
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"more": 1}, ".more: not declared"),
        ({"refs": "main"}, ".refs: not a list"),
        ({"refs": [1]}, ".refs[0]: not str: 1"),
        ({"revision": "ab" * 20}, None),
        ({"revision": "ab" * 32}, ".revision: not 40 hex digits"),
        ({"damaged": None}, ".damaged: not str: None"),
        ({"v": 2}, "no version"),
        ({"v": True}, "no version"),
        ({"v": None}, "no version"),
        ({"type": "gone"}, "ls has no line 'gone'"),
        ({"type": None}, "ls has no line None"),
    ],
)
def test_what_is_not_declared_is_found(change: dict[str, Any], said: str | None) -> None:
    found = problems("ls", LINE | change)
    assert len(found) == (said is not None)
    assert said is None or found[0].startswith(said)


@pytest.mark.parametrize("field", [field for field in LINE if field not in {"type", "v"}])
def test_what_is_missing_is_found(field: str) -> None:
    line = {key: value for key, value in LINE.items() if key != field}
    assert problems("ls", line) == [f".{field}: missing"]


def test_a_true_is_no_number() -> None:
    line = {"type": "file-done", "v": 1, **vars_of(FileDone("a", 1, "b"))}
    assert problems("pull", line) == []
    assert problems("pull", line | {"size": True}) == [".size: not int: True"]
    assert problems("pull", line | {"already": 1}) == [".already: not bool: 1"]
    assert problems("pull", {"type": "pieces-missing", "v": 1}) != []
    assert PiecesMissing.__name__ == "PiecesMissing"


def vars_of(event: FileDone) -> dict[str, Any]:
    return {"path": event.path, "size": event.size, "sha256": event.sha256, "already": False}


# What version 1 promises


def test_nothing_that_was_promised_is_gone() -> None:
    """Lines and fields may be added: write them down with `python -m tests.cli.test_json`."""
    known, now = json.loads(GOLDEN.read_text()), promised()
    assert known.keys() == now.keys()
    for line, fields in known.items():
        assert {name: now[line].get(name) for name in fields} == fields, line
        assert fields.keys() == now[line].keys(), line


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(promised(), indent=1, sort_keys=True) + "\n")
