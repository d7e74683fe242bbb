"""Working copies of capsules: what `link` and `run` make, and what goes when room is needed."""

import errno
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, TransientError
from outlast.core.names import Target
from outlast.intake import working_copies
from outlast.ops import run as run_ops
from outlast.ops import verify as verify_ops
from outlast.store.archive import Archive
from outlast.store.copies import Copies, all_copies, drop_damaged
from outlast.store.forms import stamp_of
from outlast.store.soundness import checks
from tests.cli.call import environment, inside
from tests.gguf_cut import small_smollm2
from tests.realweights import WeightsUnavailableError
from tests.serve.forms import flip, floats, pack, unpack
from tests.serve.node import until
from tests.serve.upstream import sha256

MODELS = {f"me/m{n}": floats(1, seed=n) for n in range(3)}
SIZE = len(MODELS["me/m0"])
TWO = str(2 * SIZE)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An archive of models that are held as capsules."""
    for name, data in MODELS.items():
        folder = tmp_path / name.replace("/", "-")
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(data)
        (folder / "config.json").write_text(name)
        inside("add", folder, "--as", name, "--form", "plain", home=tmp_path).ok()
        pack(tmp_path / "archive", sha256(data))
    return tmp_path


def link(home: Path, name: str, *more: str, to: Path | None = None) -> Path:
    """Links a model, looks at what came, and returns the folder."""
    folder = to or home / f"out-{name[-1]}"
    inside("link", name, "--folder", folder, *more, home=home).ok()
    assert (folder / "model.safetensors").read_bytes() == MODELS[name]
    assert (folder / "config.json").read_text() == name
    return folder


def forget(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def copied(home: Path) -> set[str]:
    """The models of which there are working copies."""
    names = {sha256(data): name for name, data in MODELS.items()}
    with Archive(home / "archive") as archive:
        return {names[copy.digest.hex] for copy in all_copies(archive.layout)}


def test_a_link_leads_to_a_copy_that_is_read_only_and_made_once(home: Path) -> None:
    file = link(home, "me/m0") / "model.safetensors"
    before = file.stat()
    assert (before.st_mode & 0o777, before.st_nlink) == (0o444, 2)
    again = link(home, "me/m0", to=home / "elsewhere") / "model.safetensors"
    assert again.samefile(file)
    assert copied(home) == {"me/m0"}
    assert not list((home / "archive" / "tmp").iterdir())


def test_the_one_used_longest_ago_goes_first(home: Path) -> None:
    for name in ("me/m0", "me/m1", "me/m0"):
        forget(link(home, name, "--budget", TWO))
    forget(link(home, "me/m2", "--budget", TWO))
    assert copied(home) == {"me/m0", "me/m2"}


def test_what_is_linked_stays_and_the_rest_is_refused_in_one_line(home: Path) -> None:
    folders = [link(home, name, "--budget", TWO) for name in ("me/m0", "me/m1")]
    call = inside("link", "me/m2", "--folder", home / "no", "--budget", TWO, home=home)
    assert "budget" in call.failed("storage")
    assert not (home / "no").exists()
    assert copied(home) == {"me/m0", "me/m1"}
    forget(folders[0])
    link(home, "me/m2", "--budget", TWO)
    assert copied(home) == {"me/m1", "me/m2"}


def test_the_budget_is_a_setting(home: Path) -> None:
    (home / "settings.toml").write_text('working-copies = "1kB"')
    env = {"OUTLAST_CONFIG": str(home / "settings.toml")}
    inside("link", "me/m0", "--folder", home / "no", home=home, env=env).failed("storage")
    link(home, "me/m0", "--budget", "1GB")
    (home / "settings.toml").write_text('working-copies = "much"')
    inside("link", "me/m0", "--folder", home / "no", home=home, env=env).failed("bad-config")


def test_links_to_another_file_system_hold_it_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    folder = link(home, "me/m0", "--budget", TWO)
    assert (folder / "model.safetensors").is_symlink()
    for name in ("me/m1", "me/m2"):
        forget(link(home, name, "--budget", str(TWO)))
    assert copied(home) == {"me/m0", "me/m2"}
    forget(folder)
    forget(link(home, "me/m1", "--budget", str(SIZE)))
    assert copied(home) == {"me/m1"}
    assert {p.suffix for p in (home / "archive" / "copies").rglob("*.links")} == {".links"}


def test_what_a_live_process_claims_stays(home: Path) -> None:
    forget(link(home, "me/m0"))
    with Archive(home / "archive") as archive, archive.writer() as writer:
        digest = Digest(sha256(MODELS["me/m0"]))
        assert Copies(archive.layout, writer, SIZE).take(digest, SIZE) is not None
        call = inside("link", "me/m1", "--folder", home / "no", "--budget", str(SIZE), home=home)
        call.failed("storage")
    link(home, "me/m1", "--budget", str(SIZE))
    assert copied(home) == {"me/m1"}


def test_the_plain_form_is_linked_where_it_is_there(home: Path) -> None:
    forget(link(home, "me/m0"))
    unpack(home / "archive", sha256(MODELS["me/m0"]))
    file = link(home, "me/m0") / "model.safetensors"
    assert file.samefile(home / "archive" / "blobs" / (n := sha256(MODELS["me/m0"]))[:2] / n)
    assert '"what": "copy"' in inside("gc", "--json", home=home).ok().out
    assert copied(home) == set()
    assert file.read_bytes() == MODELS["me/m0"]


def test_collecting_keeps_the_copies_of_what_is_archived(home: Path) -> None:
    for name in ("me/m0", "me/m1"):
        forget(link(home, name))
    inside("rm", "me/m0", home=home).ok()
    inside("gc", home=home).ok()
    assert copied(home) == {"me/m1"}


@pytest.mark.parametrize("linked", [True, False])
def test_an_edited_copy_is_not_linked_again(home: Path, *, linked: bool) -> None:
    edited = link(home, "me/m0") / "model.safetensors"
    edited.chmod(0o644)
    flip(edited, SIZE // 2)
    wrong = edited.read_bytes()
    if not linked:
        edited.unlink()
    link(home, "me/m0", to=home / "elsewhere")
    assert not linked or edited.read_bytes() == wrong


@pytest.mark.parametrize("fault", [OSError(errno.EIO, "bad"), TransientError("it changed")])
def test_a_copy_that_cannot_be_read_is_made_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    file = link(home, "me/m0") / "model.safetensors"
    os.utime(file, (1e9, 1e9))
    monkeypatch.setattr(working_copies, "ingest", functools.partial(_raise, fault))
    again = link(home, "me/m0", to=home / "elsewhere") / "model.safetensors"
    assert not again.samefile(file)
    short = OSError(errno.EMFILE, "Too many open files")
    os.utime(again, (1e9, 1e9))
    monkeypatch.setattr(working_copies, "ingest", functools.partial(_raise, short))
    inside("link", "me/m0", "--folder", home / "no", home=home).failed("exhausted")
    assert again.stat().st_nlink == 2


def _raise(error: Exception, *_: object) -> None:
    raise error


def test_a_copy_that_was_only_touched_stays(home: Path) -> None:
    file = link(home, "me/m0") / "model.safetensors"
    os.utime(file, (1e9, 1e9))
    assert link(home, "me/m0", to=home / "elsewhere").joinpath(file.name).samefile(file)


def test_an_edited_copy_is_found_and_dropped(home: Path) -> None:
    for name in ("me/m0", "me/m1"):
        link(home, name)
    assert finding(home)["health"] == "ok"
    inside("verify", home=home).ok()
    edited = home / "out-0" / "model.safetensors"
    flip(edited, SIZE // 2)
    wrong = edited.read_bytes()
    assert (finding(home)["health"], "1 of 2" in finding(home)["text"]) == ("note", True)
    inside("verify", "me/m1", home=home).ok()
    for target in ([], ["me/m0"]):
        call = inside("verify", *target, "--json", home=home)
        (problem,) = call.result["problems"]
        assert (call.code, problem["code"]) == (4, "corrupt")
        assert problem["path"].endswith(f"copies/{(n := sha256(MODELS['me/m0']))[:2]}/{n}")
    assert copied(home) == {"me/m0", "me/m1"}
    assert inside("verify", "--quarantine", home=home).code == 4
    assert copied(home) == {"me/m1"}
    assert edited.read_bytes() == wrong
    assert not (home / "archive" / "quarantine").exists()
    inside("verify", home=home).ok()
    assert (finding(home)["health"], finding(home)["text"][:2]) == ("ok", "1,")
    link(home, "me/m0", to=home / "elsewhere")


def finding(home: Path) -> dict[str, str]:
    """What the doctor says about working copies."""
    lines = inside("doctor", "--json", home=home).out.splitlines()
    (found,) = (f for f in map(json.loads, lines) if f["check"] == "working copies")
    return dict(found)


def test_a_copy_that_verify_found_damaged_is_not_linked_again(home: Path) -> None:
    """Also where its times tell nothing."""
    file = link(home, "me/m0") / "model.safetensors"
    before = file.stat()
    flip(file, SIZE // 2)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert inside("verify", home=home).code == 4
    assert finding(home)["health"] == "note"
    link(home, "me/m0", to=home / "elsewhere")


def test_a_plain_file_that_verify_found_damaged_is_not_linked_again(home: Path) -> None:
    unpack(home / "archive", sha256(MODELS["me/m0"]))
    file = link(home, "me/m0") / "model.safetensors"
    inside("verify", home=home).ok()
    before = file.stat()
    flip(file, SIZE // 2)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert inside("verify", home=home).code == 4
    inside("link", "me/m0", "--folder", home / "no", home=home).failed("damaged")


def test_a_plain_file_that_has_only_a_tree_is_not_linked_again_either(home: Path) -> None:
    file = link(home, "me/m0") / "config.json"
    before = file.stat()
    file.chmod(0o644)
    file.write_text("me/m9")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert inside("verify", home=home).code == 4
    inside("link", "me/m0", "--folder", home / "no", home=home).failed("damaged")


def test_what_was_verified_and_only_touched_is_unchanged(home: Path) -> None:
    os.utime(link(home, "me/m0") / "model.safetensors", (1e9, 1e9))
    assert finding(home)["health"] == "note"
    inside("verify", home=home).ok()
    assert finding(home)["health"] == "ok"


def test_another_copy_than_the_damaged_one_stays(home: Path) -> None:
    file = link(home, "me/m0") / "model.safetensors"
    digest, stamp = Digest(sha256(MODELS["me/m0"])), stamp_of(file.stat())
    with Archive(home / "archive") as archive:
        os.utime(file, (1e9, 1e9))
        assert not drop_damaged(archive.layout, digest, stamp)
        assert copied(home) == {"me/m0"}
        assert drop_damaged(archive.layout, digest, stamp_of(file.stat()))
        assert not drop_damaged(archive.layout, digest, stamp_of(file.stat()))


def test_a_file_that_changes_while_it_is_verified_hides_no_other(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link(home, "me/m0")
    changes = TransientError("it changed while it was read")
    monkeypatch.setattr(verify_ops, "ingest", functools.partial(_raise, changes))
    call = inside("verify", "--json", home=home)
    assert call.code == 4
    assert len(call.result["problems"]) == len(MODELS) + 1  # each config.json is plain


@pytest.mark.parametrize("to", ["folder", "cache"])
def test_a_plain_file_that_was_edited_by_its_link_is_refused(home: Path, to: str) -> None:
    unpack(home / "archive", sha256(MODELS["me/m0"]))
    edited = link(home, "me/m0") / "model.safetensors"
    os.utime(edited, (1e9, 1e9))
    link(home, "me/m0", to=home / "elsewhere")
    flip(edited, SIZE // 2)
    call = inside("link", "me/m0", f"--{to}", home / "no", home=home)
    assert "another name" in call.failed("damaged")
    assert not (home / "no").exists()
    flip(edited, SIZE // 2)
    inside("link", "me/m0", f"--{to}", home / "no", home=home).failed("damaged")
    inside("verify", home=home).ok()
    link(home, "me/m0", to=home / "again")


def test_a_plain_file_is_compared_again_only_if_it_changed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack(home / "archive", sha256(MODELS["me/m0"]))
    with Archive(home / "archive") as archive:
        file = archive.layout.blob(Digest(sha256(MODELS["me/m0"])))
    compared: list[int] = []
    compare = checks.CheckedFile._compare

    def count(self: checks.CheckedFile, *rest: Any) -> None:
        compared.append(self.size)
        compare(self, *rest)

    monkeypatch.setattr(checks.CheckedFile, "_compare", count)
    os.utime(file, (1e9, 1e9))
    monkeypatch.setattr(checks.Soundness, "is_settled", lambda *_args: True)
    link(home, "me/m0")  # which gives it another name
    link(home, "me/m0", to=home / "out-0")
    assert compared.count(SIZE) == 2
    link(home, "me/m0", to=home / "out-0")
    assert compared.count(SIZE) == 2


def test_a_damaged_capsule_makes_no_copy(home: Path) -> None:
    digest = Digest(sha256(MODELS["me/m0"]))
    with Archive(home / "archive") as archive:
        flip(archive.layout.capsule(digest), 1000)
    call = inside("link", "me/m0", "--folder", home / "no", home=home)
    assert "block 1" in call.failed("damaged")
    assert copied(home) == set()


def test_a_kill_leaves_nothing_that_counts(home: Path) -> None:
    code = (
        "import sys, time; from outlast.intake import working_copies\n"
        "from outlast.cli.main import main\n"
        "def write(fd, data, offset):\n"
        "    kept(fd, data[:1000], offset)\n"
        "    if len(data) > 10_000: print('now', flush=True); time.sleep(600)\n"
        "kept, working_copies.disk.write_all = working_copies.disk.write_all, write\n"
        "main(sys.argv[1:])"
    )
    arguments = ["link", "me/m0", "--folder", str(home / "no"), "--budget", str(SIZE), "-q"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment(home), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"now\n"
    inside("link", "me/m1", "--folder", home / "no", *arguments[-3:], home=home).failed("storage")
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert copied(home) == set()
    link(home, "me/m1", "--budget", str(SIZE))
    assert not list((home / "archive" / "tmp").iterdir())


@pytest.fixture(scope="module")
def smol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a part of a real GGUF that is held as a capsule."""
    home = tmp_path_factory.mktemp("smol")
    try:
        weights = small_smollm2(home)
    except WeightsUnavailableError as error:
        pytest.skip(str(error))
    inside("add", weights, "--as", "me/smol", "--form", "plain", home=home).ok()
    with Archive(home / "archive") as archive:
        (name,) = [blob.digest.hex for blob in archive.plain_blobs()]
    pack(home / "archive", name)
    return home


def prepare(archive: Archive, *, recheck: bool = False) -> run_ops.Prepared:
    target = Target.parse("me/smol")
    return run_ops.prepare(
        archive, target, wanted=None, engine=None, recheck=recheck, control=Control()
    )


def test_a_model_is_run_from_its_capsule(smol: Path) -> None:
    pytest.importorskip("xllamacpp")
    asked = ("--temperature", "0", "--max-tokens", "16", "--threads", "1", "-q")
    ask = ("run", "me/smol", "What is the capital of France?", *asked)
    said = inside(*ask, home=smol).ok().out
    with Archive(smol / "archive") as archive:
        (copy,) = all_copies(archive.layout)
        assert archive.forms.plain_size(copy.digest) is None
    unpack(smol / "archive", copy.digest.hex)
    assert said.strip()
    assert inside(*ask, home=smol).ok().out == said
    pack(smol / "archive", copy.digest.hex)


def test_a_damaged_copy_is_made_anew_while_a_run_holds_it(smol: Path) -> None:
    with Archive(smol / "archive") as archive:
        with prepare(archive) as prepared:
            flip(prepared.paths[0], 1_234_567)
            assert len(list(archive.layout.tmp.iterdir())) == 1
        with prepare(archive, recheck=True) as prepared:
            name = prepared.paths[0].name
            assert sha256(prepared.paths[0].read_bytes()) == name
        until(lambda: not list(archive.layout.tmp.iterdir()), "the claims")
        flip(archive.layout.capsule(Digest(name)), 2_345_678)
        prepared.paths[0].unlink()
        with pytest.raises(CorruptError):
            prepare(archive)
        assert not list(archive.layout.tmp.iterdir())
