"""A second home: what is copied there is all there, comes back right, and damage is seen."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.bucket.home import SecondHome
from outlast.bucket.objects import check_place, open_objects
from outlast.bucket.tuning import TUNING
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import (
    BadConfigError,
    CorruptError,
    PolicyError,
    StorageError,
    UnreachableError,
)
from outlast.core.names import RepoId, Target
from outlast.ops.second_home.check import check
from outlast.ops.second_home.copy import copy
from outlast.sources.settings import S3Place
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from tests.bucket.s3server import BUCKET, S3Server
from tests.serve.node import Node, outlast
from tests.serve.upstream import same, target
from tests.store import weights
from tests.store.test_cached import bring, key

BASE = weights.model(1, 20_000)
TUNED = weights.tuned(BASE, 2)
LARGE = os.urandom(9 << 20)
QUICK = replace(TUNING, backoff=0.001, longest_backoff=0.01, silence=1.0, retries=3, listed=100)
KEYS = "id:secret"
_MORE = [pytest.param(what, marks=pytest.mark.torture) for what in ("500", "429")]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """A base, a fine-tune that is a delta of it, and a file that goes in parts."""
    with Archive(tmp_path_factory.mktemp("filled") / "home", create=True) as archive:
        bring(archive, key("base"), BASE, LARGE, mark=False)
        bring(archive, key("tuned"), TUNED, b"{}", b"", mark=False)
        with archive.writer() as writer:
            weights.pack(archive, writer, Digest.of(TUNED), Digest.of(BASE))
            archive.refs.put_about(writer, key("tuned")[0], About(tags=("x",)))
        yield archive


def folder(path: Path) -> SecondHome:
    return SecondHome(open_objects(f"file://{path}", S3Place(), create=True))


def bucket(server: S3Server) -> SecondHome:
    place = S3Place(endpoint=server.url)
    return SecondHome(open_objects(f"s3://{BUCKET}/arch", place, KEYS, tuning=QUICK), QUICK)


def damage(path: Path, at: int = -5) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


class TestFolder:
    def test_the_copy_is_an_archive_and_nothing_is_sent_twice(
        self, filled: Archive, tmp_path: Path
    ) -> None:
        home = folder(tmp_path / "there")
        done = copy(filled, [], home, Control())
        assert (len(done.revisions), done.sent, done.already) == (2, 5, 1)  # one base, asked twice
        again = copy(filled, [], home, Control())
        assert (again.sent, again.sent_bytes) == (0, 0)
        assert check(home, [], Control()).problems == ()
        with Archive(tmp_path / "there") as archive:
            for repo, commit in (key("base"), key("tuned")):
                revision = archive.load(repo, commit)
                assert revision == filled.load(repo, commit)
                assert archive.refs.list(repo) == [Ref("main", commit)]
                for entry in revision.files if revision else ():
                    assert entry.sha256 is not None
                    with archive.open_blob(entry.sha256) as blob:
                        assert blob.sha256() == entry.sha256
            assert archive.refs.about(key("tuned")[0]) == About(tags=("x",))

    def test_it_can_be_pulled_and_served_from(self, filled: Archive, tmp_path: Path) -> None:
        there, home = f"store+file://{tmp_path}/there", tmp_path / "home"
        copy(filled, [], folder(tmp_path / "there"), Control())
        outlast(home, "pull", "org/tuned", "--from", there)
        with Archive(home) as archive, archive.open_blob(Digest.of(TUNED)) as blob:
            assert blob.sha256() == Digest.of(TUNED)
        printed = outlast(home, "verify", "--store", f"file://{tmp_path}/there", "org/tuned")
        assert printed.startswith("1 revision, 3 blobs")
        with Node(tmp_path / "mirror", "--upstream", there, "--keep", "1GB") as node:
            part = node.get(target("1.bin", "org/base"), Range="bytes=100-1000099")
            assert part.status == 206
            assert same(part.body, LARGE[100:1_000_100])
            assert same(node.get(target("0.bin", "org/tuned")).body, TUNED)

    def test_private_models_are_for_the_operator(self, filled: Archive, tmp_path: Path) -> None:
        repo = key("secret")[0]
        bring(filled, key("secret"), b"secret weights", mark=False)
        with filled.writer() as writer:
            filled.refs.put_about(writer, repo, About(private=True))
        home = folder(tmp_path / "there")
        copy(filled, [Target(repo, None)], home, Control())
        with filled.writer() as writer:
            filled.refs.put_about(writer, repo, About())
        copy(filled, [Target(repo, None)], home, Control())
        assert home.about(repo).private  # what restricts is not lifted by a copy
        there = f"store+file://{tmp_path}/there"
        outlast(tmp_path / "home", "pull", str(repo), "--from", there)
        with Node(tmp_path / "home", "--upstream", there) as node:
            assert node.get(target("0.bin", str(repo))).status == 401
        filled.refs.delete(repo, "main")
        filled.delete_revision(repo, key("secret")[1])

    @pytest.mark.parametrize("what", ["blob", "capsule", "manifest", "revision", "gone"])
    def test_damage_is_found_and_never_archived(
        self, filled: Archive, tmp_path: Path, what: str
    ) -> None:
        there = tmp_path / "there"
        copy(filled, [], folder(there), Control())
        name = Digest.of(TUNED).hex if what == "capsule" else Digest.of(LARGE).hex
        manifest = filled.index.manifests_of(*key("base"))[0]
        path = {
            "blob": there / "blobs" / name[:2] / name,
            "gone": there / "blobs" / name[:2] / name,
            "capsule": there / "capsules" / name[:2] / f"{name}.olc",
            "manifest": there / "manifests" / f"{manifest}.json",
            "revision": there / "revisions" / "models" / "org" / "base" / ("a" * 40),
        }[what]
        if what == "gone":
            path.unlink()
        else:
            damage(path, len(path.read_bytes()) // 2)
        model = "org/tuned" if what == "capsule" else "org/base"
        problems = check(folder(there), [], Control()).problems
        assert [one.path.split("@")[0] for one in problems] == [model]
        with pytest.raises(RuntimeError):
            outlast(tmp_path / "home", "pull", model, "--from", f"store+file://{there}")
        with Archive(tmp_path / "home", create=True) as archive:
            assert not archive.has(
                Digest(name), len(LARGE if name != Digest.of(TUNED).hex else TUNED)
            )

    def test_what_is_damaged_here_does_not_go_there(self, tmp_path: Path) -> None:
        with Archive(tmp_path / "home", create=True) as archive:
            bring(archive, key("base"), LARGE, mark=False)
            path = archive.layout.blob(Digest.of(LARGE))
            path.chmod(0o644)
            damage(path)
            home = folder(tmp_path / "there")
            with pytest.raises(CorruptError):
                copy(archive, [], home, Control())
            assert home.place_of(Digest.of(LARGE)) is None
            assert home.repos() == []

    def test_a_folder_without_an_archive_is_not_one(self, tmp_path: Path) -> None:
        (tmp_path / "outlast.json").write_bytes(b'{"outlast-archive": 99}\n')
        with pytest.raises(StorageError):
            check(folder(tmp_path), [], Control())
        with Archive(tmp_path / "home", create=True) as archive, pytest.raises(StorageError):
            copy(archive, [], folder(tmp_path), Control())


class TestBucket:
    @pytest.mark.parametrize("conditions", [True, False])
    def test_all_of_it_goes_there_and_comes_back(self, filled: Archive, conditions: bool) -> None:
        with S3Server(conditions=conditions) as server:
            done = copy(filled, [], bucket(server), Control())
            assert done.sent == 5
            assert check(bucket(server), [], Control()).problems == ()
            assert copy(filled, [], bucket(server), Control()).sent == 0
            assert any(method == "POST" for method, _ in server.asked)  # the large one, in parts

    @pytest.mark.parametrize("what", ["503", "cut", "hang", *_MORE])
    def test_faults_that_pass_are_outlived(self, filled: Archive, what: str) -> None:
        with S3Server() as server:
            if what not in {"cut", "hang"}:
                server.fail(what, 1, method="PUT", key="blobs")
                server.fail(what, 1, method="POST")
                server.fail(what, 2, method="HEAD")
            copy(filled, [], bucket(server), Control())
            server.fail(what, 2, method="GET", key="/blobs/")
            found = check(bucket(server), [], Control())
            assert found.problems == ()
            assert server.faults == []

    def test_a_store_that_stays_down_is_said_and_the_rest_goes_later(self, filled: Archive) -> None:
        with S3Server() as server:
            server.fail("503", 1000, method="PUT", key="manifests")
            with pytest.raises(UnreachableError, match="503"):
                copy(filled, [], bucket(server), Control())
            server.faults.clear()
            assert bucket(server).repos() == []  # nothing names what is not whole
            done = copy(filled, [], bucket(server), Control())
            assert len(done.revisions) == 2
            assert done.already > 0
            assert check(bucket(server), [], Control()).problems == ()

    def test_an_upload_that_breaks_leaves_nothing(self, filled: Archive) -> None:
        with S3Server() as server:
            server.fail("500", 1000, method="PUT", key=Digest.of(LARGE).hex)
            with pytest.raises(UnreachableError):
                copy(filled, [], bucket(server), Control())
            server.faults.clear()
            assert bucket(server).place_of(Digest.of(LARGE)) is None

    def test_two_writers_with_different_models(self, tmp_path: Path) -> None:
        """Each names what it has; a ref is where it was seen last."""
        with S3Server() as server:
            for number, when in ((1, "2026-02-01"), (2, "2026-01-01")):
                with Archive(tmp_path / str(number), create=True) as archive:
                    which = bring(archive, key("one", f"{number}"), b"%d" % number, mark=False)
                    with archive.writer() as writer:
                        archive.refs.put(writer, which[0], Ref("main", which[1], "hub", when))
                    copy(archive, [], bucket(server), Control())
            home = bucket(server)
            assert [c.hex[0] for c in home.commits(RepoId.parse("org/one"))] == ["1", "2"]
            ref = home.ref(RepoId.parse("org/one"), "main")
            assert ref is not None
            assert ref.commit.hex[0] == "1"


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        ["", "s3://", "http://x/y", "file://host/x", "file:///", "s3://a/../b", "s3://k:s@b/c"],
    )
    def test_refused(self, url: str) -> None:
        with pytest.raises(BadConfigError):
            check_place(url)

    def test_no_signed_request_leaves_unencrypted(self) -> None:
        with pytest.raises(PolicyError):
            open_objects("s3://b", S3Place(endpoint="http://store.example"), KEYS)
