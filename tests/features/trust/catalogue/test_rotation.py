"""Other keys: a follower takes them because the ones before signed them, and no others."""

from pathlib import Path

import pytest
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata, Role, Root

from outlast.core.errors import CatalogueRefusedError, PolicyError, UsageError
from outlast.features.trust.catalogue.making.keyfiles import KeyRing, new_key, read_public
from outlast.features.trust.catalogue.making.making import InitWishes, rotate, set_publisher
from outlast.features.trust.catalogue.making.own import read_own
from outlast.features.trust.catalogue.using.opened import OpenCatalogues
from tests.features.trust.catalogue.shelf import DAY, NOW, Shelf, entry, sync_it


def key(shelf: Shelf, name: str) -> SSlibKey:
    return new_key(shelf.keys / f"{name}.pem", None)


def lose(shelf: Shelf, *names: str) -> None:
    for name in names:
        (shelf.keys / f"{name}.pem").unlink()


@pytest.mark.parametrize("role", ["online", "lists", "root"])
def test_a_role_gets_another_key(followed: Path, shelf: Shelf, role: str) -> None:
    rotate(shelf.folder, role, [key(shelf, f"{role}-new")], shelf.ring(), NOW)
    lose(shelf, {"online": "online", "lists": "lists", "root": "root-1"}[role])
    shelf.publish(entry("a/c"))
    done = sync_it(followed, shelf)
    assert (done.root_before, done.root_version) == (1, 2)
    assert done.entries == 2
    assert done.freshness.is_current


def test_a_lost_root_key_is_replaced_with_the_recovery_keys(followed: Path, shelf: Shelf) -> None:
    lose(shelf, "root-1")
    rotate(shelf.folder, "root", [key(shelf, "root-new")], shelf.ring(), NOW)
    lose(shelf, "recovery-1")  # the new key and one of recovery are enough from now on
    rotate(shelf.folder, "online", [key(shelf, "online-new")], shelf.ring(), NOW)
    done = sync_it(followed, shelf)
    assert done.root_version == 3
    assert done.record.root_version == 1


def test_too_few_keys_replace_nothing(followed: Path, shelf: Shelf) -> None:
    lose(shelf, "root-1", "recovery-1")
    before = sorted((shelf.folder / "metadata").iterdir())
    with pytest.raises(PolicyError, match="needs 2 keys"):
        rotate(shelf.folder, "root", [key(shelf, "thief")], shelf.ring(), NOW)
    assert sorted((shelf.folder / "metadata").iterdir()) == before
    assert sync_it(followed, shelf).root_version == 1


def test_a_stolen_root_key_alone_is_refused(followed: Path, shelf: Shelf, tmp_path: Path) -> None:
    """A thief has the folder, one key of the root and the online key, and signs all that it can."""
    thief = new_key(tmp_path / "thief" / "thief.pem", None)
    ring = shelf.ring(tmp_path / "thief", shelf.keys)
    path = shelf.folder / "metadata/1.root.json"
    metadata: Metadata[Root] = Metadata.from_file(str(path))
    root, ids = metadata.signed, metadata.signed.roles["root"].keyids
    root.version = 2
    root.roles["root"] = Role([thief.keyid], 1)
    stolen = root.keys[ids[0]]
    root.keys[thief.keyid] = thief
    metadata.signatures.clear()
    for signer in ring.signers({thief.keyid: thief, stolen.keyid: stolen}):
        metadata.sign(signer, append=True)
    metadata.to_file(str(shelf.folder / "metadata/2.root.json"))
    with pytest.raises(CatalogueRefusedError, match="root 2"):
        sync_it(followed, shelf)
    assert OpenCatalogues(followed, clock=lambda: NOW).each()[0].freshness.is_current


def test_a_changed_threshold_holds_from_then_on(followed: Path, shelf: Shelf) -> None:
    rotate(shelf.folder, "root", [key(shelf, "root-new")], shelf.ring(), NOW, threshold=3)
    assert sync_it(followed, shelf).root_version == 2
    lose(shelf, "recovery-2")
    with pytest.raises(PolicyError, match="needs 3 keys"):
        rotate(shelf.folder, "online", [key(shelf, "online-new")], shelf.ring(), NOW)


def test_a_follower_that_missed_many_roots(followed: Path, shelf: Shelf) -> None:
    for number in range(5):
        rotate(shelf.folder, "online", [key(shelf, f"online-{number}")], shelf.ring(), NOW)
    assert sync_it(followed, shelf).root_version == 6


def test_the_root_is_signed_again_in_time(followed: Path, shelf: Shelf) -> None:
    shelf.now = NOW + 364 * DAY
    rotate(shelf.folder, "root", [], shelf.ring(), shelf.now)
    shelf.now = NOW + 370 * DAY
    shelf.publish()
    assert sync_it(followed, shelf).freshness.is_current


def test_after_a_root_without_the_rest_what_was_there_is_stale(
    followed: Path, shelf: Shelf
) -> None:
    old = (shelf.folder / "metadata/timestamp.json").read_bytes()
    rotate(shelf.folder, "online", [key(shelf, "online-new")], shelf.ring(), NOW)
    (shelf.folder / "metadata/timestamp.json").write_bytes(old)
    with pytest.raises(CatalogueRefusedError):
        sync_it(followed, shelf)
    (opened,) = OpenCatalogues(followed, clock=lambda: NOW).each()
    assert "its root has changed" in opened.freshness.text
    assert [one.entry for one in opened.all()] == [entry("a/b")]
    shelf.publish()
    assert sync_it(followed, shelf).freshness.is_current


def test_a_publisher_goes_over_to_another_key(followed: Path, shelf: Shelf) -> None:
    keys = shelf.publisher("acme", "old")
    ring = shelf.ring(shelf.keys, keys)
    shelf.publish(entry("acme/m"), ring=ring)
    old = read_public(keys / "old.pub")
    new = new_key(keys / "new.pem", None)
    with pytest.raises(PolicyError, match="other keys now"):
        set_publisher(shelf.folder, "acme", [new], shelf.ring(), NOW)  # who signs its lists?
    set_publisher(shelf.folder, "acme", [old, new], shelf.ring(), NOW)
    (keys / "old.pem").unlink()
    shelf.publish(entry("acme/m", 2), ring=shelf.ring(shelf.keys, keys))
    set_publisher(shelf.folder, "acme", [new], shelf.ring(), NOW)
    assert sync_it(followed, shelf).entries == 3


def test_an_organisation_that_is_listed_already(shelf: Shelf) -> None:
    shelf.publish(entry("acme/m"))
    with pytest.raises(PolicyError, match="would be its publisher's"):
        shelf.publisher("acme", "acme")


def test_two_spellings_of_an_organisation(shelf: Shelf) -> None:
    shelf.publisher("acme", "acme")
    with pytest.raises(PolicyError, match="another spelling"):
        shelf.publisher("Acme", "acme")


def test_recovery_keys_that_recover_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="recover nothing"):
        Shelf(tmp_path, wishes=InitWishes(2, 1, 2)).init()
    assert not (tmp_path / "keys").exists()


def test_a_catalogue_is_not_made_twice(shelf: Shelf) -> None:
    root = (shelf.folder / "metadata/1.root.json").read_bytes()
    with pytest.raises(PolicyError, match="already"):
        shelf.init()
    assert (shelf.folder / "metadata/1.root.json").read_bytes() == root


def test_keys_are_for_their_owner_alone(shelf: Shelf) -> None:
    for path in shelf.keys.glob("*.pem"):
        assert path.stat().st_mode & 0o077 == 0
    (shelf.keys / "online.pem").chmod(0o640)
    with pytest.raises(PolicyError, match="others may read"):
        shelf.ring()


def test_a_key_with_a_passphrase(tmp_path: Path) -> None:
    public = new_key(tmp_path / "k.pem", b"secret")
    assert b"ENCRYPTED" in (tmp_path / "k.pem").read_bytes()
    ring = KeyRing([tmp_path], lambda _: b"secret")
    assert [s.public_key for s in ring.signers({public.keyid: public})] == [public]
    wrong = KeyRing([tmp_path], lambda _: b"other")
    with pytest.raises(UsageError, match="with this passphrase"):
        wrong.signers({public.keyid: public})


def test_the_read_catalogue_is_the_one_that_was_made(shelf: Shelf) -> None:
    assert read_own(shelf.folder, NOW).entries() == []
