"""`key`, `sign`, `observe`, `revoke` and what shows claims, from the outside."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.call import Call, inside
from tests.cli.conftest import write
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node
from tests.serve.wire import once

NAME = "org/name"
FILES = {"config.json": b"{}", "model.safetensors": b"w" * 2000}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubSim]:
    root = tmp_path_factory.mktemp("hub")
    HubRepo(root, NAME).commit(FILES)
    with HubSim(root, mode="thread") as hub:
        yield hub


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, hub: HubSim) -> Path:
    home = tmp_path_factory.mktemp("made")
    write(home / "folder")
    inside("add", home / "folder", "--as", "me/mine", home=home).ok()
    inside("pull", NAME, "--from", hub.url, home=home).ok()
    inside("key", "new", "work", home=home).ok()
    return home


@pytest.fixture
def home(tmp_path: Path, made: Path) -> Path:
    """Of a user with one key, who pulled org/name from a hub and added me/mine."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def states(call: Call) -> dict[str, str]:
    """How each claim stands."""
    return {row["claim"]: row["standing"] for row in call.result["claims"]}


def who(home: Path, name: str, code: int = 0) -> Call:
    call = inside("verify", "--who", name, "--json", home=home)
    assert call.code == code, call.err
    return call


def test_a_publisher_signs_and_others_pin(home: Path) -> None:
    assert states(who(home, "me/mine")) == {
        "intact": "holds", "published": "absent", "observed": "absent", "listed": "absent"
    }  # fmt: skip
    signed = inside("sign", "me/mine", "--out", home / "s.json", home=home).ok()
    assert "claims that hold: intact\n" in signed.err
    assert "'outlast key pin me KEY'" in signed.err
    assert states(who(home, "me/mine"))["published"] == "refused"
    inside("key", "pin", "me", "work", home=home).ok()
    assert states(who(home, "me/mine"))["published"] == "holds"
    text = inside("verify", "--who", "me/mine", home=home).ok().out
    assert "intact     yes\n" in text
    assert "published  yes by work (SHA256:" in text
    assert "; number 1 of main" in text
    assert "observed   no: no statement by a named observer" in text
    assert "verified" not in text
    assert "claims    intact, published\n" in inside("show", "me/mine", home=home).ok().out
    again = inside("sign", "--take", home / "s.json", home=home).ok()
    assert "it was here already" in again.err


def test_what_was_pulled_from_a_hub_is_observed_by_you(home: Path, hub: HubSim) -> None:
    (row,) = [r for r in who(home, NAME).result["claims"] if r["claim"] == "observed"]
    assert (row["standing"], row["who"], row["why"]) == ("holds", ["you"], f"at {hub.url}")
    (line,) = inside("ls", NAME, "--json", home=home).ok().documents
    assert [row["standing"] for row in line["claims"]] == ["holds", "absent", "holds", "absent"]


def test_observe_signs_what_the_hub_lists(home: Path, hub: HubSim) -> None:
    call = inside("observe", NAME, "--from", hub.url, "--vantage", "home", "--json", home=home)
    (path,) = home.glob(f"archive/attestations/*/{call.ok().result['statement']}.dsse.json")
    said = json.loads(base64.b64decode(json.loads(path.read_bytes())["payload"]))
    assert said["predicate"]["hub"] == hub.url
    assert said["predicate"]["vantage"] == "home"
    assert (said["predicate"]["files"], said["predicate"]["bytes"]) == (2, 2002)
    inside("key", "pin", "*", "work", "--role", "observer", home=home).ok()
    (row,) = [r for r in who(home, NAME).result["claims"] if r["claim"] == "observed"]
    assert len(row["who"]) == 2


def test_observe_refuses_what_is_not_so(home: Path, hub: HubSim, tmp_path: Path) -> None:
    inside("observe", "me/mine", "--from", hub.url, home=home).failed("usage")
    inside("observe", "org/none", "--from", hub.url, home=home).failed("not-found")
    inside("observe", NAME, "--from", f"s3://{NAME}", home=home).failed("usage")
    commit = who(home, NAME).result["revision"]
    other = HubRepo(tmp_path / "other", NAME)
    other.commit({"config.json": b"{ }"})
    with HubSim(tmp_path / "other", mode="thread") as liar:
        call = inside("observe", NAME, "--from", liar.url, home=home)
        assert call.code == 3, (call.err, commit)


def test_a_hub_that_lists_other_files_is_not_observed(
    home: Path, hub: HubSim, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(hub.root, tmp_path / "changed"))
    (listing,) = [p for p in folder.rglob("*.json") if p.stem == who(home, NAME).result["revision"]]
    listing.write_text(listing.read_text().replace('"size": 2,', '"size": 3,'))
    with HubSim(folder, mode="thread") as liar:
        call = inside("observe", NAME, "--from", liar.url, home=home)
    assert "lists other files" in call.failed("integrity")


def test_a_mirror_is_no_hub_to_observe(home: Path, tmp_path: Path, hub: HubSim) -> None:
    with Node(home / "archive", "--no-swarm") as node:
        call = inside("observe", NAME, "--from", node.url, home=home)
        assert "mirror" in call.failed("policy")
        other = tmp_path / "second"
        other.mkdir()
        inside("pull", NAME, "--from", node.url, home=other).ok()
        assert states(who(other, NAME))["observed"] == "absent"
    inside("pull", NAME, "--from", hub.url, home=other).ok()
    assert states(who(other, NAME))["observed"] == "holds"


def test_what_is_revoked_is_refused_everywhere(home: Path) -> None:
    digest = who(home, NAME).result["manifest"]
    inside("revoke", NAME, "--reason", "a backdoor", home=home).ok()
    assert who(home, NAME, 7).result["revoked"].startswith("a backdoor (by work (SHA256:")
    assert "REVOKED    a backdoor" in inside("verify", "--who", NAME, home=home).out
    assert "REVOKED" in inside("ls", NAME, home=home).ok().out
    assert "REVOKED: a backdoor" in inside("show", NAME, home=home).ok().out
    for command in (
        ("run", NAME, "hello"),
        ("share", NAME, "--out", home / "torrents"),
        ("link", NAME, "--folder", home / "linked"),
        ("export", NAME, "--to", home / "usb"),
    ):
        message = inside(*command, home=home).failed("revoked")
        assert "a backdoor" in message, command
    assert not (home / "linked").exists()
    assert not (home / "usb").exists()
    inside("link", NAME, "--folder", home / "l", "--accept-revoked", digest, home=home).ok()
    inside("link", NAME, "--folder", home / "l2", home=home).ok()  # it is remembered
    assert who(home, NAME, 7).result["revoked"]
    wrong = inside("link", "me/mine", "--accept-revoked", "0" * 64, home=home)
    assert "not revoked" in wrong.failed("not-found")
    inside("link", "me/mine", "--accept-revoked", "x", home=home).failed("usage")


def test_a_revocation_counts_from_the_moment_its_key_is_pinned(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(home, other)
    env = {"XDG_CONFIG_HOME": str(tmp_path / "else")}
    inside("key", "new", "theirs", home=other, env=env).ok()
    inside("revoke", NAME, "--reason", "x", "--out", home / "r.json", home=other, env=env).ok()
    public = inside("key", "export", "theirs", home=other, env=env).ok().out
    inside("sign", "--take", home / "r.json", home=home).ok()
    inside("link", NAME, "--folder", home / "one", home=home).ok()  # a stranger said so
    assert not list(home.glob("archive/trust/revoked/*"))
    inside("key", "pin", "*", public.strip(), "--role", "revoker", home=home).ok()
    assert list(home.glob("archive/trust/revoked/*"))  # a server that runs sees it, too
    inside("link", NAME, "--folder", home / "two", home=home).failed("revoked")


def test_a_revocation_that_came_with_a_copied_folder_is_found(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(home, other)
    inside("revoke", NAME, "--reason", "x", home=other).ok()
    inside("key", "pin", "org", "work", home=home).ok()
    there, here = other / "archive" / "attestations", home / "archive" / "attestations"
    shutil.copytree(there, here, dirs_exist_ok=True)
    inside("share", NAME, "--out", home / "t", home=home).failed("revoked")


def test_the_hubs_api_says_which_claims_hold(home: Path) -> None:
    inside("sign", "me/mine", home=home).ok()
    inside("key", "pin", "me", "work", home=home).ok()
    with Node(home / "archive", "--no-swarm") as node:
        for path in (
            f"/{NAME}/resolve/main/config.json",
            f"/api/models/{NAME}",
            f"/api/models/{NAME}/tree/main",
        ):
            assert header(node, path) == "intact, observed"
        assert header(node, "/me/mine/resolve/main/config.json") == "intact, published"
        assert header(node, "/me/mine/resolve/main/none") is None


def header(node: Node, path: str) -> str | None:
    return once(node.url, path).headers.get("x-outlast-claims")


def test_the_hubs_api_refuses_what_is_revoked(home: Path) -> None:
    digest = who(home, NAME).result["manifest"]
    inside("revoke", NAME, "--reason", "a backdoor", home=home).ok()
    with Node(home / "archive", "--no-swarm") as node:
        for path in (f"/{NAME}/resolve/main/config.json", f"/api/models/{NAME}"):
            reply = once(node.url, path)
            assert reply.status == 403
            assert "a backdoor" in reply.headers["x-error-message"]
            assert "x-outlast-claims" not in reply.headers
        assert once(node.url, "/me/mine/resolve/main/config.json").status == 200
    with Node(home / "archive", "--no-swarm", "--accept-revoked", digest) as node:
        assert once(node.url, f"/{NAME}/resolve/main/config.json").status == 200


def test_a_server_that_runs_learns_of_a_revocation(home: Path) -> None:
    path = f"/{NAME}/resolve/main/config.json"
    tuned = {"outlast.server.tuning.TUNING.claims_s": 0.0}
    with Node(home / "archive", "--no-swarm", tuned=tuned) as node:
        assert once(node.url, path).status == 200
        inside("revoke", NAME, "--reason", "a backdoor", home=home).ok()
        assert once(node.url, path).status == 403


def test_a_bundle_takes_statements_along(home: Path, tmp_path: Path) -> None:
    inside("sign", "me/mine", home=home).ok()
    inside("key", "pin", "me", "work", home=home).ok()
    inside("export", "me/mine", NAME, "--to", home / "usb", home=home).ok()
    page = (home / "usb").rglob("MANIFEST.md")
    assert "claims that hold in the archive that wrote this: intact, published" in next(
        page
    ).read_text().replace("\\", "")
    other = tmp_path / "second"
    other.mkdir()
    # A signature, an observation, and the record of how the folder came.
    assert "3 statements came along" in inside("import", home / "usb", home=other).ok().err
    assert states(who(other, "me/mine"))["published"] == "refused"
    assert states(who(other, NAME))["observed"] == "absent"  # the bundle is no hub
    public = inside("key", "export", "work", home=home).ok().out
    inside("key", "pin", "me", public.strip(), home=other).ok()
    assert states(who(other, "me/mine"))["published"] == "holds"


def test_rotation_by_commands(home: Path) -> None:
    inside("key", "pin", "me", "work", home=home).ok()
    inside("key", "new", "next", home=home).ok()
    inside("key", "pin", "me", "next", home=home).failed("changed-key")
    made = ("key", "export", "next", "--next-of", "work", "--for", "me", "--out", home / "r")
    inside(*made, home=home).ok()
    inside("key", "pin", "--file", home / "r", home=home).ok()
    pins = [d for d in inside("key", "list", "--json", home=home).documents if d["type"] == "pin"]
    assert {(pin["name"], pin["state"], pin["how"]) for pin in pins} == {
        ("work", "retired", "explicit"),
        ("work", "active", "rotation"),
    }
    inside("key", "pin", "--file", home / "r", home=home).failed("changed-key")
    inside("key", "revoke", "next", "--reason", "lost", home=home).ok()
    inside("key", "revoke", "next", "--reason", "lost", home=home).failed("not-found")


def test_first_use_by_commands(home: Path) -> None:
    inside("key", "pin", "me", "--first-use", home=home).failed("not-found")
    inside("sign", "me/mine", home=home).ok()
    inside("key", "pin", "me", "--first-use", home=home).ok()
    assert ", pinned on first use" in inside("verify", "--who", "me/mine", home=home).ok().out
    inside("key", "pin", "me", "--first-use", home=home).failed("changed-key")


@pytest.mark.parametrize(
    "words",
    [
        ("key", "new"),
        ("key", "new", "../x"),
        ("key", "new", "work"),
        ("key", "export", "none"),
        ("key", "pin", "me"),
        ("key", "pin", "*", "work"),
        ("key", "pin", "a/b/c", "work"),
        ("key", "pin", "me", "/nowhere"),
        ("key", "pin", "me", "/etc/passwd"),
        ("key", "pin", "--file", "/etc/passwd"),
        ("key", "pin", "me", "work", "--name", "a\nb"),
        ("key", "revoke", "work"),
        ("key", "revoke", "work", "--reason", " "),
        ("key", "revoke", "work", "--reason", "never pinned"),
        ("sign",),
        ("sign", "me/mine", "--key", "none"),
        ("sign", "me/mine", "--key", "work", "--key", "work"),
        ("sign", "me/mine", "--key", "/"),
        ("sign", "me/mine", "--ref", "../x"),
        ("sign", "me/mine", "--take", "/etc/passwd"),
        ("sign", "--take", "/etc/passwd"),
        ("sign", "--take", "/"),
        ("sign", "me/none"),
        ("observe", "me/mine", "--vantage", "a\nb"),
        ("observe", "org/name", "--from", "http://127.0.0.1:9"),
        ("revoke", "me/mine", "--reason", ""),
        ("revoke", "me/mine", "--reason", "x" * 301),
        ("verify", "--who", "--quarantine"),
        ("verify", "--who", "me/none"),
    ],
)
def test_bad_input_is_one_line(made: Path, words: tuple[str, ...]) -> None:
    home = made  # nothing is changed: one is enough
    before = list(home.glob("archive/attestations/**"))
    call = inside(*words, home=home)
    assert call.code in {2, 3, 4, 5}
    assert call.err.count("\n") == 1
    assert "hint: " in call.err
    assert list(home.glob("archive/attestations/**")) == before


def test_key_files_that_are_not_right(home: Path) -> None:
    folder = home / "config" / "outlast" / "keys"
    assert sorted(path.name for path in folder.iterdir()) == ["work.pem", "work.pub"]
    secret = folder / "work.pem"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700

    def fails(part: str) -> None:
        assert part in inside("sign", "me/mine", home=home).failed("bad-key")

    secret.chmod(0o640)
    fails("other users can read")
    secret.chmod(0o600)
    data = secret.read_bytes()
    secret.write_bytes(data[:40])
    fails("no key that can be read")
    secret.write_bytes(data * 1000)
    fails("too large")
    secret.unlink()
    os.mkfifo(secret, 0o600)
    fails("not a plain file")
    secret.unlink()
    secret.symlink_to(home / "link.pem")
    (home / "link.pem").write_bytes(data)
    (home / "link.pem").chmod(0o644)
    fails("other users can read")
    (home / "link.pem").chmod(0o600)
    inside("sign", "me/mine", home=home).ok()
    inside("key", "new", "other", home=home).ok()
    shutil.copy(folder / "other.pem", home / "link.pem")
    call = inside("sign", "me/mine", "--key", "work", home=home)
    assert "is not the key that the file beside it says" in call.failed("bad-key")
    public = folder / "work.pub"
    public.unlink()
    os.mkfifo(public)
    inside("sign", "me/mine", "--key", "work", home=home).failed("not-found")


def test_a_key_with_a_passphrase(home: Path) -> None:
    file = home / "passphrase"
    file.write_text("open sesame\n")
    inside("key", "new", "locked", "--passphrase-file", file, home=home).failed("bad-key")
    file.chmod(0o600)
    inside("key", "new", "locked", "--passphrase-file", file, home=home).ok()
    sign = ("sign", "me/mine", "--key", "locked")
    assert "no terminal" in inside(*sign, home=home).failed("bad-key")
    inside(*sign, "--passphrase-file", file, home=home).ok()
    file.write_text("wrong\n")
    inside(*sign, "--passphrase-file", file, home=home).failed("bad-key")
    inside("key", "list", home=home).ok()  # needs none


def test_no_secret_is_below_the_archive(home: Path) -> None:
    inside("key", "pin", "me", "work", home=home).ok()
    inside("sign", "me/mine", home=home).ok()
    files = [path for path in (home / "archive").rglob("*") if path.is_file()]
    assert [path for path in files if b"PRIVATE" in path.read_bytes()] == []


def test_an_ssh_key_signs_and_is_pinned(home: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    path = home / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    inside("sign", "me/mine", "--key", path, home=home).ok()
    inside("key", "pin", "me", f"{path}.pub", "--name", "my ssh key", home=home).ok()
    assert "published  yes by my ssh key (" in inside("verify", "--who", "me/mine", home=home).out


def test_a_newer_revision_takes_the_place_of_an_older_one(home: Path) -> None:
    def sign() -> Any:
        return inside("sign", "me/mine", "--json", home=home).ok().result

    inside("key", "pin", "me", "work", home=home).ok()
    first = sign()
    assert sign()["sequence"] == first["sequence"] == 1
    (home / "folder" / "config.json").write_bytes(b"{}")
    inside("add", home / "folder", "--as", "me/mine", home=home).ok()
    assert sign()["sequence"] == 2
    assert states(who(home, "me/mine"))["published"] == "holds"
    assert states(who(home, f"me/mine@{first['revision']}"))["published"] == "superseded"
    inside("rm", "me/mine", home=home).ok()
    inside("gc", home=home).ok()
    inside("add", home / "folder", "--as", "me/mine", home=home).ok()
    assert sign()["sequence"] == 2  # the same manifest again
    (home / "folder" / "config.json").write_bytes(b"[]")
    inside("add", home / "folder", "--as", "me/mine", home=home).ok()
    assert sign()["sequence"] == 3


def test_doctor_counts_and_names_what_is_wrong(home: Path) -> None:
    inside("sign", "me/mine", home=home).ok()
    inside("key", "pin", "me", "work", home=home).ok()
    inside("revoke", NAME, "--reason", "x", home=home).ok()
    text = inside("doctor", home=home).out
    # A signature, an observation, a revocation, and the record of how the folder came.
    assert "4 statements" in text
    assert "1 keys are pinned, 0 have ended" in text
    assert "1 manifests are revoked, 0 of them accepted all the same" in text
    for path in home.glob("archive/**/trust/revoked/*"):
        path.write_bytes(b"?")
    call = inside("doctor", home=home)
    assert "the records of 1 are damaged" in call.out + call.err
    inside("link", NAME, "--folder", home / "l", home=home).failed("revoked")


def test_settings_say_how_many_have_to_agree(home: Path) -> None:
    file = home / "config" / "outlast" / "config.toml"
    file.write_text("[trust]\nobservers = 2\n")
    (row,) = [r for r in who(home, NAME).result["claims"] if r["claim"] == "observed"]
    assert (row["standing"], row["why"]) == (
        "refused",
        "1 of the 2 observers that are needed saw it",
    )
    for bad in ("observers = 0", "signatures = 17", "observers = true", "observer = 1"):
        file.write_text(f"[trust]\n{bad}\n")
        inside("verify", "--who", NAME, home=home).failed("bad-config")


def test_without_cryptography_nothing_is_claimed_and_it_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside("sign", "me/mine", home=home).ok()
    inside("key", "pin", "me", "work", home=home).ok()
    for module in ("keys.extra", "records.assessor"):
        monkeypatch.setattr(f"outlast.features.trust.{module}.has_cryptography", lambda: False)
    (row,) = [r for r in who(home, "me/mine").result["claims"] if r["claim"] == "published"]
    assert row["standing"] == "absent"
    assert "cannot be checked: pip install" in row["why"]
    assert "cryptography" in inside("sign", "me/mine", home=home).failed("usage")
