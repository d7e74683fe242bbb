"""MANIFEST.md and index.html say what a bundle holds, and nothing from a model is mark-up there."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from outlast.core.names import RepoId
from outlast.features.bundle.planning import ExportWishes
from outlast.features.bundle.review.marks import Mark, is_licence, mark_of
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from tests.features.bundle.forge import sha256
from tests.features.bundle.script import SCRIPT
from tests.features.bundle.world import export_to, put

FILES = {
    "config.json": b'{"auto_map": {}}',
    "modeling_x.py": b"import os",
    "pytorch_model.bin": b"PK",
    "tokenizer_config.json": b'{"chat_template": "x"}',
    "README.md": b"---\nbase_model: org/base\n---\n",
    "LICENSE": b"You may <b>not</b>.\n```\n</pre><script>x</script>",
    "<script>alert(1)<": b"1",
    "a|b`c` [x](http:": b"2",
    "tree\u202eexe.txt": b"3",
}
TAGS = ("license:<img src=x> http://evil.example", "base_model:finetune:org/other")


class _Tags(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def usb(tmp_path: Path) -> Path:
    with Archive(tmp_path / "archive", create=True) as archive:
        put(archive, tmp_path, FILES, "org/odd")
        with archive.writer() as writer:
            about = About(gated="manual", tags=TAGS)
            archive.refs.put_about(writer, RepoId.parse("org/odd"), about)
        export_to(archive, tmp_path / "usb", "org/odd", wishes=ExportWishes(restricted=True))
    return tmp_path / "usb"


@pytest.mark.parametrize("name", ["MANIFEST.md", "index.html"])
def test_pages_name_what_a_reviewer_asks_for(usb: Path, name: str) -> None:
    text = (usb / name).read_text()
    for data in FILES.values():
        assert sha256(data) in text
    for expected in (
        *("org/odd", "gated at its hub", "org/other", "org/base", "python3 verify.py", "You may"),
        *("names code to run", "may be a pickle", "chat template", "main", "tree"),
    ):
        assert expected in text
    assert "\u202e" not in text


def test_a_page_has_no_script_and_loads_nothing(usb: Path) -> None:
    text = (usb / "index.html").read_text()
    tags = _Tags(text).found
    assert {tag for tag, _ in tags}.isdisjoint({"script", "img", "link", "iframe", "form", "b"})
    for _, attributes in tags:
        assert attributes.keys() <= {"lang", "charset", "http-equiv", "content", "name"} | {
            *("id", "class", "href")
        }
        assert (attributes.get("href") or "#").startswith("#")
    assert "default-src 'none'" in text
    assert "&lt;script&gt;alert(1)&lt;" in text


def test_nothing_of_a_model_is_mark_up_in_markdown(usb: Path) -> None:
    text = (usb / "MANIFEST.md").read_text()
    listed = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    assert not re.search(r"(?<!\\)<", listed)
    assert not re.search(r"(?<!\\)\[", listed)
    assert "http://" not in listed
    rows = [line for line in listed.splitlines() if line.startswith("| ") and "`" in line]
    assert len(rows) == len(FILES)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)


def test_verify_goes_along_as_it_is_here(usb: Path) -> None:
    assert (usb / "verify.py").read_bytes() == SCRIPT.read_bytes()


@pytest.mark.parametrize(
    ("path", "data", "expected"),
    [
        ("model.safetensors", None, None),
        ("README.md", None, None),
        ("code/run.PY", None, Mark.CODE),
        ("lib/x.so", None, Mark.BINARY),
        ("a.ckpt", None, Mark.PICKLE),
        ("chat_template.jinja", None, Mark.TEMPLATE),
        ("tokenizer_config.json", b"{}", None),
        ("sub/tokenizer_config.json", b'{"chat_template":1}', Mark.TEMPLATE),
        ("config.json", b'{"auto_map":1}', Mark.REMOTE),
        ("data.tar.gz", None, Mark.PACKED),
    ],
)
def test_marks(path: str, data: bytes | None, expected: Mark | None) -> None:
    assert mark_of(path, data) == expected


def test_licences_are_known_by_name() -> None:
    assert is_licence("LICENSE")
    assert is_licence("License.txt")
    assert is_licence("USE_POLICY.md")
    assert not is_licence("licensed.py")
    assert not is_licence("sub/LICENSE")
