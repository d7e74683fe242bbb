"""Files that become capsules while they arrive, with sources that lie and processes that die."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.codec.payload import Form
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import DiskFullError
from outlast.core.events import Event, Progress
from outlast.core.names import Target
from outlast.fetch.job import Job
from outlast.fetch.tuning import TUNING
from outlast.intake import capsule_stream as encoding
from outlast.intake.form_policy import FormWish, FormWishes
from outlast.ops.removal import collect_garbage, remove
from outlast.store.archive import Archive
from outlast.store.partials import present_bytes
from tests.cli.call import until
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import MIB, Puller, check_pulled, sent
from tests.pull.weights import bf16, model, packed, tuned
from tests.realweights import Tensor

NAME = "model.safetensors"
CARD = b"---\nbase_model: org/base\n---\n# A fine-tune\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("weights")
    deep = {f"{n}.{name}": t for n in range(4) for name, t in model(seed=n).items()}
    return {
        "config.json": b"{}",
        "small.safetensors": packed(folder / "small", model(2)),
        NAME: packed(folder / NAME, deep),
        "noise.safetensors": bytes(range(256)) * 40_000,
        "tuned.safetensors": packed(folder / "tuned", tuned(deep)),
    }


@pytest.fixture
def base(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if not path.startswith("tuned")}


@pytest.fixture
def hub(tmp_path: Path, base: dict[str, bytes], files: dict[str, bytes]) -> Iterator[HubSim]:
    HubRepo(tmp_path / "hub", "org/base").commit(base)
    fine = {NAME: files["tuned.safetensors"], "README.md": CARD}
    HubRepo(tmp_path / "hub", "me/tuned").commit(fine)
    with HubSim(tmp_path / "hub", mode="thread") as sim:
        yield sim


@pytest.fixture
def auto(tmp_path: Path) -> Puller:
    return Puller(tmp_path / "home", forms=FormWishes())


def form_of(home: Path, data: bytes) -> Form:
    with Archive(home) as archive:
        return archive.form_of(Digest.of(data)).form


def clean(home: Path) -> None:
    for name in ("partial", "tmp"):
        assert list((home / name).rglob("*")) == []


@pytest.mark.parametrize("wish", FormWish)
def test_each_form(tmp_path: Path, hub: HubSim, base: dict[str, bytes], wish: FormWish) -> None:
    pull = Puller(tmp_path / "home", forms=FormWishes(wish))
    pull("org/base", hub.url)
    check_pulled(pull.home, base, "org/base")
    wanted = Form.PLAIN if wish is FormWish.PLAIN else Form.CAPSULE
    assert form_of(pull.home, base[NAME]) is wanted
    assert form_of(pull.home, base["small.safetensors"]) is wanted
    assert form_of(pull.home, base["noise.safetensors"]) is Form.PLAIN
    assert form_of(pull.home, base["config.json"]) is Form.PLAIN
    clean(pull.home)
    assert pull("org/base", hub.url).fetched == {}


def test_a_fine_tune_depends_on_the_model_of_its_card(
    hub: HubSim, auto: Puller, base: dict[str, bytes], files: dict[str, bytes]
) -> None:
    auto("org/base", hub.url)
    auto("me/tuned", hub.url)
    data = files["tuned.safetensors"]
    check_pulled(auto.home, {NAME: data, "README.md": CARD}, "me/tuned")
    with Archive(auto.home) as archive:
        form = archive.form_of(Digest.of(data))
        assert [found.sha256 for found in form.bases] == [Digest.of(base[NAME])]
        assert form.stored_bytes < 0.25 * len(data)


def test_no_base(hub: HubSim, auto: Puller, files: dict[str, bytes]) -> None:
    auto("org/base", hub.url)
    auto.forms = FormWishes(allow_bases=False)
    auto("me/tuned", hub.url)
    assert form_of(auto.home, files["tuned.safetensors"]) is Form.CAPSULE


def test_a_wrong_piece_is_found_after_it_was_encoded(
    tmp_path: Path, hub: HubSim, auto: Puller, base: dict[str, bytes]
) -> None:
    """One source lies in each piece; what was made from that is thrown away."""
    with HubSim(tmp_path / "hub", mode="thread") as liar:
        liar.set_faults([{"action": "flip", "file": NAME, "at": MIB // 2, "every": MIB}])
        hub.set_faults([{"action": "hold", "file": NAME}])

        def release(event: Event) -> None:
            if isinstance(event, Progress) and event.source == liar.url:
                hub.set_faults([])

        auto.listener = release
        auto("org/base", liar.url, hub.url, include=[NAME])
    check_pulled(auto.home, {NAME: base[NAME]}, "org/base")
    assert form_of(auto.home, base[NAME]) is Form.CAPSULE
    assert auto.banned == {liar.url}
    clean(auto.home)


def test_a_wrong_header_decides_nothing(
    tmp_path: Path, hub: HubSim, auto: Puller, base: dict[str, bytes]
) -> None:
    """With that the file looks as if nothing could be saved; the right one pays."""
    with HubSim(tmp_path / "hub", mode="thread") as liar:
        liar.set_faults([{"action": "flip", "file": NAME, "at": 9}])
        auto("org/base", liar.url, hub.url)
    check_pulled(auto.home, base, "org/base")
    assert form_of(auto.home, base[NAME]) is Form.CAPSULE


def test_an_interrupted_pull_goes_on_and_encodes_anew(
    hub: HubSim, auto: Puller, base: dict[str, bytes]
) -> None:
    class _StopError(Exception):
        pass

    def stop(event: Event) -> None:
        with Archive(auto.home) as archive:
            key = Digest.of(base[NAME]).hex
            if isinstance(event, Progress) and present_bytes(archive.layout, key, 1 << 62) == 0:
                kept = present_bytes(archive.layout, key, len(base[NAME]))
                if kept > 8 * MIB:
                    raise _StopError

    auto.listener = stop
    with pytest.raises(_StopError):
        auto("org/base", hub.url)
    auto.listener = None
    hub.clear_log()
    auto("org/base", hub.url)
    check_pulled(auto.home, base, "org/base")
    assert sent(hub, NAME) < len(base[NAME]) - 7 * MIB
    assert form_of(auto.home, base[NAME]) is Form.CAPSULE
    clean(auto.home)


@pytest.mark.parametrize("call", ["advance", "finish"])
def test_a_full_disk_costs_the_capsule_alone(
    hub: HubSim,
    auto: Puller,
    base: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    def full(*_: object) -> None:
        raise DiskFullError("no room left")

    monkeypatch.setattr(encoding.CapsuleFile, call, full)
    auto("org/base", hub.url, include=[NAME])
    check_pulled(auto.home, {NAME: base[NAME]}, "org/base")
    assert form_of(auto.home, base[NAME]) is Form.PLAIN
    clean(auto.home)


def test_room_is_left_for_what_is_still_to_come(
    hub: HubSim, auto: Puller, base: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk with room for the plain files only, no capsule is begun beside them."""
    free = sum(map(len, base.values())) + TUNING.reserve
    monkeypatch.setattr("outlast.store.disk.free_bytes", lambda _: free)
    monkeypatch.setattr(Job, "awaited", property(lambda job: job.entry.size))
    auto("org/base", hub.url, include=[NAME, "noise.safetensors"])
    assert form_of(auto.home, base[NAME]) is Form.PLAIN


def test_a_base_that_goes_away_meanwhile_costs_the_thin_form_alone(
    hub: HubSim, auto: Puller, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    auto("org/base", hub.url)
    real = encoding.CapsuleFile.publish
    asked: list[Digest] = []

    def publish(self: encoding.CapsuleFile, sha256: Digest) -> bool:
        asked.append(sha256)
        for path in (auto.home / "capsules").glob("*/*"):
            path.unlink()
        return real(self, sha256)

    monkeypatch.setattr(encoding.CapsuleFile, "publish", publish)
    auto("me/tuned", hub.url)
    data = files["tuned.safetensors"]
    assert asked == [Digest.of(data)]
    assert form_of(auto.home, data) is Form.PLAIN
    clean(auto.home)


def test_a_cancelled_pull_leaves_no_thread(hub: HubSim, auto: Puller) -> None:
    hub.set_faults([{"action": "slow", "file": NAME, "rate": 4 * MIB}])
    before = set(threading.enumerate())

    class _StopError(Exception):
        pass

    seen = [0]

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.path == NAME:
            seen[0] += 1
            if seen[0] == 3:
                raise _StopError

    auto.listener = stop
    with pytest.raises(_StopError):
        auto("org/base", hub.url, include=[NAME])

    def left() -> list[str]:
        """Threads that the pull made. The hub in this process makes some, too: asyncio's."""
        made = set(threading.enumerate()) - before
        return [thread.name for thread in made if not thread.name.startswith("asyncio")]

    until(lambda: not left(), "the pull's threads to end")


def test_collection_leaves_what_a_fine_tune_needs(
    hub: HubSim, auto: Puller, base: dict[str, bytes], files: dict[str, bytes]
) -> None:
    auto("org/base", hub.url)
    auto("me/tuned", hub.url)
    with Archive(auto.home) as archive:
        remove(archive, Target.parse("org/base"), dry_run=False, control=Control())
        collect_garbage(archive, dry_run=False, control=Control())
        assert not archive.has(Digest.of(base["noise.safetensors"]), len(base["noise.safetensors"]))
    tuned_files = {NAME: files["tuned.safetensors"], "README.md": CARD}
    check_pulled(auto.home, tuned_files, "me/tuned")


def test_a_small_file_has_a_base_too(tmp_path: Path, auto: Puller) -> None:
    first = {"a.weight": Tensor("BF16", (1024, 256), bf16(8, 1024 * 256))}
    one = packed(tmp_path / "one", first)
    two = packed(tmp_path / "two", tuned(first))
    HubRepo(tmp_path / "hub", "org/one").commit({NAME: one})
    HubRepo(tmp_path / "hub", "org/two").commit({NAME: two})
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        auto("org/one", hub.url)
        auto("org/two", hub.url)
    assert form_of(auto.home, two) is Form.DELTA
    check_pulled(auto.home, {NAME: two}, "org/two")
