"""The same files end in the same forms, whether they are added, pulled or packed."""

import gzip
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from outlast.codec.payload import Form
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.events import Event, FileDone, Progress
from outlast.core.names import Target
from outlast.fetch.file_filter import Selection
from outlast.intake.form_policy import FormWish, FormWishes
from outlast.ops.add import add
from outlast.ops.pack import pack
from outlast.store.archive import Archive
from tests.cli.call import until
from tests.codec.files import of_gguf
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import MIB, Puller, check_archive, sent
from tests.pull.weights import bf16, model, packed, tuned
from tests.realweights import Tensor
from tests.warm.calls import outlast, start

NAME = "model.safetensors"
MINE = "me/mine"
COUNT = 1 << 18
"""Weights of a block of a capsule: a tensor of so many is one."""
BLOCK = 2 * COUNT

Files = dict[str, bytes]
Made = dict[str, tuple[Form, int, int, tuple[str, ...], str]]
"""By path: the form, the sizes, the bases, and what the stored bytes hash to."""


@dataclass(frozen=True, slots=True)
class Case:
    """`files` come into an archive that holds the models of `before`. `kept`: the form of each path
    that is to have another than plain; the `bases`, if these are to be certain ones. The hub sends
    the file `late` when the file `first` is there.
    """

    files: Files
    kept: Mapping[str, Form]
    before: Sequence[tuple[str, Files]] = ()
    late: str = ""
    first: str = ""
    bases: Sequence[bytes] = ()


Make = Callable[[Path], Case]
CASES: dict[str, Make] = {}


def case(make: Make) -> Make:
    CASES[make.__name__] = make
    return make


def noise(seed: int, count: int) -> bytes:
    return Random(seed).randbytes(count)


def blocks(tensors: Sequence[bytes]) -> dict[str, Tensor]:
    """Tensors of one block each, in this order."""
    return {f"t{n:04}": Tensor("BF16", (1024, 256), data) for n, data in enumerate(tensors)}


_PRESSED = [bf16(seed, COUNT) for seed in range(4)]
_NOISE = [noise(seed, BLOCK) for seed in range(4)]


def pressed(count: int) -> list[bytes]:
    return [_PRESSED[n % 4] for n in range(count)]


def dense(count: int) -> list[bytes]:
    return [_NOISE[n % 4] for n in range(count)]


def card(*names: str) -> bytes:
    return f"---\nbase_model: [{', '.join(names)}]\n---\n# A fine-tune\n".encode()


@case
def a_compressible_start(root: Path) -> Case:
    data = packed(root / NAME, blocks([*pressed(70), *dense(20)]))
    return Case({NAME: data}, {NAME: Form.CAPSULE})


@case
def a_compressible_end(root: Path) -> Case:
    data = packed(root / NAME, blocks([*dense(70), *pressed(20)]))
    return Case({NAME: data}, {NAME: Form.CAPSULE})


@case
def a_start_that_promises_too_much(root: Path) -> Case:
    """The sample of the start meets weights alone, that of the whole noise alone."""
    tensors = pressed(99)
    for number in (7, 24, 40, 57, 74, 90):
        tensors[number] = _NOISE[0]
    return Case({NAME: packed(root / NAME, blocks(tensors))}, {})


def _pair(root: Path, changed: Callable[[int], bool]) -> tuple[bytes, bytes]:
    """A model of 50 MB whose largest tensors are at its end, and a fine-tune; the tensors that
    `changed` says are others altogether.
    """
    base = blocks([bf16(1000 + n, COUNT) for n in range(80)])
    for number in range(70, 80):
        base[f"t{number:04}"] = Tensor("BF16", (2048, 256), bf16(number, 2 * COUNT))
    fine = tuned(base)
    for number, name in enumerate(base):
        if changed(number):
            count = len(base[name].data) // 2
            fine[name] = Tensor("BF16", base[name].shape, bf16(9000 + number, count))
    return packed(root / "base", base), packed(root / "fine", fine)


@case
def a_base_that_the_start_does_not_show(root: Path) -> Case:
    one, two = _pair(root, lambda number: number < 68)
    return Case({NAME: two}, {NAME: Form.DELTA}, before=[("org/base", {NAME: one})])


@case
def a_base_that_only_the_start_resembles(root: Path) -> Case:
    one, two = _pair(root, lambda number: number > 68)
    return Case({NAME: two}, {NAME: Form.CAPSULE}, before=[("org/base", {NAME: one})])


@case
def two_shards(root: Path) -> Case:
    tensors = model(24)
    names = list(tensors)
    halves = {f"model-0000{n + 1}-of-00002.safetensors": names[n::2] for n in (0, 1)}
    files = {
        path: packed(root / path, {name: tensors[name] for name in half})
        for path, half in halves.items()
    }
    return Case(files | {"config.json": b"{}"}, dict.fromkeys(halves, Form.CAPSULE))


@case
def small_siblings(root: Path) -> Case:
    one, two = "model.ema.safetensors", NAME
    files = {one: packed(root / one, tuned(model())), two: packed(root / two, model())}
    return Case(files, dict.fromkeys(files, Form.CAPSULE), (), two, one)


@case
def large_siblings(root: Path) -> Case:
    one, two = "model.ema.safetensors", NAME
    files = {one: packed(root / one, tuned(model(20))), two: packed(root / two, model(20))}
    return Case(files, dict.fromkeys(files, Form.CAPSULE), (), two, one)


def _named(root: Path, layers: int) -> Case:
    """Two models fit, and the card names the one that is farther away."""
    near = tuned(model(layers), seed=1)
    far = model(layers) | {"layers.1.weight": Tensor("BF16", (1024, 256), bf16(7, COUNT))}
    fine = tuned(near, "layers.0.weight", seed=2)
    before = [
        ("org/far", {NAME: packed(root / "far", far)}),
        ("org/near", {NAME: packed(root / "near", near)}),
    ]
    # A path before that of the card
    files = {"A.safetensors": packed(root / "A", fine), "README.md": card("org/far")}
    return Case(files, {"A.safetensors": Form.DELTA}, before, bases=[before[0][1][NAME]])


@case
def a_small_fine_tune_whose_card_names_its_base(root: Path) -> Case:
    return _named(root, 4)


@case
def a_large_fine_tune_whose_card_names_its_base(root: Path) -> Case:
    return _named(root, 20)


def _configured(root: Path, layers: int, first: str) -> Case:
    """The same with a configuration in place of the card, which comes late."""
    made = _named(root, layers)
    files = made.files | {
        "README.md": card("org/nowhere"),
        "config.json": b'{"_name_or_path": "org/far"}',
        "z.bin": noise(9, 3 * MIB),
    }
    return Case(files, made.kept, made.before, "config.json", first, made.bases)


@case
def a_configuration_that_comes_after_large_weights(root: Path) -> Case:
    return _configured(root, 20, "A.safetensors")


@case
def a_configuration_that_comes_after_small_files(root: Path) -> Case:
    return _configured(root, 4, "z.bin")


@case
def a_base_that_nothing_names(root: Path) -> Case:
    files = {NAME: packed(root / NAME, tuned(model(20)))}
    before = [("org/base", {NAME: packed(root / "base", model(20))})]
    return Case(files, {NAME: Form.DELTA}, before)


@case
def earlier_revisions(root: Path) -> Case:
    """Of three, the one with the nearest weights is the base, not the newest."""
    first = tuned(model(20), seed=1)
    other = {"layers.1.weight": Tensor("BF16", (1024, 256), bf16(7, COUNT))}
    before = [
        (f"{MINE}@v1", {NAME: packed(root / "1", first)}),
        (f"{MINE}@v2", {NAME: packed(root / "2", model(20) | other), "README.md": b"# 2\n"}),
        (
            f"{MINE}@main",
            {NAME: packed(root / "3", tuned(first, seed=3) | other), "README.md": b"# 3\n"},
        ),
    ]
    files = {NAME: packed(root / NAME, tuned(first, "layers.0.weight")), "README.md": b"# 4\n"}
    return Case(files, {NAME: Form.DELTA}, before, bases=[before[0][1][NAME]])


@case
def gguf(root: Path) -> Case:
    del root
    weights = {f"blk.{n}.weight": ("F16", (4096, 256), bf16(n, 4 * COUNT)) for n in range(4)}
    return Case({"model.gguf": of_gguf(weights)}, {"model.gguf": Form.CAPSULE})


@case
def many_tiny_tensors(root: Path) -> Case:
    tensors = {f"layers.{n}.scale": Tensor("BF16", (320,), bf16(n, 320)) for n in range(12_000)}
    data = packed(root / NAME, tensors)
    return Case({NAME: data}, {NAME: Form.CAPSULE})


@case
def what_is_small_or_compressed(root: Path) -> Case:
    small = packed(root / "small", {"a": Tensor("BF16", (20_000,), bf16(5, 20_000))})
    zipped = gzip.compress(noise(1, 6 * MIB), 1, mtime=0)
    return Case({"small.safetensors": small, "data.gz": zipped, "config.json": b"{}"}, {})


# The three ways


def put(home: Path, source: Path, name: str, wishes: FormWishes) -> None:
    with Archive(home, create=True) as archive:
        add(
            *(archive, source, Target.parse(name)),
            selection=Selection((), ()),
            follow_links=False,
            control=Control(),
            wishes=wishes,
        )


def laid_out(folder: Path, files: Files) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def prepared(home: Path, case: Case) -> Path:
    for number, (name, files) in enumerate(case.before):
        source = laid_out(home.with_name(f"{home.name}-before-{number}"), files)
        put(home, source, name, FormWishes())
    return home


def made(home: Path, files: Files) -> Made:
    check_archive(home)
    found: Made = {}
    with Archive(home) as archive:
        for path, data in files.items():
            digest = Digest.of(data)
            form = archive.form_of(digest)
            plain = form.form is Form.PLAIN
            place = archive.layout.blob(digest) if plain else archive.layout.capsule(digest)
            held = hashlib.sha256(place.read_bytes()).hexdigest()
            bases = tuple(base.sha256.hex for base in form.bases)
            found[path] = form.form, form.size, form.stored_bytes, bases, held
    return found


def added(root: Path, case: Case) -> Made:
    home = prepared(root / "added", case)
    put(home, laid_out(root / "folder", case.files), MINE, FormWishes())
    return made(home, case.files)


def packed_later(root: Path, case: Case) -> Made:
    home = prepared(root / "packed", case)
    put(home, laid_out(root / "folder", case.files), MINE, FormWishes(FormWish.PLAIN))
    with Archive(home) as archive:
        wishes = FormWishes()
        pack(archive, [Target.parse(MINE)], wishes, dry_run=False, control=Control())
    return made(home, case.files)


def pulled(root: Path, case: Case, connections: int) -> Made:
    pull = Puller(prepared(root / "pulled", case), connections, forms=FormWishes())
    with HubSim(root / "hub", mode="thread") as hub:
        if case.late:
            hold(hub, pull, case)
        pull(MINE, hub.url)
    return made(pull.home, case.files)


def hold(hub: HubSim, pull: Puller, case: Case) -> None:
    """The hub sends the late file when the first one is acknowledged; a late card, for which others
    may wait, when its bytes came.
    """
    left = len(case.files[case.first])
    hub.set_faults([{"action": "hold", "file": case.late}])

    def listen(event: Event) -> None:
        nonlocal left
        if isinstance(event, FileDone) and event.path == case.first:
            hub.set_faults([])
        if isinstance(event, Progress) and event.path == case.first and case.late == "config.json":
            left -= event.count
            if left <= 0:
                hub.set_faults([])

    pull.listener = listen


@pytest.fixture
def hub_root(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Case]:
    """A folder whose folder `hub` has the files of a case."""
    case = CASES[str(request.param)](tmp_path / "weights")
    HubRepo(tmp_path / "hub", MINE).commit(case.files)
    return tmp_path, case


@pytest.mark.parametrize("hub_root", CASES, indirect=True)
def test_three_ways_to_the_same_forms(hub_root: tuple[Path, Case]) -> None:
    root, case = hub_root
    wanted = added(root, case)
    assert {
        path: form for path, (form, *_) in wanted.items() if form is not Form.PLAIN
    } == case.kept
    bases = tuple(Digest.of(data).hex for data in case.bases)
    assert not bases or bases in {bases for *_, bases, _ in wanted.values()}
    assert packed_later(root, case) == wanted
    assert pulled(root, case, connections=4) == wanted


@pytest.mark.parametrize(
    "hub_root",
    ["a_start_that_promises_too_much", "a_base_that_the_start_does_not_show"],
    indirect=True,
)
def test_a_killed_pull_ends_in_the_same_forms(hub_root: tuple[Path, Case]) -> None:
    """It dies after it began a capsule that is not the right one."""
    root, case = hub_root
    wanted = added(root, case)
    home = prepared(root / "archive", case)
    with HubSim(root / "hub", mode="thread") as hub:
        hub.set_faults([{"action": "slow", "rate": 10 * MIB, "file": NAME}])
        arguments = ("pull", MINE, "--from", hub.url, "--form", "auto")
        process = start(*arguments, home=root)
        until(lambda: sent(hub, NAME) > 40 * MIB, "most of it is here")
        process.kill()
        process.wait()
        hub.set_faults([])
        outlast(*arguments, home=root).ok()
    assert made(home, case.files) == wanted


def test_checkpoints_of_one_revision_depend_on_each_other_if_asked(tmp_path: Path) -> None:
    case = CASES["large_siblings"](tmp_path / "weights")
    home = tmp_path / "home"
    put(home, laid_out(tmp_path / "folder", case.files), MINE, FormWishes())
    with Archive(home) as archive:
        target = Target.parse(MINE)
        wishes = FormWishes(base=target)
        pack(archive, [target], wishes, dry_run=False, control=Control())
    forms = sorted(form.value for form, *_ in made(home, case.files).values())
    assert forms == [Form.CAPSULE.value, Form.DELTA.value]


def test_revisions_that_share_their_files_change_nothing(tmp_path: Path) -> None:
    """A sibling is no base because it is in another revision, too."""
    files = CASES["small_siblings"](tmp_path / "weights").files
    found = []
    for wish in (FormWish.AUTO, FormWish.PLAIN):
        home = tmp_path / wish
        for number in (1, 2):
            revision = files | {"README.md": b"# %d\n" % number}
            folder = laid_out(tmp_path / f"{wish}-{number}", revision)
            put(home, folder, f"{MINE}@v{number}", FormWishes(wish))
        with Archive(home) as archive:
            pack(archive, [], FormWishes(), dry_run=wish is FormWish.AUTO, control=Control())
        found.append(made(home, files))
    assert found[0] == found[1]
    assert {form for form, *_ in found[0].values()} == {Form.CAPSULE}
