"""A pull mends what is damaged here: only the pieces that are wrong come again."""

import os
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from outlast.codec.payload import Form
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError, OutlastError, UnreachableError
from outlast.core.names import RepoId
from outlast.fetch.mending import mend
from outlast.fetch.revision import FetchContext
from outlast.fetch.transfer import Wishes
from outlast.intake.form_policy import FormWishes
from outlast.sources.base import Source
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from outlast.store.records.refs import CACHE, Ref
from tests.hubsim import HubRepo, HubSim
from tests.pull import weights
from tests.pull.kit import BIG, FILES, MIB, Puller, check_pulled, sent
from tests.rot import damage, file_of, see
from tests.store.test_cached import bring, key

SMALL = "sub/tokenizer.json"
TUNED = "org/tuned"


@pytest.fixture
def pulled(hub: HubSim, pull: Puller) -> Puller:
    pull("org/name", hub.url)
    hub.clear_log()
    return pull


def test_one_bad_bit_costs_one_piece(pulled: Puller, hub: HubSim) -> None:
    path = file_of(pulled.home, FILES[BIG])
    damage(path, 0.5)
    assert see(pulled.home) == 1
    result = pulled("org/name", hub.url)
    assert sent(hub) == MIB
    (mended,) = result.mended
    assert (mended.path, mended.fetched, mended.source) == (BIG, MIB, hub.url)
    check_pulled(pulled.home)
    assert see(pulled.home) == 0
    assert pulled("org/name", hub.url).mended == ()


def test_a_file_that_was_cut_short_keeps_its_beginning(pulled: Puller, hub: HubSim) -> None:
    path = file_of(pulled.home, FILES[BIG])
    path.chmod(0o644)
    os.truncate(path, 9 * MIB + 5)
    assert see(pulled.home) == 1
    pulled("org/name", hub.url)
    assert sent(hub) == len(FILES[BIG]) - 9 * MIB
    check_pulled(pulled.home)


def test_a_small_file_is_mended(pulled: Puller, hub: HubSim) -> None:
    damage(file_of(pulled.home, FILES[SMALL]), 0.5)
    assert see(pulled.home) == 1
    (mended,) = pulled("org/name", hub.url).mended
    assert mended.path == SMALL
    assert sent(hub) == len(FILES[SMALL])
    check_pulled(pulled.home)


def test_the_other_name_of_a_file_is_not_written_to(pulled: Puller, hub: HubSim) -> None:
    path = file_of(pulled.home, FILES[BIG])
    other = pulled.home.parent / "mine.safetensors"
    os.link(path, other)
    damage(other, 0.3)
    edited = other.read_bytes()
    assert see(pulled.home) == 1
    pulled("org/name", hub.url)
    check_pulled(pulled.home)
    assert other.read_bytes() == edited
    assert not path.samefile(other)


def test_a_lie_costs_no_more_than_the_piece(pulled: Puller, hub: HubSim) -> None:
    """The tree of the file is known here: wrong pieces are not taken, and right ones stay."""
    damage(file_of(pulled.home, FILES[BIG]), 0.5)
    see(pulled.home)
    hub.set_faults([{"action": "flip", "file": BIG}])
    with pytest.raises(IntegrityError):
        pulled("org/name", hub.url)
    assert see(pulled.home) == 1
    hub.set_faults([])
    hub.clear_log()
    pulled("org/name", hub.url)
    assert sent(hub) == MIB
    check_pulled(pulled.home)


def test_without_a_tree_the_sums_tell_what_is_wrong(pulled: Puller, hub: HubSim) -> None:
    path = file_of(pulled.home, FILES[BIG])
    (pulled.home / "index.sqlite").unlink()  # it has the trees
    damage(path, 0.1, 0.9)
    assert see(pulled.home) == 1
    pulled("org/name", hub.url)
    assert sent(hub) == 2 * MIB
    check_pulled(pulled.home)


@pytest.fixture
def capsules(hub: HubSim, pull: Puller, tmp_path: Path) -> tuple[Puller, bytes, bytes]:
    """A model and a fine-tune of it, held as a capsule and a delta capsule."""
    base = weights.model(24)
    own = weights.tuned(base)
    plain = weights.packed(tmp_path / "base.safetensors", base)
    tuned = weights.packed(tmp_path / "tuned.safetensors", own)
    HubRepo(hub.root, "org/base").commit({BIG: plain})
    card = b"---\nbase_model: org/base\n---\n"
    HubRepo(hub.root, TUNED).commit({BIG: tuned, "README.md": card})
    pull.forms = FormWishes()
    pull("org/base", hub.url)
    pull(TUNED, hub.url)
    with Archive(pull.home) as archive:
        assert archive.form_of(Digest.of(tuned)).form is Form.DELTA
    hub.clear_log()
    return pull, plain, tuned


def test_a_capsule_is_mended_by_plain_pieces(
    capsules: tuple[Puller, bytes, bytes], hub: HubSim
) -> None:
    pull, plain, tuned = capsules
    before = file_of(pull.home, plain).read_bytes()
    damage(file_of(pull.home, plain), 0.4)
    assert see(pull.home) == 1
    pull("org/base", hub.url)
    assert 0 < sent(hub) <= 2 * MIB
    assert file_of(pull.home, plain).read_bytes() == before
    check_pulled(pull.home, {BIG: plain}, "org/base")
    with Archive(pull.home) as archive, archive.open(Digest.of(tuned)) as file:
        assert file.read() == tuned


def test_the_base_of_a_delta_is_mended_and_not_the_delta(
    capsules: tuple[Puller, bytes, bytes], hub: HubSim
) -> None:
    pull, plain, tuned = capsules
    delta = file_of(pull.home, tuned).stat()
    damage(file_of(pull.home, plain), 0.4)
    assert see(pull.home) == 1
    (mended,) = pull(TUNED, hub.url).mended
    assert mended.sha256 == Digest.of(plain).hex
    assert 0 < sent(hub, BIG) <= 2 * MIB
    assert file_of(pull.home, tuned).stat().st_ino == delta.st_ino
    assert see(pull.home) == 0


def test_a_delta_is_mended_against_its_base(
    capsules: tuple[Puller, bytes, bytes], hub: HubSim
) -> None:
    pull, _, tuned = capsules
    before = file_of(pull.home, tuned).read_bytes()
    damage(file_of(pull.home, tuned), 0.3)
    assert see(pull.home) == 1
    pull(TUNED, hub.url)
    assert 0 < sent(hub, BIG) <= 2 * MIB
    assert file_of(pull.home, tuned).read_bytes() == before
    assert see(pull.home) == 0


# Without a source


def mend_here(home: Path, data: bytes, sources: list[Source]) -> None:
    with Archive(home) as archive, archive.writer() as writer:
        mend(FetchContext(archive, writer, sources, Wishes(), Control()), Digest.of(data))


@pytest.mark.parametrize("name", [BIG, SMALL])
def test_a_working_copy_mends_a_blob(pulled: Puller, name: str) -> None:
    data = FILES[name]
    with Archive(pulled.home) as archive:
        copy = archive.layout.copy(Digest.of(data))
        copy.parent.mkdir(parents=True)
        copy.write_bytes(data)
    damage(file_of(pulled.home, data), 0.5)
    assert see(pulled.home) == 1
    mend_here(pulled.home, data, [])
    assert see(pulled.home) == 0
    check_pulled(pulled.home)


def test_a_copy_that_is_damaged_too_mends_nothing(pulled: Puller) -> None:
    with Archive(pulled.home) as archive:
        copy = archive.layout.copy(Digest.of(FILES[BIG]))
        copy.parent.mkdir(parents=True)
        copy.write_bytes(FILES[BIG])
    damage(copy, 0.5)
    damage(file_of(pulled.home, FILES[BIG]), 0.5)
    assert see(pulled.home) == 1
    with pytest.raises(OutlastError):
        mend_here(pulled.home, FILES[BIG], [])
    assert see(pulled.home) == 1


def test_a_source_that_told_nothing_of_a_model_is_not_asked(pulled: Puller, hub: HubSim) -> None:
    """It need not know the name."""
    http = HttpClient(HttpSettings())
    with Archive(pulled.home) as archive, archive.writer() as writer:
        repo = RepoId.parse("org/name")
        for ref in archive.refs.list(repo):
            archive.refs.put(writer, repo, replace(ref, source="elsewhere"))
        about = archive.refs.about(repo)
        archive.refs.put_about(writer, repo, replace(about, facts={}))
    damage(file_of(pulled.home, FILES[BIG]), 0.5)
    see(pulled.home)
    hub.clear_log()
    with pytest.raises(OutlastError):
        mend_here(pulled.home, FILES[BIG], [HubSource(http, hub.url)])
    assert list(hub.requests()) == []


def test_a_source_that_a_model_came_from_is_asked(pulled: Puller, hub: HubSim) -> None:
    damage(file_of(pulled.home, FILES[BIG]), 0.5)
    see(pulled.home)
    hub.clear_log()
    mend_here(pulled.home, FILES[BIG], [HubSource(HttpClient(HttpSettings()), hub.url)])
    assert sent(hub) == MIB
    check_pulled(pulled.home)


def test_of_what_a_cache_had_strangers_are_not_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It may be private. Nodes are asked as for what is restricted."""
    data = b"weights" * 1000
    asked: list[bool] = []

    def refuses(_work: object, restricted: bool) -> NoReturn:
        asked.append(restricted)
        raise UnreachableError("no node is here")

    monkeypatch.setattr("outlast.fetch.mending.lacking_pieces", lambda *_: [0])
    home = tmp_path / "home"
    with Archive(home, create=True) as archive:
        repo, commit = bring(archive, key("one"), data, mark=False)
    damage(file_of(home, data), 0.5)
    assert see(home) == 1
    with Archive(home) as archive, archive.writer() as writer:
        context = FetchContext(archive, writer, (), Wishes(), Control(), coordinator=refuses)
        for source in (CACHE, "https://hub.example"):
            archive.refs.put(writer, repo, Ref("main", commit, source))
            with pytest.raises(UnreachableError):
                mend(context, Digest.of(data))
    assert asked == [True, False]
