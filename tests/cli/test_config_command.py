"""`outlast config`: what holds, where it comes from, and a file to begin with."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from outlast.cli.config.declared import Setting, settings
from outlast.cli.config.file import Config, config_of, load_config
from outlast.cli.config.origins import Held, held
from outlast.cli.config.template import template
from outlast.cli.config.values import parse_rate, parse_size
from outlast.cli.config.variables import OUTSIDE
from outlast.cli.config.written import toml, written
from outlast.features import FEATURES
from tests.cli.call import Call, inside
from tests.features.sample import LISTED

# For each key of the file another value than its default, as the file writes it and as it is held.
OTHERS: dict[str, tuple[str, Any]] = {
    "home": ('"/data"', "/data"),
    "from": ('"https://mirror.example"', ["https://mirror.example"]),
    "connections": ("3", 3),
    "limit-rate": ('"50M"', 50_000_000),
    "form": ('"plain"', "plain"),
    "working-copies": ('"50GB"', 50_000_000_000),
    "gc-grace": ("0.5", 0.5),
    "identity": ('"/key.txt"', "/key.txt"),
    "recheck-days": ("7.5", 7.5),
    "tokens": ('{"https://mirror.example" = "s3cret"}', {"https://mirror.example": "(set)"}),
    "swarm.enabled": ("false", False),
    "swarm.port": ("6881", 6881),
    "swarm.peer-port": ("9000", 9000),
    "swarm.peers": ('["[2001:db8::7]:1", "a.example:2"]', ["[2001:db8::7]:1", "a.example:2"]),
    "swarm.trackers": (
        '"https://t.example/announce?key=s3cret"',
        ["https://t.example/announce?(set)"],
    ),
    "swarm.dht": ("true", True),
    "swarm.dht-port": ("6882", 6882),
    "swarm.dht-routers": ('["router.example:6881"]', ["router.example:6881"]),
    "swarm.link-hosts": ('["192.168.1.7"]', ["192.168.1.7/32"]),
    "swarm.private": ("true", True),
    "swarm.utp": ("true", True),
    "swarm.upnp": ("true", True),
    "swarm.up": ('"1.5M"', 1_500_000),
    "swarm.down": ("500000", 500_000),
    "swarm.lan-up": ('"10MiB/s"', 10 * 2**20),
    "swarm.lan-down": ('"1k"', 1000),
    "swarm.schedule": (
        '[{days = "fri-sun", hours = "22:30-06:00", down = "1M"}]',
        [{"days": "fri,sat,sun", "hours": "22:30-06:00", "up": "0", "down": "1M"}],
    ),
    "share.include": ('["org/*"]', ["org/*"]),
    "share.exclude": ('"org/secret"', ["org/secret"]),
    "share.restricted": ("true", True),
    "share.largest": ('"50GB"', 50_000_000_000),
    "serve.hosts": ('["models.example"]', ["models.example"]),
    "serve.fetch-quota": ('"0"', 0),
    "serve.keep": ('"2TB"', 2_000_000_000_000),
    "serve.keep-free": ('"1GB"', 1_000_000_000),
    "serve.unsafe": ('"allow"', "allow"),
    "serve.allow-unsafe": (f'["{"a" * 64}"]', ["a" * 64]),
    "s3.endpoint": ('"https://s3.example/"', "https://s3.example"),
    "s3.region": ('"eu-central-1"', "eu-central-1"),
    "s3.access-key-id": ('"s3cret"', "(set)"),
    "s3.secret-access-key": ('"s3cret"', "(set)"),
    "s3.session-token": ('"s3cret"', "(set)"),
}
# The same for each variable of the environment.
VARIABLES: dict[str, tuple[str, Any]] = {
    "OUTLAST_HOME": ("/other", "/other"),
    "HF_ENDPOINT": ("https://hub.example", "https://hub.example"),
    "OUTLAST_FORM": ("capsule", "capsule"),
    "OUTLAST_SWARM": ("1", True),
    "OUTLAST_SWARM_PORT": ("7001", 7001),
    "OUTLAST_PEER_PORT": ("7002", 7002),
    "OUTLAST_DHT_PORT": ("7003", 7003),
    "OUTLAST_PEERS": ("b.example:3", ["b.example:3"]),
    "OUTLAST_PRIVATE": ("0", False),
    "HF_TOKEN": ("s3cret", "(set)"),
    "HUGGING_FACE_HUB_TOKEN": ("s3cret", "(set)"),
    "HF_HUB_CACHE": ("/cache", "/cache"),
    "HF_HOME": ("/hf", "/hf/hub"),
    "XDG_CACHE_HOME": ("/xdg", "/xdg/huggingface/hub"),
    "REQUESTS_CA_BUNDLE": ("/ca.pem", "/ca.pem"),
    "CURL_CA_BUNDLE": ("/ca.pem", "/ca.pem"),
    "OUTLAST_SIMD": ("portable", "portable"),
    "OUTLAST_LOG": ("debug", "debug"),
    "AWS_ENDPOINT_URL_S3": ("http://one.example", "http://one.example"),
    "AWS_ENDPOINT_URL": ("http://other.example", "http://other.example"),
    "AWS_REGION": ("here", "here"),
    "AWS_DEFAULT_REGION": ("there", "there"),
    "AWS_ACCESS_KEY_ID": ("s3cret", "(set)"),
    "AWS_SECRET_ACCESS_KEY": ("s3cret", "(set)"),
    "AWS_SESSION_TOKEN": ("s3cret", "(set)"),
}
IN_FILE = [setting for setting in settings() if setting.key not in OUTSIDE]
WITH_SECRETS = {
    *("tokens", "swarm.trackers"),
    *("s3.access-key-id", "s3.secret-access-key", "s3.session-token"),
}
SHOWN = [setting for setting in IN_FILE if setting.key not in WITH_SECRETS]
"""Those without secrets."""
FROM_ENVIRONMENT = [
    (setting.key, name)
    for setting in settings()
    if setting.key not in {"proxies", "config-file"}
    for name in setting.about.environment
]


class Recorded(Mapping[str, str]):
    """An environment that notes what it is asked for."""

    def __init__(self, said: Mapping[str, str]) -> None:
        self.said = said
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self.said[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.said)

    def __len__(self) -> int:
        return len(self.said)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home folder of the commands, for defaults that are below it."""
    monkeypatch.setenv("HOME", str(tmp_path))


def run(home: Path, *arguments: str, text: str | None = None, **environ: str) -> Call:
    file = home / "config" / "outlast" / "config.toml"
    if text is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return inside("config", *arguments, home=home, env=environ, features=[LISTED])


def one(found: list[Held], key: str) -> Held:
    return next(each for each in found if each.setting.key == key)


def file_with(folder: Path, key: str, value: str) -> Path:
    section, _, name = key.rpartition(".")
    head = f"[{section}]\n" if section else ""
    file = folder / "config.toml"
    file.write_text(f"{head}{name} = {value}\n")
    return file


@pytest.mark.parametrize("setting", IN_FILE, ids=lambda setting: setting.key)
def test_what_the_file_says_is_shown(setting: Setting, tmp_path: Path) -> None:
    text, value = OTHERS[setting.key]
    file = file_with(tmp_path, setting.key, text)
    found = held({"OUTLAST_CONFIG": str(file)})
    shown = one(found, setting.key)
    assert shown.value == value
    assert (shown.origin, shown.named) == ("file", str(file))
    others = {each.setting.key for each in found if each.origin != "default"}
    assert others == {setting.key, "config-file"}
    assert "s3cret" not in repr([each.value for each in found])


@pytest.mark.parametrize("setting", SHOWN, ids=lambda setting: setting.key)
def test_what_is_shown_can_be_written(setting: Setting, tmp_path: Path) -> None:
    """Into the file: it says the same then."""
    about = setting.about
    file = file_with(tmp_path, setting.key, toml(OTHERS[setting.key][1], about.unit))
    found = one(held({"OUTLAST_CONFIG": str(file)}), setting.key)
    assert found.value == OTHERS[setting.key][1]


@pytest.mark.parametrize(("key", "name"), FROM_ENVIRONMENT)
def test_what_the_environment_says_is_shown(key: str, name: str, tmp_path: Path) -> None:
    said, value = VARIABLES[name]
    environ = {name: said}
    if key in OTHERS:
        environ["OUTLAST_CONFIG"] = str(file_with(tmp_path, key, OTHERS[key][0]))
    shown = one(held(environ), key)
    if key == "from":  # here the file goes first
        assert (shown.value, shown.origin) == (OTHERS[key][1], "file")
        shown, value = one(held({name: said}), key), [value]
    assert (shown.value, shown.origin, shown.named) == (value, "environment", name)


def test_the_first_variable_holds() -> None:
    for key, name in FROM_ENVIRONMENT:
        names = one(held({}), key).setting.about.environment
        found = one(held({each: VARIABLES[each][0] for each in names}), key)
        if name == names[0]:
            assert found.named == name
            expected = VARIABLES[name][1]
            assert found.value == ([expected] if key == "from" else expected)


def test_every_variable_that_is_read_is_declared() -> None:
    environ = Recorded({})
    load_config(environ)
    declared = {name for setting in settings() for name in setting.about.environment}
    assert environ.asked - {"HF_TOKEN_PATH"} <= declared
    assert declared - environ.asked == {
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "OUTLAST_LOG")
    }


def test_what_a_feature_declares_is_shown(tmp_path: Path) -> None:
    documents = run(tmp_path, "sample", "--json").ok().documents
    assert [(each["key"], each["value"]) for each in documents] == [
        ("sample.greeting", "hello"),
        ("sample.password", None),
    ]
    call = run(tmp_path, text='[sample]\ngreeting = "welcome"\npassword = "s3cret"\n').ok()
    file = tmp_path / "config" / "outlast" / "config.toml"
    assert re.search(rf"^sample.greeting +welcome +{file}$", call.out, re.MULTILINE)
    assert re.search(rf"^sample.password +\(set\) +{file}$", call.out, re.MULTILINE)
    assert "s3cret" not in call.out + call.err


def test_private_turns_others_off(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[swarm]\ndht = true\nprivate = true\n")
    found = held({"OUTLAST_CONFIG": str(file)})
    dht, upnp = one(found, "swarm.dht"), one(found, "swarm.upnp")
    assert (dht.value, dht.origin, dht.named) == (False, "setting", "swarm.private")
    assert (upnp.value, upnp.origin) == (False, "default")


def test_the_flag_goes_first(tmp_path: Path) -> None:
    call = run(tmp_path, "home", "--home", str(tmp_path / "x"), "--json").ok()
    assert (call.result["value"], call.result["from"]) == (str(tmp_path / "x"), "--home")
    assert call.result["origin"] == "flag"


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text("s3cret\n")
    proxy = "http://me:s3cret@proxy.example:3128"
    text = '[tokens]\n"https://mirror.example" = "s3cret"\n'
    for arguments in ((), ("--json",), ("hub-token",), ("tokens",), ("--debug",)):
        call = run(tmp_path, *arguments, text=text, HTTPS_PROXY=proxy).ok()
        assert "s3cret" not in call.out + call.err
    shown = {each["key"]: each for each in run(tmp_path, "--json", HTTPS_PROXY=proxy).documents}
    assert shown["tokens"]["value"] == {"https://mirror.example": "(set)"}
    assert shown["proxies"]["value"] == {"https": "http://(set)@proxy.example:3128"}
    assert shown["proxies"]["from"] == "HTTPS_PROXY"
    assert shown["hub-token"]["value"] == "(set)"
    assert shown["hub-token"]["from"] == str(tmp_path / "hf" / "token")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["peer-port"], "did you mean swarm.peer-port?"),
        (["swarm.peer_port"], "did you mean swarm.peer-port?"),
        (["zzz"], "'outlast config' lists the settings"),
        (["--force"], "see 'outlast config --help'"),
        (["home", "--init"], "see 'outlast config --help'"),
    ],
)
def test_wrong_calls(arguments: list[str], said: str, tmp_path: Path) -> None:
    call = run(tmp_path, *arguments)
    call.failed("bad-config", "usage")
    assert f"(hint: {said})" in call.err


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        ("[swarm]\nprot = 1", {}, "unknown key 'prot'"),
        ("working-copies = true", {}, "'working-copies' is neither a text nor a number"),
        ("serve.keep-free = []", {}, "'keep-free' is neither a text nor a number"),
        ("", {"OUTLAST_SWARM": "2"}, "OUTLAST_SWARM is neither 0 nor 1"),
        ("", {"OUTLAST_SIMD": "abacus"}, "no such kernels"),
    ],
)
def test_a_wrong_setting_is_one_line(
    text: str, environ: dict[str, str], said: str, tmp_path: Path
) -> None:
    assert said in run(tmp_path, text=text, **environ).failed("bad-config")


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("[swarm]\npear-port = 1", "[swarm]: unknown key 'pear-port'", "did you mean 'peer-port'?"),
        ("zzzz = 1", "unknown key 'zzzz'", "known: "),
        ("[swarm]\npeer-port = -1", "[swarm]: 'peer-port' is not a port from 0 to 65535", ""),
        ('[swarm]\npeers = "x"', "the setting 'peers': not an address", ""),
        ('form = "zip"', "the setting 'form': not a form: 'zip'", "known: "),
        ('from = "ftp://a.example"', "the setting 'from': not an http", ""),
        ("[sample]\ngreetin = 1", "[sample]: unknown key 'greetin'", "'greeting'"),
    ],
)
def test_a_wrong_file_is_named_once(text: str, said: str, hint: str, tmp_path: Path) -> None:
    call = run(tmp_path, text=text)
    file = tmp_path / "config" / "outlast" / "config.toml"
    message = call.failed("bad-config")
    assert message.startswith(f"{file}: {said}")
    assert message.count(str(file)) == 1
    assert f"(hint: {hint}" in call.err or hint in call.err.split("(hint: ")[1]


@pytest.mark.parametrize(
    "name", ["OUTLAST_FORM", "HF_ENDPOINT", "OUTLAST_PEERS", "OUTLAST_DHT_PORT", "AWS_ENDPOINT_URL"]
)
def test_a_wrong_variable_is_named(name: str, tmp_path: Path) -> None:
    message = run(tmp_path, text="connections = 3", **{name: "zip"}).failed("bad-config")
    assert message.count(name) == 1
    assert "config.toml" not in message


def test_a_default_that_follows_a_variable(tmp_path: Path) -> None:
    call = run(tmp_path, "--json", OUTLAST_HOME="", XDG_DATA_HOME=str(tmp_path / "data")).ok()
    found = {each["key"]: each for each in call.documents}
    for key, name in (("home", "XDG_DATA_HOME"), ("config-file", "XDG_CONFIG_HOME")):
        if found[key]["value"].startswith((str(tmp_path / "data"), str(tmp_path / "config"))):
            assert (found[key]["origin"], found[key]["from"]) == ("environment", name)
        else:  # a platform where they say nothing
            assert found[key]["origin"] == "default"


def test_one_setting_in_full(tmp_path: Path) -> None:
    call = run(tmp_path, "swarm.peer-port", OUTLAST_PEER_PORT="7").ok()
    assert [re.split(" {2,}", line) for line in call.out.splitlines()] == [
        ["setting", "swarm.peer-port"],
        ["value", "7"],
        ["from", "OUTLAST_PEER_PORT"],
        ["variable", "OUTLAST_PEER_PORT"],
        ["about", "Port of the node's own API, for other nodes; 0 is any free one."],
    ]


# The file to begin with


def read(text: str, features: bool = True) -> Config:
    return config_of(tomllib.loads(text), {}, features=[LISTED] if features else [])


def test_the_file_says_the_defaults() -> None:
    assert read(template([LISTED])) == config_of({}, {})
    assert template(FEATURES).count("\n[") == 9
    assert template(FEATURES).count("\n[") == 9


def test_a_line_uncommented_is_the_default() -> None:
    lines = template([LISTED]).splitlines()
    ours = [number for number, line in enumerate(lines) if re.match("#[^#]", line)]
    assert len(ours) == len(IN_FILE) + 2
    examples = {
        "identity",
        "working-copies",
        "keep-free",
        "keep",
        "endpoint",
        "https://mirror.example",
    }
    for number in ours:
        text = "\n".join([*lines[:number], lines[number][1:], *lines[number + 1 :]])
        name = lines[number][1:].split(" = ")[0].strip('"')
        config = read(text)
        assert (config_of({}, {}) == config) == (name not in {*examples, "greeting", "password"})
        assert lines[number - 1].endswith("An example:") == (name in examples)
        assert config.feature(LISTED).greeting == "hello"


def test_all_lines_uncommented_parse() -> None:
    text = re.sub("^#", "", template([LISTED]), flags=re.MULTILINE)
    table = tomllib.loads(text)
    assert {*table} >= {"home", "tokens", "swarm", "share", "serve", "sample"}
    config = read(text)
    assert config.tokens == {"https://mirror.example": "TOKEN"}
    assert (config.working_copies, config.serve.intake.keep_free) == (10**11, 5 * 10**10)
    assert config.swarm == config_of({}, {}).swarm
    for setting in IN_FILE:
        section, _, name = setting.key.rpartition(".")
        assert name in (table[section] if section else table)


def test_every_line_of_the_file_can_be_read() -> None:
    for line in template([LISTED]).splitlines():
        assert len(line) <= 90 or not line.startswith("##")
        assert line == "" or line[0] in "#["


def test_it_writes_the_file_that_is_read(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        call = run(tmp_path, "--init", "--json").ok()
    finally:
        os.umask(old)
    file = tmp_path / "config" / "outlast" / "config.toml"
    assert (call.result["path"], call.result["backup"]) == (str(file), None)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == template([LISTED])
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]
    shown = run(tmp_path, "--json").ok().documents
    assert {each["from"] for each in shown if each["origin"] == "file"} == set()


def test_it_writes_where_the_variable_says(tmp_path: Path) -> None:
    file = tmp_path / "new" / "mine.toml"
    hint = run(tmp_path, OUTLAST_CONFIG=str(file))
    assert "'outlast config --init' writes one" in hint.err
    run(tmp_path, "--init", OUTLAST_CONFIG=str(file)).ok()
    run(tmp_path, OUTLAST_CONFIG=str(file)).ok()


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    wrong = "home = 1 ["
    call = run(tmp_path, "--init", text=wrong)
    assert "exists" in call.failed("usage")
    file = tmp_path / "config" / "outlast" / "config.toml"
    assert file.read_text() == wrong
    file.chmod(0o644)
    for _ in range(2):
        done = run(tmp_path, "--init", "--force").ok()
        assert done.out == f"wrote {file}; the file before is {file}.bak\n"
        assert file.read_text() == template([LISTED])
        assert file.with_name("config.toml.bak").stat().st_mode & 0o777 == 0o600
        assert len(list(file.parent.iterdir())) == 2
        assert file.with_name("config.toml.bak").read_text() == wrong
        file.write_text(wrong)


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "outlast"
    folder.mkdir(parents=True)
    (tmp_path / "mine.toml").write_text("connections = 3\n")
    (folder / "config.toml").symlink_to(tmp_path / "mine.toml")
    run(tmp_path, "--init").failed("usage")
    run(tmp_path, "--init", "--force").ok()
    assert (folder / "config.toml").is_symlink()
    assert (tmp_path / "mine.toml").read_text() == template([LISTED])
    assert (tmp_path / "mine.toml.bak").read_text() == "connections = 3\n"


def test_a_folder_that_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("")
    run(tmp_path, "--init").failed("storage")


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1024, 1_500_000, 10**12, 5 * 2**40, 10**12 - 1])
def test_amounts_come_back(count: int) -> None:
    assert parse_size(tomllib.loads(f"x = {toml(count, 'bytes')}")["x"]) == count
    if count < 10**12:
        assert parse_rate(tomllib.loads(f"x = {toml(count, 'bytes/s')}")["x"]) == count


def test_texts_come_back() -> None:
    value = {'a "b"': ["\x7f\\é\n", 0.1234567890123, 1e-7, 7.0, True, {"c-d": 1}]}
    assert tomllib.loads(f"x = {toml(written(value))}")["x"] == value
