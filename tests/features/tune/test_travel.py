"""Adapters go the ways that models go, and their records with them."""

import json
from pathlib import Path

import pytest

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError, NotArchivedError, UsageError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId, RunTarget, Target
from outlast.core.records.lineage import LINEAGE_FILE
from outlast.ops.run_adapter import prepare_adapter, resolve
from outlast.store.archive import Archive
from outlast.store.records.lineage import lineage_of
from tests.cli.call import inside
from tests.features.tune.adapters import write_adapter, write_base
from tests.hubsim import HubRepo, HubSim


@pytest.fixture
def base(tmp_path: Path) -> Revision:
    inside("add", write_base(tmp_path / "base"), "--as", "org/base", home=tmp_path).ok()
    return revision(tmp_path, "org/base")


@pytest.fixture
def adapter(tmp_path: Path, base: Revision) -> Revision:
    folder = write_adapter(tmp_path / "adapter", base)
    inside("add", folder, "--as", "me/fact", home=tmp_path).ok()
    return revision(tmp_path, "me/fact")


def revision(home: Path, name: str) -> Revision:
    with Archive(home / "archive") as archive:
        return archive.revision(RepoId.parse(name))


def family(home: Path, name: str) -> list[tuple[str, str | None, bool]]:
    shown = inside("show", name, "--json", home=home).ok().result
    return [(one["repo"], one["making"], one["here"]) for one in shown["family"]]


FAMILY = [("org/base", None, True), ("me/fact", "adapter", True)]


def test_both_sides_know_each_other(tmp_path: Path, adapter: Revision) -> None:
    assert family(tmp_path, "me/fact") == FAMILY
    assert family(tmp_path, "org/base") == FAMILY
    shown = inside("show", "org/base", home=tmp_path).ok().out
    assert f"└─ me/fact {adapter.digest.short}…  adapter" in shown


def test_a_removed_adapter_is_no_derivative(tmp_path: Path, adapter: Revision) -> None:
    del adapter
    inside("rm", "me/fact", home=tmp_path).ok()
    assert family(tmp_path, "org/base") == []


def test_by_bundle(tmp_path: Path, adapter: Revision) -> None:
    media = tmp_path / "media"
    media.mkdir()
    inside("export", "me/fact", "--to", media, home=tmp_path).ok()
    other = tmp_path / "other"
    other.mkdir()
    inside("import", media, home=other).ok()
    assert revision(other, "me/fact").digest == adapter.digest
    assert family(other, "me/fact") == [("org/base", None, False), FAMILY[1]]


def test_by_cache(tmp_path: Path, adapter: Revision) -> None:
    cache = tmp_path / "cache"
    inside("link", "me/fact", "--cache", cache, home=tmp_path).ok()
    other = tmp_path / "other"
    other.mkdir()
    inside("adopt", cache, home=other).ok()
    assert adapter.paths == revision(other, "me/fact").paths
    assert family(other, "me/fact") == [("org/base", None, False), FAMILY[1]]


def test_by_torrent(tmp_path: Path, adapter: Revision) -> None:
    del adapter
    said = inside("share", "me/fact", "--no-seed", home=tmp_path).ok().out
    assert "urn:btmh:" in said


def test_by_pull_with_its_base(tmp_path: Path, base: Revision) -> None:
    root, other = tmp_path / "hub", tmp_path / "other"
    other.mkdir()
    files = {p.name: p.read_bytes() for p in (tmp_path / "base").iterdir()}
    HubRepo(root, "org/base").commit(files)
    with HubSim(root, mode="thread") as hub:
        inside("pull", "org/base", "--from", hub.url, home=other).ok()
        published = revision(other, "org/base")
        made = write_adapter(tmp_path / "published", published)
        HubRepo(root, "me/fact").commit({p.name: p.read_bytes() for p in made.iterdir()})
        third = tmp_path / "third"
        third.mkdir()
        said = inside("pull", "me/fact", "--from", hub.url, home=third).ok()
        assert f"its base is not here: outlast pull org/base@{published.id}" in said.err
        inside("pull", "me/fact", "--from", hub.url, "--with-base", home=third).ok()
        assert family(third, "me/fact") == FAMILY
    assert base.digest != published.digest


def test_the_base_is_found_by_the_record(tmp_path: Path, base: Revision, adapter: Revision) -> None:
    with Archive(tmp_path / "archive") as archive:
        target = RunTarget.parse("me/fact")
        found = resolve(archive, target)
        assert found == RunTarget(Target(base.repo, base.id.hex), Target(adapter.repo, None))
        assert resolve(archive, RunTarget.parse("org/base")).adapter is None
        with prepare_adapter(
            archive,
            found.adapter or target.model,
            base,
            any_base=False,
            budget=None,
            control=Control(),
        ) as ready:
            assert ready.adapter is not None
            assert ready.adapter.modules
            assert ready.path.is_file()


def test_a_base_that_is_another(tmp_path: Path, base: Revision, adapter: Revision) -> None:
    inside("add", write_base(tmp_path / "b2", fill=2), "--as", "org/two", home=tmp_path).ok()
    two = revision(tmp_path, "org/two")
    message = inside("run", "org/two+me/fact", "hi", home=tmp_path).failed("usage")
    assert f"was made for org/base with the manifest {base.digest.short}" in message
    folder = write_adapter(tmp_path / "liar", base, names="org/two")
    inside("add", folder, "--as", "me/liar", home=tmp_path).ok()
    with Archive(tmp_path / "archive") as archive:
        target = Target.parse("me/liar")
        with pytest.raises(MalformedError, match="names org/two as the base"):
            prepare_adapter(archive, target, base, any_base=False, budget=None, control=Control())
        with prepare_adapter(
            archive, Target(adapter.repo, None), two, any_base=True, budget=None, control=Control()
        ):
            pass


def test_a_base_that_is_not_here(tmp_path: Path, adapter: Revision) -> None:
    del adapter
    inside("rm", "org/base", home=tmp_path).ok()
    with (
        Archive(tmp_path / "archive") as archive,
        pytest.raises(NotArchivedError, match="the base org/base"),
    ):
        resolve(archive, RunTarget.parse("me/fact"))


def test_a_pickled_adapter_is_none(tmp_path: Path, base: Revision) -> None:
    folder = write_adapter(tmp_path / "pickled", base)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    inside("add", folder, "--as", "me/pickled", home=tmp_path).ok()
    with Archive(tmp_path / "archive") as archive, pytest.raises(UsageError, match="no adapter"):
        prepare_adapter(
            archive,
            Target.parse("me/pickled"),
            base,
            any_base=False,
            budget=None,
            control=Control(),
        )
    inside("run", "me/pickled", "hi", home=tmp_path).failed("engine")


def test_a_record_that_is_none_is_told_and_stops_nothing(tmp_path: Path, base: Revision) -> None:
    folder = write_adapter(tmp_path / "broken", base)
    (folder / LINEAGE_FILE).write_bytes(b'{"type": "something"}')
    inside("add", folder, "--as", "me/broken", home=tmp_path).ok()
    assert "its record cannot be read" in inside("show", "me/broken", home=tmp_path).ok().out
    inside("run", "me/broken", "hi", home=tmp_path).failed("malformed")


def test_an_adapter_of_another_program_is_taken(tmp_path: Path, base: Revision) -> None:
    folder = write_adapter(tmp_path / "theirs", None, names="/home/someone/base")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n')
    said = inside(
        *("tune", "org/base", "--take", folder, "--data", rows, "--out", "me/theirs", "--json"),
        home=tmp_path,
    ).ok()
    assert said.result["base_manifest"] == base.digest.hex
    with Archive(tmp_path / "archive") as archive:
        found = archive.revision(RepoId.parse("me/theirs"))
        record = lineage_of(archive, found)
        entry = found.find("adapter_config.json")
        assert entry is not None
        assert entry.sha256 is not None
        with archive.open(entry.sha256) as file:
            assert json.load(file)["base_model_name_or_path"] == "org/base"
    assert record is not None
    assert record.data == Digest.of(rows.read_bytes())
    assert family(tmp_path, "me/theirs")[-1] == ("me/theirs", "adapter", True)


def test_what_is_no_adapter_is_not_taken(tmp_path: Path, base: Revision) -> None:
    del base
    tune = ("tune", "org/base", "--out", "me/theirs", "--take")
    inside(*tune, tmp_path / "nothing", home=tmp_path).failed("not-found")
    folder = write_adapter(tmp_path / "theirs", None)
    (folder / "adapter_model.safetensors").write_bytes(b"PK\x03\x04 pickled")
    inside(*tune, folder, home=tmp_path).failed("malformed")
    inside("tune", "org/base", "--out", "me/x", home=tmp_path).failed("usage")
    inside("tune", "org/base", "--out", "org/base", "--take", folder, home=tmp_path).failed("usage")
