"""Bad input of every kind: one line, a code, a hint, the right exit status."""

import json
from pathlib import Path

import pytest

from tests.cli.call import inside

URL = "http://127.0.0.1:9"
BAD_NAMES = [
    "",
    "/",
    "org/",
    "/name",
    "org//name",
    "org/name/more",
    "org/na me",
    "org/na\tme",
    "org/na\nme",
    "org/\x1b[31mred",
    "org/näme",
    "org/name\u202e",
    "../name",
    "org/..",
    "org/.hidden",
    "org/-dash",
    "org/name.",
    "org/name.git",
    "org/name.lock",
    "org/a..b",
    "con/name",
    "org/NUL",
    "org/aux.bin",
    "C:\\windows",
    "org\\name",
    "org/" + "n" * 97,
    "n" * 4096,
    "datasets/",
    "datasets/org/name/more",
    "https://huggingface.co/org/name",
    "org/name?query",
    "org/name#fragment",
    "org/%2e%2e",
    "*",
    "\ud800",
]
BAD_REFS = [
    "",
    "..",
    "a..b",
    "/main",
    "main/",
    "a//b",
    ".hidden",
    "a/.hidden",
    "name.lock",
    "a b",
    "a\nb",
    "a\x7fb",
    "a~1",
    "a^",
    "a:b",
    "a?b",
    "a*b",
    "a[b",
    "a\\b",
    "a@{b",
    "-dash",
    "dot.",
    "r" * 201,
    "\u202emain",
    "ü" * 60,
]
NAMED = [["pull"], ["show"], ["rm"], ["link"], ["verify"], ["run"]]


def encoded(text: str) -> bytes:
    """A lone surrogate becomes a byte that is not UTF-8, as a shell would pass it."""
    return text.encode("utf-8", "surrogatepass")


def as_argument(text: str) -> str:
    return encoded(text).decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_bad_names(home: Path, name: str) -> None:
    inside("pull", as_argument(name), "--from", URL, home=home).failed("bad-name")


@pytest.mark.parametrize("ref", BAD_REFS, ids=ascii)
def test_bad_refs(home: Path, ref: str) -> None:
    inside("pull", f"org/name@{ref}", "--from", URL, home=home).failed("bad-name")


@pytest.mark.parametrize("name", ["org/na\nme", "org/\x1b[31mred", "me/mine@a..b", "..", "\u202e"])
@pytest.mark.parametrize("command", NAMED, ids=lambda command: str(command[0]))
def test_bad_names_everywhere(home: Path, command: list[str], name: str) -> None:
    inside(*command, name, home=home).failed("bad-name")
    inside("add", home / "folder", "--as", name, home=home).failed("bad-name")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["show", "me/absent"], "not-found"),
        (["show", "me/mine@absent"], "revision-not-found"),
        (["show", "me/mine@0000000"], "revision-not-found"),
        (["link", "me/absent"], "not-found"),
        (["rm", "me/absent"], "not-found"),
        (["rm", "me/mine@absent"], "revision-not-found"),
        (["rm", "me/mine", "me/absent"], "not-found"),
        (["verify", "me/absent"], "not-found"),
        (["run", "me/absent"], "not-found"),
        (["run", "me/mine"], "engine"),
        (["add", "absent", "--as", "me/x"], "not-found"),
        (["add", "folder", "--as", "me/x", "--include", "*.none"], "not-found"),
        (["add", "folder", "--as", "me/x@" + "a" * 40], "usage"),
        (["adopt", "absent"], "not-found"),
        (["adopt", "folder"], "not-found"),
        (["pull", "org/name", "--from", URL], "unreachable"),
        (["pull", "org/name", "--from", "nonsense"], "bad-config"),
        (["pull", "org/name", "--from", "ftp://127.0.0.1"], "bad-config"),
        (["pull", "org/name", "--from", "http://"], "bad-config"),
        (["pull", "org/name", "--from", "http://[::1"], "bad-config"),
        (["pull", "org/name", "--from", "http://x:99999"], "bad-config"),
        (["pull", "org/name", "--from", "http://a\nb"], "bad-config"),
        (["pull", "org/name", "--from", "http://a b/"], "bad-config"),
        (["pull", "org/name", "--from", ""], "bad-config"),
        (["pull", "org/name", "--limit-rate", "fast"], "bad-config"),
        (["pull", "org/name", "--limit-rate", "-1"], "bad-config"),
        (["pull", "org/name", "--limit-rate", "1e99"], "bad-config"),
        (["pull", "org/name", "--limit-rate", "nan"], "bad-config"),
        (["pull", "org/name", "--limit-rate", "inf"], "bad-config"),
        (["pull", "org/name", "--limit-rate", "10X"], "bad-config"),
        (["pull", "org/name", "--connections", "0"], "usage"),
        (["pull", "org/name", "--connections", "many"], "usage"),
        (["pull", "org/name", "--connections", "99999"], "usage"),
        (["pull"], "usage"),
        (["pull", "org/name", "org/other"], "usage"),
        (["pull", "org/name", "--nope"], "usage"),
        (["pull", "org/name", "--nope\nnope"], "usage"),
        (["add", "folder"], "usage"),
        (["rm"], "usage"),
        (["show"], "usage"),
        (["nope"], "usage"),
        (["no\npe"], "usage"),
        (["--nope"], "usage"),
        (["completion", "cmd"], "usage"),
        (["completion"], "usage"),
        (["serve", "--listen", "127.0.0.1:99999"], "bad-name"),
        (["serve", "--listen", "127.0.0.1:http"], "bad-name"),
        (["serve", "--listen", "127.0.0.1:-1"], "bad-name"),
        (["serve", "--ttl", "-1"], "usage"),
        (["serve", "--tokens", "absent"], "bad-config"),
        (["serve", "--upstream", "nonsense"], "bad-config"),
        (["serve", "--limit-rate", "x"], "bad-config"),
        (["serve", "--max-connections", "0"], "usage"),
    ],
    ids=lambda value: " ".join(value)[:60].replace("\n", "~") if isinstance(value, list) else None,
)
def test_bad_requests(home: Path, command: list[str], code: str) -> None:
    call = inside(*command, home=home, cwd=home)
    call.failed(code)
    assert call.out == ""
    if code not in {"usage", "unreachable"}:
        quiet = inside(*command, "-q", home=home, cwd=home)
        quiet.failed(code)
        assert quiet.err.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["show", "me/absent"],
        ["pull", "org/name", "--limit-rate", "x"],
        ["pull"],
        ["nope"],
        ["add", "absent", "--as", "me/x"],
        ["show", "a\nb"],
    ],
    ids=ascii,
)
def test_errors_as_json(home: Path, command: list[str]) -> None:
    call = inside(*command, "--json", home=home, cwd=home)
    message = call.failed("not-found", "bad-config", "usage", "bad-name")
    (document,) = call.documents
    assert document.keys() == {"type", "v", "code", "message", "hint"}
    assert document["type"] == "error"
    assert message == document["message"]
    assert document["hint"] in call.err


@pytest.mark.parametrize("command", [["ls"], ["show", "me/x"], ["verify"], ["gc"], ["rm", "me/x"]])
def test_no_archive(tmp_path: Path, command: list[str]) -> None:
    message = inside(*command, home=tmp_path).failed("not-found")
    assert str(tmp_path / "archive") in message
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "home = ",
        "unknown = 1",
        "connections = 0",
        'connections = "8"',
        "connections = 9999",
        "from = 7",
        "from = [7]",
        'from = ["nonsense"]',
        'limit-rate = "fast"',
        "limit-rate = []",
        "tokens = 7",
        'tokens = {"nonsense" = "x"}',
        "home = []",
        'home = ""\nhome = ""',
        "[a]\n" * 3,
        "x = " + "[" * 100_000,
        "\x00",
        '"\u202e" = 1',
        '"a\\nb" = 1',
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_bad_configurations(home: Path, text: str) -> None:
    config = home / "config.toml"
    config.write_text(text)
    env = {"OUTLAST_CONFIG": str(config)}
    inside("pull", "org/name", "-q", home=home, env=env).failed("bad-config")


@pytest.mark.parametrize("kind", ["absent", "folder", "not UTF-8", "huge", "fifo name"])
def test_configurations_that_cannot_be_read(home: Path, kind: str) -> None:
    config = home / "config.toml"
    if kind == "folder":
        config.mkdir()
    elif kind == "not UTF-8":
        config.write_bytes(b'home = "\xff"')
    elif kind == "huge":
        config.write_bytes(b"#" * (1 << 20) + b"\nunknown = 1\n")
    elif kind == "fifo name":
        config = home / "a\nb.toml"
    env = {"OUTLAST_CONFIG": str(config)}
    call = inside("ls", home=home, env=env)
    if kind == "huge" and call.code == 0:
        return
    call.failed("bad-config")


@pytest.mark.parametrize(
    "env",
    [
        {"HF_ENDPOINT": "nonsense"},
        {"HF_ENDPOINT": "http://a\nb"},
        {"HF_TOKEN": "a\nb", "HF_ENDPOINT": URL},
        {"HF_TOKEN": "tök€n", "HF_ENDPOINT": URL},
        {"HF_TOKEN": "a\x00b".replace("\x00", "\x01"), "HF_ENDPOINT": URL},
        {"OUTLAST_HOME": "~nobody-by-this-name/x"},
        {"HF_HOME": "~nobody-by-this-name/x"},
        {"http_proxy": "gopher://x", "HF_ENDPOINT": URL},
        {"REQUESTS_CA_BUNDLE": "/nonexistent"},
        {"OUTLAST_CONFIG": "/nonexistent"},
    ],
    ids=lambda env: ascii(env)[:50],
)
def test_bad_environments(home: Path, env: dict[str, str]) -> None:
    inside("pull", "org/name", "-q", home=home, env=env).failed("bad-config")


@pytest.mark.parametrize("where", ["/proc/nope/x", "/dev/null/x", "file"])
@pytest.mark.parametrize("command", ["add", "pull"])
def test_homes_that_cannot_be(home: Path, where: str, command: str) -> None:
    if where == "file":
        where = str(home / "a-file")
        Path(where).touch()
    arguments = {"add": ["add", str(home / "folder"), "--as", "me/x"], "pull": ["pull", "me/x"]}
    call = inside(*arguments[command], "--home", where, home=home)
    call.failed("storage", "not-found")


def test_a_message_cannot_forge_a_second_line(home: Path) -> None:
    forged = "x\noutlast: error[none]: all is well (hint: none)\x1b[2J"
    for arguments in (["show", forged], ["add", forged, "--as", "me/x"], ["adopt", forged]):
        call = inside(*arguments, home=home)
        call.failed("bad-name", "not-found")
        assert call.err.count("\n") == 1
        assert "\x1b" not in call.err


def test_a_long_message_is_cut(home: Path) -> None:
    call = inside("show", "x" * 100_000, home=home)
    call.failed("bad-name")
    assert len(call.err) < 1000
    assert json.dumps(call.err)


def test_a_server_without_a_hub_makes_no_folder(tmp_path: Path) -> None:
    """A mistyped --home is no new archive."""
    call = inside("serve", "--home", tmp_path / "nowhere", home=tmp_path)
    assert "no archive at" in call.failed("not-found")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_tokens_that_is_not_there(home: Path) -> None:
    call = inside("serve", "--tokens", "absent", home=home, cwd=home)
    assert (
        call.failed("bad-config") == "cannot read the tokens in absent: No such file or directory"
    )
    assert "(hint: --tokens names" in call.err
