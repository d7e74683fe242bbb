"""Records of pulls: what they say, who signed them, and when they were there."""

import base64
import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outlast.core.digest import Digest
from outlast.features.trust.evidence.recorder import LOCAL, NODE, place
from outlast.features.trust.evidence.timestamp import check, read_roots
from tests.cli.call import Call, inside, outlast
from tests.features.trust.evidence.authority import Authority, make_authority
from tests.features.trust.evidence.conftest import FILES
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node, until
from tests.serve.upstream import target
from tests.serve.wire import once
from tests.swarm.seeds import client, magnet_of, make_torrent, write


def configured(home: Path, text: str) -> dict[str, str]:
    path = home / "outlast.toml"
    path.write_text(f"[trust]\n{text}")
    return {"OUTLAST_CONFIG": str(path)}


def shown(home: Path, *more: str | Path, env: Mapping[str, str] | None = None) -> list[Any]:
    call = inside("evidence", *more, "--json", home=home, env=env)
    assert call.code == 0, call.err
    return [line for line in call.documents if line["type"] == "evidence"]


def pulled(home: Path, hub: HubSim, **env: str) -> Call:
    return inside("pull", "org/m", "--from", hub.url, home=home, env=env).ok()


def files_of(home: Path) -> list[Path]:
    return sorted((home / "archive" / "attestations").rglob("*.dsse.json"))


def test_it_says_what_came(home: Path, hub: HubSim) -> None:
    [one] = shown(home, "org/m")
    assert (one["source"], one["ref"], one["told_by"]) == (hub.url, "main", "")
    size = sum(map(len, FILES.values()))
    assert (one["files"], one["bytes"], one["missing"]) == (len(FILES), size, 0)
    assert one["fetched"] == [{"source": hub.url, "bytes": size}]
    assert one["digests"] == [
        {"name": "LICENSE", "sha256": Digest.of(FILES["LICENSE"]).hex, "role": "licence"}
    ]
    assert (one["licence"], one["rules"], one["signed"], one["own"]) == ("mit", "none", "", True)
    assert (one["wrong"], one["timestamps"]) == ([], [])
    text = inside("evidence", "org/m", home=home).ok().out
    assert "not signed" in text
    assert "no timestamp" in text
    assert "verified" not in text


def test_a_pull_that_brings_nothing_adds_none(home: Path, hub: HubSim) -> None:
    before = files_of(home)
    pulled(home, hub)
    assert files_of(home) == before
    assert len(before) == 1


def test_other_rules_add_one(home: Path, hub: HubSim) -> None:
    rules = home / "some.cedar"
    rules.write_text('@id("all") permit (principal, action, resource);\n')
    env = configured(home, f'rules = "{rules}"\n')
    pulled(home, hub, **env)
    one, other = sorted(shown(home, "org/m"), key=lambda found: found["rules"])
    assert (one["rules"], other["rules"]) == ("enforce", "none")
    assert (one["fetched"], bool(other["fetched"])) == ([], True)
    [found] = [row for row in one["digests"] if row["role"] == "rules"]
    assert found == {
        "name": "some.cedar",
        "sha256": Digest.of(rules.read_bytes()).hex,
        "role": "rules",
    }


def test_a_new_commit_has_its_own(home: Path, hub: HubSim) -> None:
    HubRepo(home / "hub", "org/m").commit({"config.json": b'{"a": 1}'})
    pulled(home, hub)
    assert {one["manifest"] for one in shown(home)} == {one.parent.name for one in files_of(home)}
    assert len(files_of(home)) == 2


def test_a_key_of_the_operator_signs(tmp_path: Path, hub: HubSim) -> None:
    env = configured(tmp_path, 'evidence-key = "archive"\n')
    key = inside("key", "new", "archive", "--json", home=tmp_path, env=env).ok().result
    pulled(tmp_path, hub, **env)
    [one] = shown(tmp_path, "org/m", "--verify", env=env)
    assert (one["signed"], one["known"]) == (key["fingerprint"], "yours")
    [path] = files_of(tmp_path)
    envelope = json.loads(path.read_bytes())
    said = json.loads(base64.b64decode(envelope["payload"]))
    assert said["predicate"]["key"] == one["key"]
    assert key["public"].startswith(one["key"])
    assert envelope["signatures"][0]["keyid"] == key["fingerprint"]
    # Where the key is not known, it is said.
    text = inside("evidence", "org/m", home=tmp_path).ok().out
    assert f"signed by {key['fingerprint']}, a key that is not known here" in text


def test_without_the_key_a_pull_goes_on_and_it_is_said(tmp_path: Path, hub: HubSim) -> None:
    env = configured(tmp_path, 'evidence-key = "gone"\n')
    assert (
        "the record of this pull is not signed: no key 'gone'" in pulled(tmp_path, hub, **env).err
    )
    [one] = shown(tmp_path, "org/m")
    assert (one["signed"], one["key"]) == ("", "")


def test_a_key_with_a_passphrase_asks_for_none(tmp_path: Path, hub: HubSim) -> None:
    word = tmp_path / "word"
    word.touch(mode=0o600)
    word.write_text("secret\n")
    env = configured(tmp_path, 'evidence-key = "locked"\n')
    inside("key", "new", "locked", "--passphrase-file", word, home=tmp_path, env=env).ok()
    assert "is not signed: the key locked has a passphrase" in pulled(tmp_path, hub, **env).err
    [one] = shown(tmp_path, "org/m", "--verify", env=env)
    assert (one["signed"], one["key"], one["own"]) == ("", "", True)


def test_a_timestamp_is_checked_by_us_and_by_openssl(home: Path, authority: Authority) -> None:
    env = configured(home, f'timestamps = "{authority.url}"\n')
    [one] = shown(home, "--timestamp", env=env)
    [stamp] = one["timestamps"]
    assert stamp["server"] == authority.url
    assert (stamp["checked"], stamp["why"]) == (False, "not checked: no root certificate was given")
    roots = ("--roots", authority.roots)
    [one] = shown(home, "org/m", "--verify", *roots)
    assert one["timestamps"][0]["checked"]
    assert one["timestamps"][0]["time"] >= one["acquired"]
    shown(home, "--timestamp", env=env)
    assert authority.asked == 1
    [one] = shown(home, "org/m", "--output", home / "out", *roots)
    folder = Path(one["folder"])
    line = ("ts", "-verify", "-data", "record.dsse.json", "-in", "timestamp-1.tsr")
    done = subprocess.run(
        ["openssl", *line, "-CAfile", str(authority.roots)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Verification: OK" in done.stdout + done.stderr
    assert Digest.of((folder / "manifest.json").read_bytes()).hex == one["manifest"]
    assert (folder / "licence-1").read_bytes() == FILES["LICENSE"]


def test_an_authority_of_others_is_refused(
    home: Path, authority: Authority, tmp_path: Path
) -> None:
    other = make_authority(tmp_path / "other")
    env = configured(home, f'timestamps = "{authority.url}"\ntimestamp-roots = "{other.roots}"\n')
    call = inside("evidence", "--timestamp", home=home, env=env)
    assert call.code == 4
    assert "no authority below the given roots" in call.err
    assert len(files_of(home)) == 1
    # One that was kept without roots is said to be wrong.
    inside(
        "evidence",
        "--timestamp",
        home=home,
        env=configured(home, f'timestamps = "{authority.url}"\n'),
    ).ok()
    call = inside("evidence", "org/m", "--verify", "--roots", other.roots, home=home)
    assert (call.code, "no authority below" in call.err) == (4, True)


def test_a_timestamp_of_other_bytes_is_refused(
    home: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = configured(home, f'timestamps = "{authority.url}"\n')
    inside("evidence", "--timestamp", home=home, env=env).ok()
    old = (authority.folder / "reply.tsr").read_bytes()
    HubRepo(home / "hub", "org/m").commit({"config.json": b'{"a": 1}'})
    with HubSim(home / "hub", mode="thread") as hub:
        pulled(home, hub)
    monkeypatch.setattr(authority, "reply", lambda _query: old)
    call = inside("evidence", "--timestamp", home=home, env=env)
    call.failed("malformed")


def test_what_the_authority_refuses_is_said(home: Path, authority: Authority) -> None:
    authority.status = 503
    env = configured(home, f'timestamps = "{authority.url}"\n')
    assert "HTTP 503" in inside("evidence", "--timestamp", home=home, env=env).failed("policy")
    assert "no timestamp authority" in inside("evidence", "--timestamp", home=home).failed("usage")


@pytest.mark.parametrize("digest", ["-sha256", "-sha512"])
def test_a_timestamp_is_of_one_text_and_by_one_digest(
    tmp_path: Path, made: Authority, digest: str
) -> None:
    (tmp_path / "record").write_bytes(b"record")
    line = ("ts", "-query", "-data", "record", digest, "-cert", "-out", "query")
    subprocess.run(["openssl", *line], cwd=tmp_path, check=True, capture_output=True)
    response = made.reply((tmp_path / "query").read_bytes())
    roots = read_roots(made.roots.read_bytes())
    right = [check(response, b"record", given) for given in ((), roots)]
    assert [one.is_wrong for one in right] == [digest == "-sha512"] * 2
    assert right[1].is_checked == (digest == "-sha256")
    for given in ((), roots):
        found = check(response, b"another", given)
        assert (found.is_wrong, found.is_checked) == (True, False)


def test_roots_that_are_none_are_refused(home: Path) -> None:
    (home / "roots.pem").write_bytes(b"none")
    words = ("evidence", "org/m", "--roots", home / "roots.pem")
    inside(*words, home=home).failed("bad-key")


@pytest.mark.parametrize("change", ["signature", "text", "own", "files"])
def test_what_was_changed_is_said(tmp_path: Path, hub: HubSim, change: str) -> None:
    inside("key", "new", "archive", home=tmp_path).ok()
    key = tmp_path / "config" / "outlast" / "keys" / "archive.pem"
    env = configured(tmp_path, f'evidence-key = "{key}"\n')
    pulled(tmp_path, hub, **env)
    [path] = files_of(tmp_path)
    envelope = json.loads(path.read_bytes())
    payload = base64.b64decode(envelope["payload"])
    assert hub.url.encode() in payload
    changed = payload.replace(hub.url.encode(), b"http://127.0.0.1:1")
    if change == "text":  # the signature is taken off, the key stays named
        envelope["signatures"] = []
    envelope["payload"] = base64.b64encode(changed).decode()
    if change in {"own", "files"}:
        envelope["signatures"] = []
        said = json.loads(payload)
        said["predicate"]["key"] = ""
        said["predicate"]["files"] += change == "files"
        envelope["payload"] = base64.b64encode(
            json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
        ).decode()
    data = json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode()
    path.unlink()
    path.with_name(f"{Digest.of(data)}.dsse.json").write_bytes(data)
    call = inside("evidence", "org/m", "--verify", "--json", home=tmp_path)
    [one] = [line for line in call.documents if line["type"] == "evidence"]
    assert (one["own"], one["signed"]) == (False, "")
    if change == "own":
        assert (call.code, one["wrong"]) == (0, [])
        text = inside("evidence", "org/m", home=tmp_path).ok().out
        assert "made by another archive, or one that is not known" in text
    else:
        assert call.code == 4
        word = "other files than the manifest" if change == "files" else "signature"
        assert word in one["wrong"][0]


def test_a_licence_text_that_is_gone_is_said(home: Path) -> None:
    [blob] = [
        path
        for path in (home / "archive" / "blobs").rglob("*")
        if path.is_file() and path.read_bytes() == FILES["LICENSE"]
    ]
    blob.chmod(0o644)
    blob.write_bytes(b"Pay now!")
    call = inside("evidence", "org/m", "--verify", home=home)
    assert call.code == 4
    assert "LICENSE" in call.err


def test_a_bundle_carries_it(home: Path, tmp_path: Path) -> None:
    inside("export", "org/m", "--to", tmp_path / "usb", home=home).ok()
    there = tmp_path / "there"
    there.mkdir()
    inside("import", tmp_path / "usb", home=there).ok()
    [theirs] = [record for record in shown(there, "org/m") if not record["own"]]
    assert theirs["wrong"] == []
    assert theirs["record"] == shown(home, "org/m")[0]["record"]
    [own] = [record for record in shown(there, "org/m") if record["own"]]
    assert own["source"] == "a bundle"


def test_no_claim_follows_from_it(home: Path) -> None:
    [line] = inside("verify", "--who", "org/m", "--json", home=home).ok().documents
    claims = {claim["claim"]: claim for claim in line["claims"]}
    assert (claims["published"]["standing"], claims["published"]["why"]) == ("absent", "")


def test_a_mirror_records_what_comes_through(tmp_path: Path, hub: HubSim) -> None:
    home = tmp_path / "node"
    with Node(home, "--upstream", hub.url) as node:
        for path in FILES:
            assert once(node.url, target(path, "org/m")).status == 200
        attested = home / "attestations"
        until(lambda: bool(list(attested.rglob("*.dsse.json"))), "the record")
        assert node.stop() == 0
    [one] = shown(tmp_path, "org/m", "--home", home)
    assert (one["source"], one["ref"], one["own"]) == (hub.url, "main", True)
    assert one["files"] == len(FILES)


def test_secrets_of_a_url_are_left_out() -> None:
    assert place("https://user:word@hub.example/a?token=x") == "https://hub.example/a"
    assert place("peer 192.168.0.7:8091") == place("swarm 10.0.0.1:7") == NODE
    assert place("/home/me/cache") == LOCAL
    assert place("") == ""


def test_without_a_record_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_bytes(b"a")
    inside("add", tmp_path / "files", "--as", "me/mine", home=tmp_path).ok()
    for record in files_of(tmp_path):
        record.unlink()
    call = inside("evidence", "me/mine", home=tmp_path).ok()
    assert (call.out, "no record" in call.err) == ("", True)


def _with_folder(home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "config.json").write_text("{}")
    inside("add", "mine", "--as", "org/mine", home=home).ok()


def test_each_way_in_leaves_a_record(home: Path, tmp_path: Path) -> None:
    """pull, add, import and adopt; mirrors and torrents have tests beside this one."""
    _with_folder(home)
    assert shown(home, "org/mine")[0]["source"] == "a local folder"
    stick, other = tmp_path / "stick", tmp_path / "other"
    other.mkdir()
    inside("export", "org/m", "org/mine", "--to", stick, home=home).ok()
    inside("import", stick, home=other).ok()
    for name in ("org/m", "org/mine"):
        own = [one for one in shown(other, name) if one["own"]]
        assert [one["source"] for one in own] == ["a bundle"]
    cache = tmp_path / "cache"
    inside("link", "org/m", "--cache", cache, home=home).ok()
    third = tmp_path / "third"
    third.mkdir()
    inside("adopt", cache, home=third).ok()
    assert [one["source"] for one in shown(third, "org/m")] == ["a Hugging Face cache"]


def test_what_came_by_a_torrent_link_leaves_a_record(tmp_path: Path) -> None:
    """It names the torrent, and no peer, whatever these are."""
    folder = write(tmp_path / "theirs" / "model", {"config.json": b"{}", "LICENSE": b"MIT" * 9})
    torrent = make_torrent(folder)
    env = configured(tmp_path, "[swarm]\nprivate = true\npeer-port = 0\npeers = ['127.0.0.1:9']\n")
    with client() as seeder:
        seeder.seed(torrent, folder.parent)
        link = magnet_of(torrent)
        words = ("pull", replace(link, peers=(seeder.address,)).magnet(), "--patience", "60")
        env["OUTLAST_SWARM"] = "1"
        outlast(*words, "--as", "org/theirs", home=tmp_path, env=env).ok()
    [one] = shown(tmp_path, "org/theirs", env=env)
    assert one["source"].startswith("torrent ")
    assert seeder.address[0] not in json.dumps(one)
    assert (one["files"], one["missing"], one["own"], one["wrong"]) == (2, 0, True, [])
    assert [named["role"] for named in one["digests"]] == ["licence"]
    call = inside("evidence", "org/theirs", "--verify", home=tmp_path).ok()
    assert "torrent" in call.out


def test_a_record_outlives_its_revision_until_it_is_deleted(home: Path) -> None:
    [before] = shown(home)
    inside("rm", "org/m", home=home).ok()
    inside("gc", "--now", home=home).ok()
    [after] = shown(home, "--verify")
    assert after["removed"]
    same = {key: value for key, value in before.items() if key != "removed"}
    assert {key: value for key, value in after.items() if key != "removed"} == same
    assert "removed since" in inside("evidence", "org/m", home=home).ok().out
    digest = before["manifest"]
    inside("evidence", "--delete", "0" * 64, home=home).failed("not-found")
    inside("evidence", "--delete", digest, "--dry-run", home=home).ok()
    assert len(shown(home)) == 1
    inside("evidence", "--delete", digest, home=home).ok()
    assert shown(home) == []
    assert files_of(home) == []


def test_what_is_here_again_is_removed_no_more(home: Path, hub: HubSim) -> None:
    [before] = shown(home)
    inside("rm", "org/m", home=home).ok()
    pulled(home, hub)
    assert {one["removed"] for one in shown(home)} == {""}
    inside("evidence", "--delete", before["manifest"], home=home).failed("not-found")


def test_a_kept_manifest_that_was_changed_is_said(home: Path) -> None:
    [before] = shown(home)
    inside("rm", "org/m", home=home).ok()
    path = home / "archive" / "trust" / "removed" / before["manifest"]
    path.write_bytes(path.read_bytes().replace(b"config", b"confiG"))
    inside("evidence", home=home).failed("corrupt")
