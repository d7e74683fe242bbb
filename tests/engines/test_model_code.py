"""Models with Python code of their own: nothing of it runs without the operator's word for exactly
these files.
"""

import datetime as dt
import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import CodeNotAllowedError, CorruptError
from outlast.core.names import RepoId, Target
from outlast.engines.code_folder import folder_with_code
from outlast.engines.worker import RefusedError
from outlast.intake.formats.model_code import ModelCode
from outlast.ops.run import prepare
from outlast.ops.words.code import allow_code, code_state
from outlast.store.archive import Archive
from outlast.store.words.allowed_code import MOST_KEPT, AllowedCode, CodeWords
from tests.campaign import LONG
from tests.cli.call import Call, inside
from tests.engines.tiny_code import build_model_with_code, noting

only_long = pytest.mark.skipif(not LONG, reason="each loads torch again: make torture")
ASK = ("--engine", "transformers", "--max-tokens", "4", "--temperature", "0")


class CodeLab:
    """An archive with a model that has code; `trace` is there once the code ran."""

    def __init__(self, tiny: str, root: Path) -> None:
        self.root = root
        self.trace = root / "trace"
        self.folder = build_model_with_code(tiny, root / "model", self.trace)
        self.add()

    def add(self) -> None:
        inside("add", self.folder, "--as", "me/code", home=self.root).ok()

    def run(self, *words: str) -> Call:
        return inside("run", "me/code", "hello", *ASK, *words, home=self.root)

    def ran(self) -> bool:
        """Whether the code ran since this was asked last."""
        found = self.trace.exists()
        self.trace.unlink(missing_ok=True)
        return found

    def show(self) -> Any:
        return inside("show", "me/code", "--json", home=self.root).ok().result


@pytest.fixture
def lab(tiny: Callable[[bool], str], tmp_path: Path) -> CodeLab:
    return CodeLab(tiny(True), tmp_path)


def digest_by_hand(folder: Path) -> str:
    rows = sorted((p.relative_to(folder).as_posix(), p) for p in folder.rglob("*.py"))
    lines = (f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {name}\n" for name, p in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_code_runs_by_its_digest_alone_and_asks_again_when_it_changes(lab: CodeLab) -> None:
    digest = digest_by_hand(lab.folder)
    shown = lab.show()
    assert (shown["code_digest"], shown["code_allowed"]) == (digest, False)
    assert sorted(shown["code"]) == ["configuration_own.py", "modeling_own.py", "noted.py"]

    lab.run("--allow-code", "0" * 16).failed("usage")
    lab.run("--allow-code", digest[:11]).failed("usage")
    assert not lab.ran()
    assert not inside("accept", "--code", "--json", home=lab.root).ok().documents

    assert lab.run("--allow-code", f"sha256:{digest}").ok().out
    assert lab.ran()
    assert lab.show()["code_allowed"]
    assert "allowed for 'run' since" in inside("show", "me/code", home=lab.root).ok().out
    [word] = inside("accept", "--code", "--json", home=lab.root).ok().documents
    assert (word["repo"], word["digest"], len(word["files"])) == ("me/code", digest, 3)
    assert digest[:16] in inside("accept", "--code", home=lab.root).ok().out

    (lab.folder / "noted.py").write_text("import os\n" + noting(lab.trace))
    (lab.folder / "more.py").write_text("")
    lab.add()
    call = lab.run()
    call.failed("code-not-allowed")
    assert not lab.ran()
    changed = digest_by_hand(lab.folder)
    assert "the code of me/code is not what was allowed before" in call.err
    assert f"--allow-code {changed[:16]}" in call.err
    assert "--- allowed/noted.py" in call.err
    assert "+import os" in call.err
    assert "modeling_own" not in call.err  # it is the same
    said = inside("show", "me/code", home=lab.root).ok().out
    assert "'run' shows what changed" in said

    inside("accept", "--code", digest, "--undo", home=lab.root).ok()
    assert not inside("accept", "--code", "--json", home=lab.root).ok().documents
    inside("accept", "--code", digest, "--undo", home=lab.root).failed("entry-not-found")
    inside("accept", "--code", changed, home=lab.root).failed("usage")


@only_long
@pytest.mark.torture
def test_the_word_is_remembered_until_it_is_taken_back(lab: CodeLab) -> None:
    digest = digest_by_hand(lab.folder)
    call = lab.run()
    said = call.failed("engine")
    assert "needs Python code of its own, which was not allowed" in said
    assert f"outlast run me/code --allow-code {digest[:16]}" in call.err
    assert not lab.ran()
    for words in (("--allow-code", digest), ()):
        assert lab.run(*words).ok().out
        assert lab.ran()
    inside("accept", "--code", digest, "--undo", home=lab.root).ok()
    lab.run().failed("engine")
    assert not lab.ran()


@only_long
@pytest.mark.torture
def test_code_of_another_model_does_not_run_by_that_word(lab: CodeLab) -> None:
    digest = digest_by_hand(lab.folder)
    inside("add", lab.folder, "--as", "me/other", home=lab.root).ok()
    with_word = ("run", "me/other", "hello", *ASK, "--allow-code", digest)
    assert inside(*with_word, home=lab.root).ok().out
    assert lab.ran()
    lab.run().failed("engine")
    assert not lab.ran()


@only_long
@pytest.mark.torture
def test_a_sealed_run_has_the_code_too_and_no_network(lab: CodeLab) -> None:
    """The code looks for a way out, by a process of its own as well."""
    program = (
        "import socket, subprocess, sys\n"
        "def note():\n"
        "    line = 'import socket; socket.socket().connect((\"127.0.0.1\", 9))'\n"
        "    done = subprocess.run([sys.executable, '-c', line], capture_output=True, text=True)\n"
        "    try:\n"
        "        socket.socket().connect(('127.0.0.1', 9))\n"
        "        found = 'connected'\n"
        "    except OSError:\n"
        "        found = 'kept in'\n"
        f"    open({str(lab.trace)!r}, 'w').write(found + '; ' + done.stderr[-200:])\n"
    )
    (lab.folder / "noted.py").write_text(program)
    lab.add()
    lab.run("--sealed", "--allow-code", digest_by_hand(lab.folder)).ok()
    said = lab.trace.read_text()
    assert said.startswith("kept in; ")
    assert "PermissionError" in said


@only_long
@pytest.mark.torture
def test_code_elsewhere_is_not_fetched(lab: CodeLab) -> None:
    path = lab.folder / "config.json"
    config = json.loads(path.read_text())
    config["auto_map"]["AutoModelForCausalLM"] = "other/repo--modeling_own.OwnForCausalLM"
    path.write_text(json.dumps(config))
    lab.add()
    lab.run("--allow-code", digest_by_hand(lab.folder)).failed("engine")
    assert not lab.ran()


def test_a_damaged_file_of_code_does_not_run(lab: CodeLab) -> None:
    digest = digest_by_hand(lab.folder)
    sha256 = hashlib.sha256((lab.folder / "noted.py").read_bytes()).hexdigest()
    [blob] = (lab.root / "archive" / "blobs").rglob(sha256)
    data = blob.read_bytes()
    os.chmod(blob, 0o644)
    blob.write_bytes(data.replace(b"ran", b"RAN"))
    assert lab.run("--allow-code", digest, "--recheck").code != 0
    assert not lab.ran()


def test_a_gguf_of_a_model_whose_code_changed_is_not_held_back(lab: CodeLab) -> None:
    """It needs no code: the damaged file gets as far as the engine."""
    (lab.folder / "a.gguf").write_bytes(b"GGUF")
    lab.add()
    with Archive(lab.root / "archive") as archive:
        target = Target(RepoId.parse("me/code"), "main")
        allow_code(archive, target, digest_by_hand(lab.folder), dt.datetime.now(dt.UTC))
    (lab.folder / "noted.py").write_text("")
    lab.add()
    lab.run().failed("code-not-allowed")
    inside("run", "me/code", "hello", "--file", "a.gguf", home=lab.root).failed("engine")


def test_a_name_that_comes_to_mean_other_code_meanwhile(lab: CodeLab) -> None:
    with Archive(lab.root / "archive") as archive:
        old = ModelCode.of(archive.revision(RepoId.parse("me/code"), None))
    (lab.folder / "noted.py").write_text("")
    lab.add()
    with Archive(lab.root / "archive") as archive, pytest.raises(CodeNotAllowedError):
        prepare(
            archive,
            Target(RepoId.parse("me/code"), None),
            wanted=None,
            engine=None,
            recheck=False,
            code=old,
            control=Control(),
        )


def test_a_word_that_rots_allows_no_other_code(lab: CodeLab) -> None:
    """In both copies at once, at random."""
    repo, choose = RepoId.parse("me/code"), random.Random(54)
    with Archive(lab.root / "archive") as archive:
        allow_code(archive, Target(repo, None), digest_by_hand(lab.folder), dt.datetime.now(dt.UTC))
        old = archive.revision(repo, None)
        assert code_state(archive, old).word is not None
    (lab.folder / "noted.py").write_text("import os\n")
    lab.add()
    copies = [path for path in (lab.root / "archive").rglob("me/code") if path.is_file()]
    copies = [path for path in copies if "noted.py" in path.read_text()]
    assert len(copies) == 2
    good = copies[0].read_bytes()
    with Archive(lab.root / "archive") as archive:
        for _ in range(200):
            data = bytearray(good)
            for _ in range(choose.randrange(1, 4)):
                data[choose.randrange(len(data))] = choose.choice(b'0123456789abcdef"{}[],: ')
            for path in copies:
                path.write_bytes(data)
            assert code_state(archive, archive.revision(repo, None)).word is None
            assert data == good or code_state(archive, old).word is None


# What the worker does with it


def place(root: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def row(file: Path, data: bytes) -> dict[str, str]:
    return {"file": os.fspath(file), "sha256": hashlib.sha256(data).hexdigest()}


def test_a_folder_with_code_has_links_and_copies(tmp_path: Path) -> None:
    model = place(tmp_path / "m", {"config.json": b"{}", "sub/a.txt": b"a", "data/b": b"b"})
    held = place(tmp_path / "held", {"0": b"one", "1": b"two"})
    code = {"own.py": row(held / "0", b"one"), "sub/two.py": row(held / "1", b"two")}
    made = Path(folder_with_code(os.fspath(model), code, os.fspath(tmp_path / "with")))
    found = {p.relative_to(made).as_posix(): p.is_symlink() for p in made.rglob("*")}
    assert found == {
        "config.json": True,
        "data": True,
        "own.py": False,
        "sub": False,
        "sub/a.txt": True,
        "sub/two.py": False,
    }
    assert (made / "data" / "b").read_bytes() == b"b"
    (held / "0").write_bytes(b"other")
    assert (made / "own.py").read_bytes() == b"one"


def test_other_bytes_are_not_given(tmp_path: Path) -> None:
    model, held = place(tmp_path / "m", {"a": b""}), place(tmp_path / "held", {"0": b"one"})
    code = {"own.py": row(held / "0", b"two")}
    with pytest.raises(RefusedError, match="not the code that was allowed"):
        folder_with_code(os.fspath(model), code, os.fspath(tmp_path / "with"))
    assert not (tmp_path / "with").exists()


# What is remembered


def word(number: int) -> AllowedCode:
    digest = Digest(f"{number:064x}")
    return AllowedCode(digest, (("a.py", digest), ("b/c.py", digest)), "2026-11-01T00:00:00+00:00")


def test_words_are_read_as_they_were_written() -> None:
    words = CodeWords()
    for number in range(MOST_KEPT + 3):
        words = words.with_one(word(number))
    assert len(words.allowed) == MOST_KEPT
    assert words.allowed[0] == word(MOST_KEPT + 2)
    assert words.of(word(0).digest) is None
    assert CodeWords.decode(words.encode()) == words
    assert words.without(word(5).digest).of(word(5).digest) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"allowed": 7}',
        b'{"allowed": [{}]}',
        b'{"allowed": [7]}',
        b'{"allowed": [{"digest": "0", "files": {}, "since": ""}]}',
        b'{"allowed": [{"digest": "%s", "files": {"../a.py": "%s"}, "since": ""}]}'
        % (b"0" * 64, b"0" * 64),
    ],
    ids=range(8),
)
def test_what_is_no_word_is_corrupt(body: bytes) -> None:
    with pytest.raises(CorruptError):
        CodeWords.decode(body)
