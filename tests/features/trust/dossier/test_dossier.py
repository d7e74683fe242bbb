"""`outlast dossier`: what the page says, what it escapes, and its signature."""

import datetime as dt
import html.parser
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from outlast.core.digest import Digest
from outlast.core.names import RepoId, Target
from outlast.features.trust.dossier import engine
from outlast.features.trust.dossier.engine import engine_packages, read_lock
from outlast.features.trust.dossier.page import page
from outlast.features.trust.dossier.sections import PageSection, Warned
from outlast.features.trust.screening.screening_log import _PART, _TYPE, NAME
from outlast.intake.formats.model_code import ModelCode
from outlast.ops.words.code import allow_code
from outlast.store.archive import Archive
from outlast.store.records.logs.line_log import LineLog
from outlast.store.records.logs.sealed_runs import SealedRun, SealedRuns
from outlast.store.records.refs import Ref
from tests.cli.call import inside
from tests.serve.peers import archive_files

REPO = RepoId.parse("Qwen/talk")
HOSTILE = '<script>alert(1)<b>"&.py'
FILES = {
    "config.json": b"{}",
    HOSTILE: b"pass",
    "modeling.py": b"pass",
    "weights.bin": pickle.dumps({"a": print}),
    "chat_template.jinja": b"{{ ''.__class__ }}",
    "README.md": b"---\nlicense: apache-2.0\nbase_model: org/<b>base</b>\n---\n",
    "LICENSE": b"Apache License",
}
WHEN = dt.datetime(2026, 11, 30, tzinfo=dt.UTC).isoformat()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive with a model, a sealed run and a screening of it; and a key."""
    monkeypatch.setenv("OUTLAST_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").write_text("")
    with Archive(tmp_path / "archive", create=True) as archive:
        revision = archive_files(archive, REPO, FILES)
        with archive.writer() as writer:
            archive.refs.put(writer, REPO, Ref("main", revision.id, "https://hub.example"))
        home = archive.layout.home
    for packets in (0, None):
        SealedRuns(home).append(
            SealedRun(
                REPO,
                revision.id,
                revision.digest,
                "xllamacpp 1.0",
                ("network namespace",),
                1000,
                packets,
                WHEN,
                WHEN,
            )
        )
    LineLog(home, NAME, _PART, _TYPE).append(
        {
            "when": WHEN,
            "repo": str(REPO),
            "commit": revision.id.hex,
            "alike": "possible",
            "lists": [
                {"file": "list.csv", "kind": "us-csv", "date": "2026-11-29", "sha256": "c" * 64}
            ],
            "names": [
                {
                    "name": "<i>Acme</i>",
                    "role": "author",
                    "of": str(REPO),
                    "alike": "possible",
                    "rows": [
                        {"party": "ACME\u202e", "part": "SDN", "id": "7", "alike": "possible"}
                    ],
                }
            ],
            "unknown": [],
        }
    )
    inside("key", "new", "me", home=tmp_path).ok()
    return tmp_path


class Reader(html.parser.HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def write(home: Path, *line: str) -> tuple[str, dict[str, Any]]:
    output = home / "page.html"
    result = inside("dossier", str(REPO), "--output", str(output), "--json", *line, home=home)
    return output.read_text(), result.ok().result


def test_it_says_what_the_archive_knows(home: Path) -> None:
    text, result = write(home)
    said = Reader(text).text
    with Archive(home / "archive") as archive:
        revision = archive.revision(REPO)
    for entry in revision.files:
        assert entry.sha256 is not None
        assert entry.sha256.hex in said
    for word in (
        revision.digest.hex,
        "intact",
        "published",
        "observed",
        "listed",
        "Apache-2.0",
        "https://hub.example",
        "code: 'outlast run' does not use it",
        "pickle: it is a pickle",
        "names attributes of Python itself",
        "network namespace",
        "1,000",
        "not counted",
        "list.csv (us-csv) of 2026-11-29",
        "c" * 64,
        "possible",
    ):
        assert word in said, word
    assert "verified" not in said
    assert result["sealed_runs"] == 2
    assert result["sha256"] == Digest.of(text.encode()).hex


def test_code_that_may_run_is_named(home: Path) -> None:
    with Archive(home / "archive") as archive:
        digest = ModelCode.of(archive.revision(REPO)).digest.hex
        allow_code(archive, Target(REPO, None), digest, dt.datetime.now(dt.UTC))
    text, _ = write(home)
    said = Reader(text).text
    assert "code: the operator allowed 'outlast run' to use it" in said
    assert digest in said


def test_nothing_of_a_model_is_html_and_nothing_is_loaded(home: Path) -> None:
    text, _ = write(home)
    found = Reader(text)
    assert not {"script", "b", "i", "img", "link", "iframe", "a"} & set(found.tags)
    names = {name for name, _ in found.attributes}
    assert not any(name in {"src", "href"} or name.startswith("on") for name in names)
    assert "\u202e" not in text
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text
    assert "@media print" in text


@pytest.mark.parametrize("text", ["<script>x</script>", "\"'><b>", "a\x1b[31m\u202e\nb"])
def test_every_place_escapes(text: str) -> None:
    part = PageSection(text, (text,), ((text, Warned(text)),), ((text,), (Warned(text),), (text,)))
    found = Reader(page(text, [part]))
    assert not {"script", "b"} & set(found.tags)
    assert all(c.isprintable() or c == "\n" for c in found.text)


def test_the_signature_is_of_this_page(home: Path) -> None:
    _, result = write(home)
    checked = inside("dossier", "--check", result["path"], "--json", home=home).ok().result
    assert checked["keys"] == result["keys"]
    assert checked["manifest"] == result["manifest"]
    path = Path(result["path"])
    path.write_text(path.read_text().replace("1,000", "9,000"))
    message = inside("dossier", "--check", str(path), home=home).failed("bad-signature")
    assert "not the one that was signed" in message


def test_a_signature_by_another_key_than_it_names(home: Path) -> None:
    _, result = write(home)
    path = Path(result["signature"])
    document = json.loads(path.read_text())
    document["signatures"][0]["sig"] = "A" * 86 + "=="
    path.write_text(json.dumps(document, separators=(",", ":")))
    call = inside("dossier", "--check", result["path"], home=home)
    assert "is not right" in call.failed("bad-signature")


def test_without_a_signature_none_of_an_older_page_stays(home: Path) -> None:
    _, signed = write(home)
    _, result = write(home, "--unsigned")
    assert (result["signature"], result["keys"]) == (None, [])
    assert not Path(signed["signature"]).exists()
    inside("dossier", "--check", signed["path"], home=home).failed("not-found")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ((), "usage"),
        ((str(REPO), "--check", "x"), "usage"),
        (("--check", "x", "--unsigned"), "usage"),
        ((str(REPO), "--unsigned", "--key", "me"), "usage"),
        ((str(REPO), "--key", "other"), "not-found"),
        (("org/other", "--unsigned"), "not-found"),
        (("--check", "nowhere.html"), "not-found"),
    ],
)
def test_what_cannot_be_done_is_said(home: Path, line: tuple[str, ...], code: str) -> None:
    inside("dossier", *line, home=home).failed(code)


def test_the_engine_is_as_its_package_lists_it() -> None:
    pytest.importorskip("xllamacpp")
    [found] = engine_packages()
    assert found.name == "xllamacpp"
    assert (found.version, found.changed) == (found.locked_version, ())
    assert found.files > 3
    assert all(len(digest) == 64 for digest in found.locked)
    assert found.locked


def test_a_file_of_the_engine_that_changed_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    about = tmp_path / "engine-1.0.dist-info"
    about.mkdir()
    (tmp_path / "engine.py").write_text("changed")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: engine\nVersion: 1.0\n")
    (about / "RECORD").write_text(
        "engine.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = engine._package("engine", ("", ()))
    assert (found.version, found.changed) == ("1.0", ("engine.py",))
    (tmp_path / "engine.py").write_text("")
    assert engine._package("engine", ("", ())).changed == ()


def test_a_lock_is_read() -> None:
    text = f"a-b==1.0 \\\n    --hash=sha256:{'a' * 64} \\\n    --hash=sha256:{'b' * 64}\nc==2\n"
    assert read_lock(text) == {"a-b": ("1.0", ("a" * 64, "b" * 64)), "c": ("2", ())}
