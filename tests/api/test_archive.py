"""What a script does with an archive."""

import os
import pickle
import socket
import threading
from pathlib import Path

import pytest

import outlast
from tests.api.conftest import FILES
from tests.cli.call import inside
from tests.hubsim import HubSim
from tests.pull.kit import tree


class TestOpen:
    def test_the_archive_of_the_command(self, surroundings: Path, folder: Path) -> None:
        inside("add", folder, "--as", "me/mine", home=surroundings).ok()
        with outlast.open(create=False) as archive:
            assert archive.home == surroundings / "archive"
            assert [line.repo for line in archive.list()] == ["me/mine"]

    def test_a_home_folder_by_its_tilde(self, surroundings: Path) -> None:
        with outlast.open("~/models") as archive:
            assert archive.home == surroundings / "models"
        assert (surroundings / "models" / "manifests").is_dir()

    def test_none_is_made_where_none_may_be(self, tmp_path: Path) -> None:
        with pytest.raises(outlast.NotFoundError):
            outlast.open(tmp_path / "none", create=False, configured=False)
        assert not (tmp_path / "none").exists()

    def test_nothing_of_the_surroundings(self, surroundings: Path, hub: HubSim) -> None:
        """Neither the token in the environment, nor a configuration file, even a wrong one."""
        config = surroundings / "config" / "outlast" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text("no = TOML = at all")
        with pytest.raises(outlast.UsageError, match="TOML"):
            outlast.open()
        with outlast.open(surroundings / "models", configured=False) as archive:
            with pytest.raises(outlast.Error):
                archive.pull("org/secret", from_=hub.url)
            assert archive.pull("org/secret", from_=hub.url, token="hf_right").complete
        with pytest.raises(outlast.UsageError):
            outlast.open(configured=False)


class TestPull:
    def test_from_the_configured_hub(self, surroundings: Path) -> None:
        del surroundings
        with outlast.open() as archive:
            done = archive.pull("org/name", include="*.json", exclude=[])
            assert {file.path for file in done.files if file.archived} == {"config.json"}
            assert not done.complete
            assert sum(done.fetched.values()) == len(FILES["config.json"])
            whole = archive.pull("org/name@v1.0")
            assert whole.complete
            assert whole.commit == done.commit
            assert whole.size == sum(map(len, FILES.values()))
            assert set(whole.refs) == {"main", "v1.0"}
            assert archive.pull("org/secret").complete  # with the token of the environment
            again = archive.pull("org/name")
            assert sum(again.fetched.values()) == 0
            assert archive.revision("org/name") == outlast.Revision(
                *(getattr(again, name) for name in outlast.Revision.__slots__)
            )

    def test_a_plan_changes_nothing(self, archive: outlast.Archive, hub: HubSim) -> None:
        before = tree(archive.home)
        plan = archive.plan_pull("org/name", from_=hub.url, exclude="*.bin")
        assert {file.path for file in plan.to_fetch} == {"config.json", "README.md"}
        assert plan.fetch_bytes == sum(file.size for file in plan.files)
        assert (plan.left_out, plan.fits, plan.source) == (2, True, hub.url)
        after = tree(archive.home)
        assert {p for p in before if "index" not in p} == {p for p in after if "index" not in p}
        assert archive.list() == ()

    def test_a_token_stays_with_its_host(self, archive: outlast.Archive, hub: HubSim) -> None:
        other = "http://127.0.0.2:9"
        with pytest.raises(outlast.UsageError, match="one token"):
            archive.pull("org/secret", from_=[hub.url, other], token="hf_right")
        done = archive.pull("org/secret", from_=[hub.url, other], token={hub.url: "hf_right"})
        assert done.complete
        hub.clear_log()
        archive.pull("org/name", from_=hub.url, token="", include="*.json")
        assert not any(entry.has_auth for entry in hub.requests())

    @pytest.mark.parametrize(
        "wrong",
        [
            {"connections": 0},
            {"connections": 257},
            {"limit_rate": -1},
            {"form": "zip"},
            {"from_": "lan"},
            {"from_": "https://user:password@host"},
            {"token": "with space"},
            {"swarm": True},  # the settings turn it off
        ],
        ids=str,
    )
    def test_wrong_arguments(self, surroundings: Path, wrong: dict[str, object]) -> None:
        del surroundings
        with outlast.open() as archive, pytest.raises(outlast.UsageError):
            archive.pull("org/name", **wrong)  # type: ignore[arg-type]

    def test_the_form(self, archive: outlast.Archive, hub: HubSim) -> None:
        done = archive.pull("org/name", from_=hub.url, form="plain", connections=1, limit_rate=0)
        assert done.complete
        assert done.stored >= done.size

    def test_nothing_listens(
        self, surroundings: Path, hub: HubSim, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Although the command would, with these settings."""
        del surroundings
        monkeypatch.setenv("OUTLAST_SWARM", "1")
        before, during = listeners(), set()

        def look(_event: outlast.Event) -> None:
            during.update(listeners())

        with outlast.open() as archive:
            archive.pull("org/name", from_=hub.url, progress=look)
        assert during <= before
        with socket.create_server(("127.0.0.1", 0)):
            assert listeners() - before

    def test_no_such_model(self, archive: outlast.Archive, hub: HubSim) -> None:
        with pytest.raises(outlast.Error) as caught:
            archive.pull("org/none", from_=hub.url, token="hf_right")
        assert isinstance(caught.value, outlast.NotFoundError)
        assert (caught.value.code, caught.value.exit_code) == ("repo-not-found", 3)
        assert caught.value.hint


def listeners() -> set[str]:
    """The sockets of this process that wait for others, by inode: TCP that listens, and UDP."""
    ours = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            ours.add(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    found = set()
    for table, states in (("tcp", {"0A"}), ("tcp6", {"0A"}), ("udp", {"07"}), ("udp6", {"07"})):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] in states and f"socket:[{fields[9]}]" in ours:
                found.add(fields[9])
    return found


class TestAdd:
    def test_a_folder(self, archive: outlast.Archive, folder: Path) -> None:
        done = archive.add(folder, "me/mine@v2", exclude="noise.bin")
        assert done.refs == ("v2",)
        assert {file.path for file in done.files} == FILES.keys() - {"noise.bin"}
        assert done.new == done.size == sum(len(FILES[file.path]) for file in done.files)
        assert done.stored < done.size
        again = archive.add(str(folder), "me/other", exclude=["noise.bin"])
        assert (again.new, again.repo) == (0, "me/other")

    def test_what_is_not_what_its_name_says(self, archive: outlast.Archive, tmp_path: Path) -> None:
        (tmp_path / "model.gguf").write_bytes(b"<html>no</html>")
        with pytest.raises(outlast.IntegrityError):
            archive.add(tmp_path / "model.gguf", "me/mine", strict=True)
        done = archive.add(tmp_path / "model.gguf", "me/mine")
        assert [(w.path, w.kind) for w in done.warnings] == [("model.gguf", "page")]

    def test_nothing_there(self, archive: outlast.Archive, tmp_path: Path) -> None:
        with pytest.raises(outlast.NotFoundError):
            archive.add(tmp_path / "none", "me/mine")


class TestList:
    def test_by_glob(self, mine: outlast.Archive) -> None:
        assert mine.list("you/*") == ()
        (line,) = mine.list("me/*")
        assert (line.repo, line.refs, line.files, line.complete) == ("me/mine", ("main",), 4, True)
        assert line.size == sum(map(len, FILES.values()))
        assert 0 < line.stored < line.size

    def test_a_damaged_record_is_not_passed_over_in_silence(self, mine: outlast.Archive) -> None:
        for path in mine.home.rglob("refs/models/me/mine/main"):
            path.chmod(0o600)
            path.write_bytes(b"{")
        with pytest.raises(outlast.IntegrityError) as caught:
            mine.list()
        assert caught.value.code == "damaged-record"
        assert [line.repo for line in mine.list(skip_damaged=True)] == ["me/mine"]

    def test_one_revision(self, mine: outlast.Archive) -> None:
        found = mine.revision("me/mine")
        assert {file.path: file.size for file in found.files} == {
            path: len(data) for path, data in FILES.items()
        }
        with pytest.raises(outlast.NotFoundError):
            mine.revision("me/none")


class TestVerify:
    def test_what_is_intact(self, mine: outlast.Archive) -> None:
        assert mine.verify("me/mine").ok
        found = mine.verify()
        assert (found.ok, found.blobs, found.size) == (True, 4, sum(map(len, FILES.values())))

    def test_what_is_damaged(self, mine: outlast.Archive) -> None:
        path = mine.home / "blobs"
        blob = next(p for p in path.glob("*/*") if p.stat().st_size == len(FILES["noise.bin"]))
        blob.chmod(0o600)
        with blob.open("r+b") as file:
            file.write(b"x")
        found = mine.verify("me/mine")
        assert not found.ok
        assert [problem.code for problem in found.problems] == ["corrupt"]
        assert blob.exists()
        mine.verify(quarantine=True)
        assert not blob.exists()


class TestLink:
    def test_a_folder(self, mine: outlast.Archive, tmp_path: Path) -> None:
        folder = mine.link("me/mine", folder=tmp_path / "out")
        assert folder == tmp_path / "out"
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES

    def test_a_cache(self, mine: outlast.Archive, tmp_path: Path) -> None:
        snapshot = mine.link("me/mine", cache=tmp_path / "cache")
        assert snapshot.parent.name == "snapshots"
        assert (snapshot / "words.bin").read_bytes() == FILES["words.bin"]

    def test_in_the_archive(self, mine: outlast.Archive) -> None:
        assert mine.link("me/mine").is_relative_to(mine.home)
        with pytest.raises(outlast.UsageError):
            mine.link("me/mine", folder="a", cache="b")

    def test_a_budget(self, mine: outlast.Archive, tmp_path: Path) -> None:
        with pytest.raises(outlast.StorageError):
            mine.link("me/mine", folder=tmp_path / "out", budget=1000)


class TestClose:
    def test_afterwards(self, tmp_path: Path) -> None:
        archive = outlast.open(tmp_path / "archive", configured=False)
        archive.close()
        archive.close()
        assert "closed" in repr(archive)
        with pytest.raises(outlast.UsageError, match="closed"):
            archive.list()

    def test_it_waits_for_calls(self, mine: outlast.Archive) -> None:
        entered, goes_on = threading.Event(), threading.Event()
        results: list[bool] = []

        def wait(_event: outlast.Event) -> None:
            entered.set()
            assert goes_on.wait(60)

        def check() -> None:
            results.append(mine.verify(progress=wait).ok)

        checking = threading.Thread(target=check)
        closing = threading.Thread(target=mine.close)
        checking.start()
        assert entered.wait(60)
        closing.start()
        while "closed" not in repr(mine):
            pass
        assert closing.is_alive()
        goes_on.set()
        for thread in (checking, closing):
            thread.join(60)
            assert not thread.is_alive()
        assert results == [True]

    def test_not_inside_of_a_call(self, mine: outlast.Archive) -> None:
        with pytest.raises(outlast.UsageError, match="inside"):
            mine.verify(progress=lambda _event: mine.close())
        assert mine.verify().ok


def test_values_can_be_sent_to_another_process(
    mine: outlast.Archive, hub: HubSim, tmp_path: Path
) -> None:
    values = [
        mine.pull("org/name", from_=hub.url),
        mine.plan_pull("org/name", from_=hub.url),
        mine.add(tmp_path / "folder", "me/again"),
        mine.list(),
        mine.revision("me/mine"),
        mine.verify(),
    ]
    for value in values:
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - our own
        hash(value)


def test_threads_share_an_archive(mine: outlast.Archive, folder: Path) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            mine.add(folder, f"me/copy{number}")
            assert mine.verify(f"me/copy{number}").ok
            with mine.open_file(f"me/copy{number}", "words.bin") as file:
                assert file.read() == FILES["words.bin"]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(mine.list()) == 5
