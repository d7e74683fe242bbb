"""A campaign of liars, through the commands that people type: what hubs answer, and what comes as
statements, bundles, catalogues, pins, rules and lists of parties is changed at random. No claim
holds that did not hold, what is revoked stays so, rules that do not load allow nothing, and no
command ends in a traceback.
"""

import hashlib
import json
import random
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from outlast.core.digest import Digest
from outlast.core.errors import all_errors
from outlast.features.trust.catalogue.folders import read_record, write_record
from outlast.features.trust.rules.data_files import packaged
from outlast.store import disk
from tests.campaign import SEED, rounds
from tests.cli.call import Call, inside
from tests.features.trust.mutations import STRANGER, mutated
from tests.hubsim import HubRepo, HubSim

NAMES: Final = ("org/name@v1", "org/name@v2", "org/other@main", "org/bad@main")
BAD: Final = "org/bad"
UNPROVEN: Final = ("org/name@v1", "org/other", BAD)
"""What the rules do not let run: an older revision, a copy under another name, what is revoked."""
RULES: Final = "signed-or-observed-by-two.cedar"
LIST: Final = b'_id,source,type,programs,name,alt_names\n1,SDN,Entity,X,"Umbrella Trading Co.",\n'
_CODES: Final = frozenset(error.exit_code for error in all_errors()) | {0}
Held = frozenset[tuple[str, str]]
"""The claims that hold, each with the name that it is about."""


@dataclass(frozen=True)
class Lab:
    """A publisher's and a user's home below `root`; `www` is the catalogue that the user follows.
    `truth`: what holds before anything was changed.
    """

    root: Path
    hub: str

    @property
    def user(self) -> Path:
        return self.root / "user"

    @property
    def publisher(self) -> Path:
        return self.root / "publisher"

    def at(self, root: Path) -> "Lab":
        """A copy of it, which follows the copy of the catalogue."""
        shutil.copytree(self.root, root, symlinks=True)
        lab = Lab(root, self.hub)
        home = lab.user / "archive"
        record = read_record(home, "shelf")
        write_record(home, replace(record, place=str(root / "www")))
        return lab

    def do(self, home: Path, *words: str | Path) -> Call:
        """A command. It may refuse, in one line and with a status that says why."""
        call = inside(*words, home=home, cwd=self.root)
        assert "Traceback" not in call.err
        assert call.code in _CODES, (words, call.code, call.err)
        return call

    def seen(self) -> tuple[Held, frozenset[str]]:
        """The claims that hold in the user's archive, and what is revoked, as the command says."""
        said = self.do(self.user, "verify", "--who", "--json").of_type("claims")
        held = frozenset(
            (f"{one['repo']}@{one['revision'][:12]}", claim["claim"])
            for one in said
            for claim in one["claims"]
            if claim["standing"] in {"holds", "stale"}
        )
        return held, frozenset(one["repo"] for one in said if one["revoked"])

    def may_run(self, name: str) -> bool:
        return self.do(self.user, "policy", "explain", "run", name).code == 0

    def may_leave(self, name: str) -> bool:
        """Whether a command that asks the gate writes the model out."""
        out = self.root / "out"
        shutil.rmtree(out, ignore_errors=True)
        call = self.do(self.user, "export", name, "--to", out, "--parity", "0")
        assert call.code == 0 or not out.exists() or not any(out.rglob("*.safetensors"))
        return call.code == 0


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here."""
    monkeypatch.setattr(disk, "fsync", lambda _: None)
    monkeypatch.setattr(disk, "fsync_dir", lambda _: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """org/name has two signed revisions, the newer one observed; org/other has the same files and
    no signature; org/bad is revoked.
    """
    root = tmp_path_factory.mktemp("lies")
    files = {"config.json": b"{}", "model.safetensors": b"w" * 100}
    HubRepo(root / "hub", "org/name").commit(files, refs=["v1"])
    HubRepo(root / "hub", "org/name").commit({"config.json": b"{ }"}, refs=["v2", "main"])
    HubRepo(root / "hub", "org/other").commit(files)
    HubRepo(root / "hub", BAD).commit({"config.json": b"[]"})
    with HubSim(root / "hub", mode="thread") as hub:
        lab = Lab(root, hub.url)
        for home in (lab.user, lab.publisher):
            home.mkdir()
            for name in NAMES:
                inside("pull", name, "--from", hub.url, home=home).ok()
        _vouch(lab)
        _trust(lab)
        yield lab


def _vouch(lab: Lab) -> None:
    def do(*words: str | Path) -> None:
        inside(*words, home=lab.publisher, cwd=lab.root).ok()

    for key in ("org", "watcher"):
        do("key", "new", key)
    for ref in ("v1", "v2"):
        signed = ("--ref", "main", "--key", "org", "--out", f"{ref}.json")
        do("sign", f"org/name@{ref}", *signed)
    do("observe", "org/name@v2", "--from", lab.hub, "--key", "watcher", "--out", "seen.json")
    do("revoke", "org/bad", "--reason", "no", "--key", "org", "--out", "revoked.json")
    do("catalogue", "init", "shelf", "--keys", "keys")
    do("catalogue", "add", "shelf", "org/name@v2")
    do("catalogue", "publish", "shelf", "--keys", "keys", "--to", "www")
    shutil.copytree(lab.root / "www", lab.root / "older")
    do("catalogue", "publish", "shelf", "--keys", "keys", "--to", "www")


def _trust(lab: Lab) -> None:
    keys = lab.publisher / "config" / "outlast" / "keys"
    settings = lab.user / "config" / "outlast" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[trust]\nobservers = 2\n")
    for words in (
        ("key", "pin", "org", str(keys / "org.pub")),
        ("key", "pin", "*", str(keys / "watcher.pub"), "--role", "observer"),
        ("catalogue", "follow", "www", "--root", "www/metadata/1.root.json"),
        ("sign", "--take", "v1.json", "--take", "v2.json", "--take", "seen.json"),
        ("sign", "--take", "revoked.json"),
    ):
        inside(*words, home=lab.user, cwd=lab.root).ok()
    (lab.user / "archive" / "trust" / "rules.cedar").write_text(packaged(f"examples/{RULES}"))
    (lab.root / "parties.csv").write_bytes(LIST)


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def change_one(
    choose: random.Random, paths: Sequence[Path], others: Sequence[Path] = ()
) -> tuple[str, Path]:
    """Changes one of these files; what was done."""
    path = choose.choice(paths)
    pool = [one.read_bytes() for one in (*paths, *others)]
    done, data = mutated(choose, path.read_bytes(), pool)
    path.chmod(0o644)
    path.write_bytes(data)
    return f"{path.name}: {done}", path


def statements(lab: Lab) -> list[Path]:
    return [lab.root / name for name in ("v1.json", "v2.json", "seen.json", "revoked.json")]


def hand_over(choose: random.Random, lab: Lab) -> str:
    """A statement that a neighbour gives."""
    done, path = change_one(choose, statements(lab))
    lab.do(lab.user, "sign", "--take", path)
    return done


def lay_beside(choose: random.Random, lab: Lab) -> str:
    """A statement that lies in a copied archive, with whichever manifest."""
    done, path = change_one(choose, statements(lab))
    folder = choose.choice(sorted((lab.user / "archive" / "manifests").rglob("*.json"))).stem
    beside = lab.user / "archive" / "attestations" / folder
    beside.mkdir(exist_ok=True)
    data = path.read_bytes()
    (beside / f"{Digest.of(data)}.dsse.json").write_bytes(data)
    return f"{done} with {folder[:8]}"


def spoil_here(choose: random.Random, lab: Lab) -> str:
    """A statement that rots, or is exchanged, in the archive."""
    done, _ = change_one(choose, files_below(lab.user / "archive" / "attestations"))
    return done


def carry(choose: random.Random, lab: Lab) -> str:
    """A bundle whose writer has changed statements, and sums to match."""
    paths = files_below(lab.publisher / "archive" / "attestations")
    done, path = change_one(choose, paths, statements(lab))
    data = path.read_bytes()
    path.unlink()
    (path.parent / f"{Digest.of(data)}.dsse.json").write_bytes(data)
    lab.do(lab.publisher, "export", *NAMES[:3], "--to", lab.root / "stick", "--parity", "0")
    lab.do(lab.user, "import", lab.root / "stick")
    return done


def publish_other(choose: random.Random, lab: Lab) -> str:
    """A catalogue whose server lies."""
    paths = files_below(lab.root / "www" / "metadata")
    done, _ = change_one(choose, paths, files_below(lab.root / "older" / "metadata"))
    lab.do(lab.user, "catalogue", "sync")
    return done


def spoil_followed(choose: random.Random, lab: Lab) -> str:
    """What the user has of a catalogue, on a disk that lies."""
    paths = files_below(lab.user / "archive" / "trust" / "catalogues")
    done, _ = change_one(choose, paths)
    lab.do(lab.user, "catalogue", "ls")
    return done


def spoil_pins(choose: random.Random, lab: Lab) -> str:
    """Pins that rot, or are exchanged for each other."""
    done, _ = change_one(choose, files_below(lab.user / "archive" / "trust" / "pins"))
    lab.do(lab.user, "key", "list")
    return done


def change_rules(choose: random.Random, lab: Lab) -> str:
    """Rules that do not load any more. What they say, if they load, is their operator's."""
    done, _ = change_one(choose, [lab.user / "archive" / "trust" / "rules.cedar"])
    if lab.do(lab.user, "policy", "check").code != 0:
        assert not any(lab.may_run(name) for name in NAMES), done
        assert not lab.may_leave(NAMES[1]), done
    return done


def break_rules(choose: random.Random, lab: Lab) -> str:
    """Rules, or a table that they need, that cannot be read at all: nothing leaves."""
    folder = lab.user / "archive" / "trust"
    path = folder / choose.choice(("rules.cedar", "publishers.toml", "labels.toml"))
    path.write_bytes(choose.choice((b"\xff\xfe", b"permit (", b"= 1", b"[" * 5000)))
    assert not any(lab.may_run(name) for name in NAMES), path.name
    assert not lab.may_leave(NAMES[1]), path.name
    return path.name


def forge_catalogue(choose: random.Random, lab: Lab) -> str:
    """A catalogue whose server lists more, all versions and sums in order, and has no key."""
    before = {path.name: path.read_bytes() for path in files_below(lab.root / "www" / "metadata")}
    for words in (
        ("add", "shelf", choose.choice(("org/name@v1", "org/other"))),
        ("publish", "shelf", "--keys", "keys", "--to", "www"),
    ):
        lab.do(lab.publisher, "catalogue", *words).ok()
    how = choose.choice(("random", "none", "stranger", "old"))
    forge(choose, lab.root / "www" / "metadata", before, how)
    lab.do(lab.user, "catalogue", "sync")
    return how


def forge(choose: random.Random, folder: Path, before: dict[str, bytes], how: str) -> None:
    """Gives the files that are new other signatures, and corrects the sums of those above."""
    new = [path for path in files_below(folder) if before.get(path.name) != path.read_bytes()]
    order = ("snapshot.json", "timestamp.json")
    new.sort(key=lambda path: next((n for n, end in enumerate(order, 1) if end in path.name), 0))
    sums: dict[str, bytes] = {}
    for path in new:
        said = json.loads(path.read_bytes())
        for name, meta in said["signed"].get("meta", {}).items():
            if name in sums:
                if "length" in meta:
                    meta["length"] = len(sums[name])
                for kind in meta.get("hashes", {}):
                    meta["hashes"][kind] = hashlib.new(kind, sums[name]).hexdigest()
        said["signatures"] = _other_signatures(choose, said, how, before)
        path.chmod(0o644)
        path.write_bytes(json.dumps(said, separators=(",", ":"), sort_keys=True).encode())
        sums[re.sub(r"^\d+\.", "", path.name)] = path.read_bytes()


def _other_signatures(
    choose: random.Random, said: Any, how: str, before: dict[str, bytes]
) -> list[Any]:
    rows = said["signatures"]
    match how:
        case "none":
            return []
        case "old":
            pool = [json.loads(data)["signatures"] for data in before.values()]
            same = [old for old in pool if {o["keyid"] for o in old} == {r["keyid"] for r in rows}]
            return choose.choice(same) if same else rows[:0]
        case "stranger":
            text = json.dumps(said["signed"], separators=(",", ":"), sort_keys=True).encode()
            return [row | {"sig": STRANGER.sign(text).hex()} for row in rows]
    return [row | {"sig": choose.randbytes(len(row["sig"]) // 2).hex()} for row in rows]


def change_list(choose: random.Random, lab: Lab) -> str:
    """A list of parties: it is read as a whole, or refused."""
    done, path = change_one(choose, [lab.root / "parties.csv"])
    words = ("org/name", "--lists", f"us-csv={path}@2026-11-30")
    lab.do(lab.user, "policy", "screen", *words)
    return done


class LyingHub(ThreadingHTTPServer):
    """Passes on what a hub says, and changes each of its JSON answers."""

    daemon_threads = True

    def __init__(self, hub: str, choose: random.Random) -> None:
        self.hub, self.choose, self.said = hub, choose, list[bytes]()
        self.done: list[str] = []
        super().__init__(("127.0.0.1", 0), _Lie)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def change(self, data: bytes) -> bytes:
        self.said.append(data)
        done, data = mutated(self.choose, data, self.said)
        self.done.append(done)
        return data


class _Lie(BaseHTTPRequestHandler):
    server: LyingHub

    def do_GET(self) -> None:
        request = urllib.request.Request(self.server.hub + self.path, method=self.command)
        try:
            with urllib.request.urlopen(request) as reply:
                status, headers, data = reply.status, reply.headers, reply.read()
        except urllib.error.HTTPError as error:
            status, headers, data = error.code, error.headers, error.read()
        if self.command == "GET" and "json" in headers.get("Content-Type", ""):
            data = self.server.change(data)
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        size = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", size)
        self.end_headers()
        self.wfile.write(data)

    do_HEAD = do_GET  # noqa: N815 - what the library calls

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def ask_liar(choose: random.Random, lab: Lab) -> str:
    """An observer asks a hub that lies, and hands on what it signed."""
    with LyingHub(lab.hub, choose) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        at = ("--from", hub.url, "--key", "watcher", "--out", "heard.json")
        call = lab.do(lab.publisher, "observe", "org/name@v2", *at)
        lab.do(lab.user, "pull", choose.choice(NAMES), "--from", hub.url)
        hub.shutdown()
    if call.code == 0:
        lab.do(lab.user, "sign", "--take", "heard.json")
    return f"answers: {hub.done}"


LIES: Final[tuple[Callable[[random.Random, Lab], str], ...]] = (
    *(hand_over, lay_beside, spoil_here, carry, publish_other, forge_catalogue, spoil_followed),
    *(spoil_pins, change_rules, break_rules, change_list, ask_liar),
)


def test_a_copy_follows_its_own_catalogue(made: Lab, tmp_path: Path) -> None:
    """Else its lies would not be heard."""
    lab = made.at(tmp_path / "copy")
    for words in (
        ("add", "shelf", "org/other"),
        ("publish", "shelf", "--keys", "keys", "--to", "www"),
    ):
        lab.do(lab.publisher, "catalogue", *words).ok()
    lab.do(lab.user, "catalogue", "sync").ok()
    assert lab.seen()[0] - made.seen()[0] == {
        (one, "listed") for one, claim in made.seen()[0] if one.startswith("org/other@")
    }


def test_what_holds_before(made: Lab) -> None:
    """Else the campaign would show nothing."""
    held, revoked = made.seen()
    claims = [claim for _, claim in held]
    counts = [claims.count(claim) for claim in ("intact", "published", "observed", "listed")]
    assert counts == [len(NAMES), 1, 1, 1]
    assert revoked == {BAD}
    assert made.may_run("org/name@v2")
    assert not any(made.may_run(name) for name in UNPROVEN)


@pytest.mark.torture
@pytest.mark.timeout(7200)  # a round takes three seconds of a core, and there are 112
@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_no_lie_is_believed(
    lie: Callable[[random.Random, Lab], str], made: Lab, tmp_path: Path
) -> None:
    truth, _ = made.seen()
    for turn in range(rounds(1, 112)):
        choose = random.Random(f"{SEED} {lie.__name__} {turn}")
        lab = made.at(tmp_path / str(turn))
        done = lie(choose, lab)
        held, revoked = lab.seen()
        assert not held - truth, (turn, done)
        assert revoked == {BAD}, (turn, done)
        if lie not in {change_rules, break_rules}:  # what rules say that load is the operator's
            assert not lab.may_run(choose.choice(UNPROVEN)), (turn, done)
        shutil.rmtree(lab.root)
