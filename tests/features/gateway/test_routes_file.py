"""The file of routes: what it may say, and what its errors say."""

from pathlib import Path

import pytest

from outlast.core.errors import BadConfigError
from outlast.features.gateway.routes.file import read_routes

WHOLE = """
[gateway]
connect = 1
drain = 5

[endpoints.cloud]
url = "https://api.example.com/v1/"
key-env = "KEY"
jurisdiction = "US"

[endpoints.rack]
url = ["http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"]
key-file = "rack.key"
continues = "continue_final_message"

[archive."org/small"]
warm = true
context = 4096

[routes.assistant]
targets = ["cloud:gpt-big", "rack:org/mid", "archive:org/small"]
mode = "local-first"
stall = 2.5
"""


def _read(folder: Path, text: str) -> str:
    path = folder / "gateway.toml"
    path.write_text(text)
    with pytest.raises(BadConfigError) as caught:
        read_routes(path, {"KEY": "secret-of-cloud"})
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    return str(caught.value).removeprefix(f"{path}: ")


def test_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(WHOLE)
    (tmp_path / "rack.key").write_text("secret-of-rack\n")
    routes = read_routes(tmp_path / "gateway.toml", {"KEY": "secret-of-cloud"})
    route = routes.routes["assistant"]
    assert (route.clocks.connect, route.clocks.stall, route.clocks.first_token) == (1, 2.5, 30)
    cloud, rack, archive = route.targets
    assert cloud.endpoint is not None
    assert rack.endpoint is not None
    assert archive.local is not None
    assert (cloud.hosted, rack.hosted, archive.hosted) == (True, False, False)
    assert (cloud.endpoint.key, rack.endpoint.key) == ("secret-of-cloud", "secret-of-rack")
    assert cloud.endpoint.urls == ("https://api.example.com/v1",)
    assert len(rack.endpoint.urls) == 2
    assert (archive.local.warm, archive.local.context) == (True, 4096)
    assert (rack.continues, archive.continues) == ("continue_final_message", "prefill")
    assert routes.drain == 5


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("[routes.assistant]", "[routes]\n[nothing]"), "unknown key 'nothing'"),
        (("stall = 2.5", "stal = 2.5"), "[routes.assistant]: unknown key 'stal'"),
        (("stall = 2.5", "stall = 0"), "[routes.assistant]: the setting 'stall' is not a number"),
        (("local-first", "best"), "[routes.assistant]: the setting 'mode': not known: 'best'"),
        (("local-first", "cheapest"), "needs latency-goal"),
        (("local-first", "fastest"), "needs most-price"),
        (("cloud:gpt-big", "gpt-big"), "[routes.assistant]: no target: 'gpt-big'"),
        (("cloud:gpt-big", "clod:gpt-big"), "there is no [endpoints.clod]"),
        (("cloud:gpt-big", "archive:org/small"), "a target is named twice"),
        (("archive:org/small", "archive:../x"), "[routes.assistant]: "),
        (('"KEY"', '"NO_KEY"'), "the variable NO_KEY is not set"),
        (('"rack.key"', '"no.key"'), "cannot read the key in"),
        (("https://api", "ftp://api"), "[endpoints.cloud]: no URL"),
        (("https://api", "https://me:pass@api"), "a URL has no user, password"),
        (("continue_final_message", "guess"), "the setting 'continues': not known"),
        (("warm = true", "warm = 1"), "'warm' is neither true nor false"),
        (("[gateway]", "[gateway"), "is no TOML"),
        (("stall = 2.5", "adapters = 5"), "'adapters' is not a list of texts"),
        (("stall = 2.5", 'adapters = ["../x"]'), "[routes.assistant]: "),
        ((', "archive:org/small"]', ']\nadapters = "me/a"'), "adapters need a base"),
        (
            ('"archive:org/small"]', '"archive:org/small+me/b"]\nadapters = "me/a"'),
            "adapters need a base",
        ),
        (
            ("stall = 2.5", 'adapters = "me/a"\n[routes."assistant+me/a"]\ntargets = "cloud:x"'),
            "there are two routes assistant+me/a",
        ),
    ],
)
def test_what_is_wrong(tmp_path: Path, change: tuple[str, str], error: str) -> None:
    (tmp_path / "rack.key").write_text("secret-of-rack")
    assert change[0] in WHOLE
    assert error in _read(tmp_path, WHOLE.replace(*change, 1))


def test_adapters_are_routes_of_the_archive_alone(tmp_path: Path) -> None:
    text = WHOLE + 'adapters = ["me/facts", "me/style@v2", "me/facts"]\n'
    (tmp_path / "gateway.toml").write_text(text)
    (tmp_path / "rack.key").write_text("secret-of-rack\n")
    routes = read_routes(tmp_path / "gateway.toml", {"KEY": "secret-of-cloud"}).routes
    assert list(routes) == ["assistant", "assistant+me/facts", "assistant+me/style@v2"]
    names = [[target.name for target in route.targets] for route in routes.values()]
    assert names[1:] == [
        ["archive:org/small+me/facts"],
        ["archive:org/small+me/style@v2"],
    ]
    # One engine has the base and both adapters.
    (engine,) = {t.local for route in routes.values() for t in route.targets if t.local}
    assert engine is not None
    assert [str(one) for one in engine.adapters] == ["me/facts", "me/style@v2"]
    assert routes["assistant+me/facts"].clocks == routes["assistant"].clocks


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "there is no route" in _read(tmp_path, "[gateway]")
    assert "too large" in _read(tmp_path, "#" * 2_000_000)
    with pytest.raises(BadConfigError, match="cannot read the routes"):
        read_routes(tmp_path / "none", {})


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    assert _read(tmp_path, "[endpoints.a]\n[routes.m]\ntargets = 'a:b'") == (
        "[endpoints.a]: the setting 'url' is missing"
    )
    assert "'targets' is missing" in _read(tmp_path, "[routes.m]\nmode = 'as-listed'")
