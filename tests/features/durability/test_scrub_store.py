"""`outlast scrub --store` and `outlast ls --store`: a second home is read again, and put right."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from outlast.bucket.home import SecondHome
from outlast.codec.merkle import PIECE
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import Cancelled, MalformedError, UnreachableError
from outlast.core.events import Event, Progress
from outlast.features.durability.scrub.cursor import ScrubCursor
from outlast.features.durability.scrub.found import Scrubbed
from outlast.features.durability.scrub.scrub import ScrubWishes
from outlast.features.durability.scrub.store import scrub_store
from outlast.features.trust.rules.gate import RuleFiles, RulesGate
from outlast.ops.second_home.check import check
from outlast.ops.second_home.copy import copy
from outlast.ops.second_home.listing import listing
from outlast.store.archive import Archive
from tests.bucket.s3server import S3Server
from tests.bucket.test_second_home import bucket, damage, folder
from tests.campaign import LONG
from tests.cli.call import inside
from tests.noise import noise
from tests.store import weights
from tests.store.test_cached import bring, key

LARGE = noise(5, 2 * PIECE + 77)
BASE = weights.model(1, 20_000)
ALL = ScrubWishes()
TUNED = weights.tuned(BASE, 2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the command line has its archive, with a base, a delta of it and a large file."""
    where = tmp_path_factory.mktemp("filled")
    with Archive(where / "archive", create=True) as archive:
        bring(archive, key("base"), BASE, LARGE, mark=False)
        bring(archive, key("tuned"), TUNED, b"{}", mark=False)
        with archive.writer() as writer:
            weights.pack(archive, writer, Digest.of(TUNED), Digest.of(BASE))
    return where


@pytest.fixture
def archive(home: Path) -> Iterator[Archive]:
    with Archive(home / "archive") as archive:
        yield archive


@pytest.fixture
def there(archive: Archive, tmp_path: Path) -> Path:
    copy(archive, [], folder(tmp_path / "there"), Control())
    return tmp_path / "there"


def scrubbed(
    archive: Archive, store: SecondHome, wishes: ScrubWishes = ALL, mends: bool = True
) -> Scrubbed:
    with ScrubCursor(archive.layout.home, store=store.name) as cursor:
        return scrub_store(store, archive, cursor, wishes, Control(), mends=mends)


def place(there: Path, data: bytes, *, capsule: bool = False, tree: bool = False) -> Path:
    digest = Digest.of(data).hex
    kind = "capsules" if capsule else "trees" if tree else "blobs"
    return there / kind / digest[:2] / (digest + ".olc" * capsule)


def files_of(there: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(there)): path.read_bytes()
        for path in sorted(there.rglob("*"))
        if path.is_file()
    }


class TestDamage:
    def test_nothing_is_damaged(self, archive: Archive, there: Path) -> None:
        result = scrubbed(archive, folder(there))
        assert (result.files, result.found, result.left) == (4, (), 0)

    @pytest.mark.parametrize(
        "what",
        [
            *("blob", "capsule", "base", "gone", "short", "tree", "manifest", "revision"),
            *("head", "second trailer"),
        ],
    )
    def test_it_is_found_and_mended(self, archive: Archive, there: Path, what: str) -> None:
        before = files_of(there)
        manifest = archive.index.manifests_of(*key("base"))[0]
        path = {
            "capsule": place(there, TUNED, capsule=True),
            "head": place(there, TUNED, capsule=True),
            "second trailer": place(there, TUNED, capsule=True),
            "base": place(there, BASE),
            "tree": place(there, LARGE, tree=True),
            "manifest": there / "manifests" / f"{manifest}.json",
            "revision": there / "revisions" / "models" / "org" / "base" / ("a" * 40),
        }.get(what, place(there, LARGE))
        if what == "gone":
            path.unlink()
        elif what == "short":
            os.truncate(path, len(LARGE) - 1)
        else:
            size = path.stat().st_size
            damage(path, {"head": 3, "second trailer": size - 1}.get(what, size // 2))
        left = scrubbed(archive, folder(there), mends=False)
        assert left.damage_left == len(left.found) >= 1
        assert files_of(there) != before
        result = scrubbed(archive, folder(there))
        assert result.damage_left == 0
        assert len(result.found) >= 1
        if what in {"blob", "gone", "short"}:
            assert "org/base@aaaaaaaaaaaa: 1.bin" in result.found[0].problem
        assert files_of(there) == before
        assert scrubbed(archive, folder(there)).found == ()

    def test_any_bit_of_any_file(self, archive: Archive, there: Path) -> None:
        before, random = files_of(there), Random(5)
        for name in before:
            path = there / name
            data = bytearray(before[name])
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
            path.write_bytes(data)
            result = scrubbed(archive, folder(there))
            assert len(result.found) >= 1, name
            assert result.damage_left == 0, (name, result.found)
            assert files_of(there) == before, name

    def test_what_is_not_here_stays_as_it_is(self, there: Path, tmp_path: Path) -> None:
        damage(place(there, LARGE), 100)
        before = files_of(there)
        with Archive(tmp_path / "other", create=True) as other:
            result = scrubbed(other, folder(there))
        [found] = result.found
        assert found.why_not == "it is not in the archive here"
        assert files_of(there) == before

    def test_what_is_damaged_here_too_stays_as_it_is(self, there: Path, tmp_path: Path) -> None:
        damage(place(there, LARGE), 100)
        before = files_of(there)
        with Archive(tmp_path / "other", create=True) as other:
            bring(other, key("base"), BASE, LARGE, mark=False)
            path = other.layout.blob(Digest.of(LARGE))
            path.chmod(0o644)
            damage(path, 200)
            result = scrubbed(other, folder(there))
        assert result.damage_left == 1
        assert files_of(there) == before

    def test_a_right_file_takes_the_place_of_a_damaged_one_in_another_form(
        self, there: Path, tmp_path: Path
    ) -> None:
        """Here the fine-tune is plain; there is a capsule of it, and it is damaged."""
        damage(place(there, TUNED, capsule=True), 1000)
        with Archive(tmp_path / "other", create=True) as other:
            bring(other, key("tuned"), TUNED, b"{}", mark=False)
            result = scrubbed(other, folder(there))
            assert (len(result.found), result.damage_left) == (1, 0)
            assert place(there, TUNED).read_bytes() == TUNED
            assert not place(there, TUNED, capsule=True).exists()
            assert scrubbed(other, folder(there)).found == ()

    def test_a_store_that_does_not_keep_it_is_said(self, archive: Archive) -> None:
        class Liar(dict[str, bytes]):
            def __setitem__(self, name: str, data: bytes) -> None:
                super().__setitem__(name, data[:-1] + bytes([data[-1] ^ 1]))

        with S3Server() as server:
            copy(archive, [], bucket(server), Control())
            name = f"arch/blobs/{Digest.of(LARGE).hex[:2]}/{Digest.of(LARGE).hex}"
            server.objects[name] = bytes(len(LARGE))
            server.objects = Liar(server.objects)
            [found] = scrubbed(archive, bucket(server)).found
            assert not found.mended
            assert "gives something else back" in found.why_not


class TestOrder:
    def test_a_pass_that_ended_early_goes_on(self, archive: Archive, there: Path) -> None:
        seen: list[str] = []

        def scrub_until(cancel: Cancel, most: int) -> None:
            def hear(event: Event) -> None:
                if isinstance(event, Progress):
                    if event.path not in seen:
                        seen.append(event.path)
                    if len(seen) > most:
                        cancel.set()

            with ScrubCursor(archive.layout.home, store="s") as cursor:
                scrub_store(
                    folder(there), archive, cursor, ScrubWishes(), Control(hear, cancel), mends=True
                )

        with pytest.raises(Cancelled):
            scrub_until(Cancel(), 2)
        first = seen[:2]
        seen.clear()
        scrub_until(Cancel(), 100)
        assert len(seen) == 2
        assert not {*first} & {*seen}
        late = scrubbed(archive, folder(there), ScrubWishes(most_seconds=0.0))
        assert (late.files, late.left) == (0, 4)

    def test_one_file_that_does_not_come_holds_up_no_other(self, archive: Archive) -> None:
        with S3Server() as server:
            copy(archive, [], bucket(server), Control())
            server.fail("503", 1000, method="GET", key=Digest.of(LARGE).hex)
            result = scrubbed(archive, bucket(server))
            assert (result.files, result.left, result.found) == (3, 1, ())
            server.faults.clear()
            assert scrubbed(archive, bucket(server)).files == 1
            server.fail("503", 1000, method="GET", key="/blobs/")
            with pytest.raises(UnreachableError):
                scrubbed(archive, bucket(server))


class TestHostileLists:
    @pytest.mark.torture
    @pytest.mark.skipif(not LONG, reason="a client reads many pages of it: make torture")
    def test_a_list_without_end_is_refused(self, archive: Archive) -> None:
        with S3Server() as server:
            copy(archive, [], bucket(server), Control())
            server.endless = True
            with pytest.raises(MalformedError, match="lists more than"):
                scrubbed(archive, bucket(server))
            with pytest.raises(MalformedError, match="lists more than"):
                list(listing(bucket(server)))

    def test_what_goes_between_the_list_and_the_question(self, archive: Archive) -> None:
        with S3Server() as server:
            copy(archive, [], bucket(server), Control())
            name = f"arch/blobs/{Digest.of(LARGE).hex[:2]}/{Digest.of(LARGE).hex}"

            def goes(method: str, key: str) -> str:
                if method == "GET" and key == name:
                    server.objects.pop(name, None)
                return ""

            server.faults.append(goes)
            result = scrubbed(archive, bucket(server), mends=False)
            assert "has no" in result.found[-1].problem

    def test_names_that_are_none_are_passed_over(self, archive: Archive) -> None:
        with S3Server() as server:
            copy(archive, [], bucket(server), Control())
            for odd in ("blobs/xx/zz", f"blobs/00/{'a' * 64}", "revisions/a", "capsules/ab/x.olc"):
                server.objects[f"arch/{odd}"] = b"?"
            assert scrubbed(archive, bucket(server)).found == ()
            assert len(list(listing(bucket(server)))) == 2


def test_scrub_of_a_store(home: Path, there: Path) -> None:
    url = f"file://{there}"
    assert "nothing is damaged" in inside("scrub", "--store", url, home=home).ok().out
    damage(place(there, LARGE), 100)
    call = inside("scrub", "--store", url, "--no-mend", "--json", home=home)
    assert call.code == 4
    assert (call.result["store"], call.result["damage_left"]) == (url, 1)
    verified = inside("verify", "--store", url, home=home)
    assert verified.code == 4
    call = inside("scrub", "--store", url, "--limit-rate", "1G", home=home).ok()
    assert "1 mended" in call.out
    assert check(folder(there), [], Control()).problems == ()


def test_scrub_without_an_archive_here(there: Path, tmp_path: Path) -> None:
    call = inside("scrub", "--store", f"file://{there}", home=tmp_path).ok()
    assert "no archive here" in call.err
    assert not (tmp_path / "archive").exists()


def test_ls_of_a_store(home: Path, there: Path) -> None:
    url = f"file://{there}"
    place(there, LARGE).unlink()
    call = inside("ls", "--store", url, "--json", home=home).ok()
    base, tuned = call.of_type("stored")
    assert (base["repo"], base["complete"], base["missing"]) == ("org/base", False, 1)
    assert (tuned["complete"], tuned["capsules"], tuned["bytes"]) == (True, 1, len(TUNED) + 2)
    assert tuned["stored_bytes"] < tuned["bytes"]
    shown = inside("ls", "--store", url, home=home).ok()
    assert "lacks 1 file" in shown.out
    assert "2 revisions" in shown.err
    some = inside("ls", "--store", url, "*/tuned", home=home).ok().out
    assert "org/base" not in some
    part = inside("ls", "--store", url, "--partial", "--json", home=home).ok()
    assert [one["repo"] for one in part.documents] == ["org/base"]
    damage(next((there / "manifests").iterdir()), 20)
    assert inside("ls", "--store", url, home=home).code == 4
    assert inside("ls", "--store", url, "--sort", "date", home=home).code == 2


def test_what_rules_forbid_is_not_sent_again(home: Path, there: Path) -> None:
    """They came after the copy: the home keeps what it has, and gets no more of it."""
    lost = place(there, LARGE)
    lost.unlink()
    rules = '@id("all") permit (principal, action, resource);\n'
    rules += '@id("no") forbid (principal, action == Action::"export", resource);\n'
    with Archive(
        home / "archive", gate=RulesGate(RuleFiles((rules_file(there, rules),)))
    ) as closed:
        found = scrubbed(closed, folder(there))
    assert not lost.exists()
    assert [one.mended for one in found.found] == [False]
    assert "rules" in found.found[0].why_not


def rules_file(folder: Path, text: str) -> Path:
    path = folder.with_name("rules.cedar")
    path.write_text(text)
    return path
