"""``add`` in every form: what is kept, what it depends on, and what it costs."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from outlast.codec.payload import Form
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import TransientError
from outlast.core.names import Target
from outlast.fetch.file_filter import Selection
from outlast.intake.form_policy import FormWish, FormWishes
from outlast.ops.add import Added, add
from outlast.ops.removal import collect_garbage
from outlast.store.archive import Archive
from outlast.store.encoding import Encoding
from tests.noise import noise
from tests.pull.kit import check_archive, contents
from tests.pull.weights import ROWS, bf16, model, packed, tuned
from tests.realweights import Tensor

AUTO = FormWishes()
NOISE = noise(3, 5_000_000)


def put(
    home: Path, source: Path, name: str = "org/model", wishes: FormWishes = AUTO, **more: Control
) -> Added:
    with Archive(home, create=True) as archive:
        return add(
            *(archive, source, Target.parse(name)),
            selection=Selection((), ()),
            follow_links=False,
            control=more.get("control", Control()),
            wishes=wishes,
        )


def forms(home: Path, name: str = "org/model") -> dict[str, Form]:
    target = Target.parse(name)
    with Archive(home) as archive:
        return {
            entry.path: archive.form_of(entry.sha256).form
            for entry in archive.revision(target.repo, target.ref).files
            if entry.sha256 is not None
        }


def stored(home: Path, data: bytes) -> int:
    with Archive(home) as archive:
        return archive.form_of(Digest.of(data)).stored_bytes


def check(home: Path, files: Mapping[str, bytes], name: str = "org/model") -> None:
    check_archive(home)
    assert contents(home, name) == files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("model")
    packed(root / "model.safetensors", model())
    packed(root / "small.safetensors", {"a": Tensor("BF16", (20_000,), bf16(5, 20_000))})
    (root / "noise.safetensors").write_bytes(NOISE)
    (root / "README.md").write_bytes(b"# A model\n" * 1000)
    return root


@pytest.mark.parametrize("wish", FormWish)
def test_each_form_is_kept_where_it_is_wished(tmp_path: Path, folder: Path, wish: FormWish) -> None:
    put(tmp_path / "home", folder, wishes=FormWishes(wish))
    found = forms(tmp_path / "home")
    assert found.pop("model.safetensors") == (Form.PLAIN if wish == "plain" else Form.CAPSULE)
    assert set(found.values()) == {Form.PLAIN}  # too small, or of no use
    check(tmp_path / "home", {path.name: path.read_bytes() for path in folder.iterdir()})
    assert list((tmp_path / "home").glob("tmp/*")) == []


def test_a_capsule_holds_a_third_less(tmp_path: Path, folder: Path) -> None:
    put(tmp_path, folder)
    data = (folder / "model.safetensors").read_bytes()
    assert stored(tmp_path, data) < 0.72 * len(data)


def test_the_plain_form_is_never_written_beside(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    real = Encoding.finish

    def finish(self: Encoding, digest: Digest) -> None:
        real(self, digest)
        everything = [path for path in tmp_path.rglob("*") if path.is_file()]
        written.append(sum(p.stat().st_size for p in everything if p.suffix == ".tmp"))

    monkeypatch.setattr(Encoding, "finish", finish)
    put(tmp_path, folder / "model.safetensors")
    size = (folder / "model.safetensors").stat().st_size
    assert len(written) == 1
    assert written[0] < 0.72 * size


def test_what_only_seemed_to_pay_is_plain(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample says yes, the whole says no: then the file is read once more."""
    del folder
    source = tmp_path / "noise.safetensors"
    source.write_bytes(NOISE)
    monkeypatch.setattr("outlast.intake.form_policy._HOPELESS", 2.0)
    put(tmp_path / "home", source)
    assert forms(tmp_path / "home") == {"noise.safetensors": Form.PLAIN}
    check(tmp_path / "home", {"noise.safetensors": NOISE})
    assert list((tmp_path / "home").glob("tmp/*")) == []


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path, folder: Path) -> None:
    source = tmp_path / "model.safetensors"
    source.write_bytes((folder / "model.safetensors").read_bytes())

    def touch(event: object) -> None:
        if type(event).__name__ == "Progress":
            source.touch()

    with pytest.raises(TransientError):
        put(tmp_path / "home", source, control=Control(touch))
    assert list((tmp_path / "home" / "capsules").glob("*/*")) == []
    assert list((tmp_path / "home").glob("tmp/*")) == []


def test_what_is_here_is_not_stored_again_in_another_form(tmp_path: Path, folder: Path) -> None:
    home = tmp_path / "home"
    first = put(home, folder, wishes=FormWishes(FormWish.PLAIN))
    again = put(home, folder, "org/other")
    assert first.stored > 0
    assert again.stored == 0
    assert set(forms(home, "org/other").values()) == {Form.PLAIN}


def test_a_long_header_is_waited_for(tmp_path: Path) -> None:
    """Longer than all that the encoder keeps: it is not read twice."""
    tensors = model()
    data = packed(tmp_path / "model.safetensors", tensors, note="x" * 14_000_000)
    put(tmp_path / "home", tmp_path / "model.safetensors")
    assert forms(tmp_path / "home") == {"model.safetensors": Form.CAPSULE}
    check(tmp_path / "home", {"model.safetensors": data})


# What a file depends on

EDITS = ("header", "resharded", "tuned", "vocabulary", "rows")


def edit(name: str, folder: Path) -> dict[str, bytes]:
    """One of the five edits of a model, as files below `folder`."""
    base = model()
    if name == "header":
        packed(folder / "model.safetensors", base, note="a longer header than before")
    elif name == "resharded":
        names = list(base)
        for number in range(3):
            part = {tensor: base[tensor] for tensor in names[number::3]}
            packed(folder / f"model-{number + 1}-of-3.safetensors", part)
    elif name == "tuned":
        packed(folder / "model.safetensors", tuned(base, "layers.4.weight", "layers.5.weight"))
    elif name == "vocabulary":
        grown = model(rows=ROWS + 64)
        kept = grown["embed.weight"].data
        first = base["embed.weight"].data
        grown["embed.weight"] = Tensor(
            "BF16", grown["embed.weight"].shape, first + kept[len(first) :]
        )
        packed(folder / "model.safetensors", grown)
    else:
        tensor = base["embed.weight"]
        data = bytearray(tensor.data)
        for row in range(0, ROWS, 100):
            data[row * 512 : row * 512 + 512] = bf16(row + 9, 256)
        base["embed.weight"] = Tensor(tensor.dtype, tensor.shape, bytes(data))
        packed(folder / "model.safetensors", base)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


LEAST = {"header": 0.01, "resharded": 0.01, "tuned": 0.2, "vocabulary": 0.03, "rows": 0.04}


@pytest.mark.parametrize("name", EDITS)
def test_edits_cost_what_they_changed(tmp_path: Path, folder: Path, name: str) -> None:
    put(tmp_path / "home", folder, "org/base")
    (tmp_path / "edited").mkdir()
    files = edit(name, tmp_path / "edited")
    put(tmp_path / "home", tmp_path / "edited", "me/edited")
    assert set(forms(tmp_path / "home", "me/edited").values()) == {Form.DELTA}
    held = sum(stored(tmp_path / "home", data) for data in files.values())
    assert held < LEAST[name] * sum(map(len, files.values()))
    check(tmp_path / "home", files, "me/edited")


def test_one_file_depends_on_several_shards(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "shards").mkdir()
    edit("resharded", tmp_path / "shards")
    put(tmp_path / "home", tmp_path / "shards", "org/base")
    put(tmp_path / "home", folder / "model.safetensors", "me/whole")
    data = (folder / "model.safetensors").read_bytes()
    with Archive(tmp_path / "home") as archive:
        form = archive.form_of(Digest.of(data))
    assert len(form.bases) == 3
    assert form.stored_bytes < 0.01 * len(data)
    check(tmp_path / "home", {"model.safetensors": data}, "me/whole")


def test_the_base_stays_when_it_is_forgotten(tmp_path: Path, folder: Path) -> None:
    from outlast.ops.removal import remove  # noqa: PLC0415

    put(tmp_path / "home", folder, "org/base")
    packed(tmp_path / "edited" / "model.safetensors", tuned(model()))
    put(tmp_path / "home", tmp_path / "edited", "me/edited")
    with Archive(tmp_path / "home") as archive:
        remove(archive, Target.parse("org/base"), dry_run=False, control=Control())
        collect_garbage(archive, dry_run=False, control=Control())
    data = (tmp_path / "edited" / "model.safetensors").read_bytes()
    check(tmp_path / "home", {"model.safetensors": data}, "me/edited")


def test_a_stranger_of_the_same_shape_is_no_base(tmp_path: Path, folder: Path) -> None:
    put(tmp_path / "home", folder, "org/base")
    packed(tmp_path / "other" / "model.safetensors", model(seed=77))
    put(tmp_path / "home", tmp_path / "other", "org/other")
    assert forms(tmp_path / "home", "org/other") == {"model.safetensors": Form.CAPSULE}


def test_the_nearest_of_several_is_the_base(tmp_path: Path, folder: Path) -> None:
    near = tuned(model(seed=50))
    put(tmp_path / "home", folder, "org/aaa")
    packed(tmp_path / "near" / "model.safetensors", model(seed=50))
    put(tmp_path / "home", tmp_path / "near", "org/zzz")
    data = packed(tmp_path / "mine" / "model.safetensors", near)
    put(tmp_path / "home", tmp_path / "mine", "me/mine")
    with Archive(tmp_path / "home") as archive:
        base = archive.revision(Target.parse("org/zzz").repo).files[0]
        assert [b.sha256 for b in archive.form_of(Digest.of(data)).bases] == [base.sha256]


def test_no_base_and_a_named_base(tmp_path: Path, folder: Path) -> None:
    home = tmp_path / "home"
    put(home, folder, "org/base")
    packed(tmp_path / "one" / "model.safetensors", tuned(model(), seed=1))
    put(home, tmp_path / "one", "me/one", FormWishes(allow_bases=False))
    assert forms(home, "me/one") == {"model.safetensors": Form.CAPSULE}
    packed(tmp_path / "two" / "model.safetensors", tuned(model(), seed=2))
    put(home, tmp_path / "two", "me/two", FormWishes(base=Target.parse("me/one")))
    assert forms(home, "me/two") == {"model.safetensors": Form.DELTA}
    with Archive(home) as archive:
        two = archive.revision(Target.parse("me/two").repo).files[0]
        one = archive.revision(Target.parse("me/one").repo).files[0]
        assert two.sha256 is not None
        assert [b.sha256 for b in archive.form_of(two.sha256).bases] == [one.sha256]


def test_chains_have_two_links_at_most(tmp_path: Path, folder: Path) -> None:
    home = tmp_path / "home"
    put(home, folder, "org/base")
    tensors = model()
    for number in range(4):
        tensors = tuned(tensors, f"layers.{number}.weight", seed=number)
        packed(tmp_path / str(number) / "model.safetensors", tensors)
        before = Target.parse(f"me/v{number - 1}" if number else "org/base")
        put(home, tmp_path / str(number), f"me/v{number}", FormWishes(base=before))
    found = [forms(home, f"me/v{number}")["model.safetensors"] for number in range(4)]
    assert found[:2] == [Form.DELTA, Form.DELTA]
    assert found[2] is Form.CAPSULE
    assert found[3] is Form.DELTA
    check_archive(home)


def test_the_card_comes_before_the_names(tmp_path: Path, folder: Path) -> None:
    """Two models fit as well; the one that the card names is taken."""
    home = tmp_path / "home"
    for name in ("org/one", "org/two"):
        packed(tmp_path / name / "model.safetensors", model(), name=name)
        put(home, tmp_path / name, name, FormWishes(allow_bases=False))
    mine = tmp_path / "mine"
    data = packed(mine / "model.safetensors", tuned(model()))
    (mine / "README.md").write_text("---\nlicense: mit\nbase_model:\n- org/two\n---\n# Mine\n")
    put(home, mine, "me/mine")
    with Archive(home) as archive:
        two = archive.revision(Target.parse("org/two").repo).files[0]
        assert [b.sha256 for b in archive.form_of(Digest.of(data)).bases] == [two.sha256]
    del folder


def test_the_manifest_does_not_depend_on_the_form(tmp_path: Path, folder: Path) -> None:
    made = {
        json.dumps(str(put(tmp_path / wish, folder, wishes=FormWishes(wish)).manifest))
        for wish in FormWish
    }
    assert len(made) == 1
