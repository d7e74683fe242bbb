"""``outlast gateway`` as a process: signals, and its subcommands."""

import contextlib
import http.client
import json
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.cli.call import inside
from tests.features.gateway.gateways import Answer, Caller
from tests.features.gateway.test_bans import CANARY
from tests.features.gateway.upstream import Provider, providers
from tests.warm.calls import finish, start
from tests.warm.client import Child


@pytest.fixture(name="two")
def _two() -> Iterator[list[Provider]]:
    with providers("a", "b") as made:
        yield made


def _write(home: Path, a: Provider, b: Provider, more: str = "") -> Path:
    path = home / "archive" / "gateway.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        f'[endpoints.a]\nurl = "{a.url}"\nhosted = true\n[endpoints.b]\nurl = "{b.url}"\n'
        f'[routes.m]\ntargets = ["a:big", "b:small"]\nstall = 600\nfirst-token = 600\n{more}'
    )
    return path


@contextlib.contextmanager
def _serving(
    home: Path, *more: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple[Caller, Child]]:
    process = start("gateway", "--listen", "127.0.0.1:0", "--json", *more, home=home, env=env)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, finish(process).err
    said = json.loads(line)
    assert said["routes"] == ["m"]
    try:
        yield Caller(int(said["url"].split(":")[2].removesuffix("/v1"))), process
    finally:
        process.kill()


def test_a_new_file_holds_from_the_next_request(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    path = _write(tmp_path, a, b)
    with _serving(tmp_path) as (caller, process):
        a.doing = {"wait": 5}
        answers: list[Answer] = []

        def change() -> None:
            path.write_text(path.read_text().replace('"a:big", "b:small"', '"b:new"'))
            process.send_signal(signal.SIGHUP)
            while caller.chat().json["outlast"]["target"] != "b:new":
                pass
            # A file that is wrong changes nothing.
            path.write_text("[routes")
            process.send_signal(signal.SIGHUP)
            answers.append(caller.chat())
            a.hold.set()

        answer = caller.chat_until("w4 ", change)
        assert answer.done
        assert answer.note["target"] == "a:big"
        assert answers[0].json["outlast"]["target"] == "b:new"
        process.send_signal(signal.SIGTERM)
        call = finish(process)
    assert "is no TOML" in call.err
    assert call.code == 0


def test_streams_end_before_it_does(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    _write(tmp_path, a, b)
    with _serving(tmp_path) as (caller, process):
        a.doing = {"wait": 5}
        waiting = http.client.HTTPConnection("127.0.0.1", caller.port)
        waiting.connect()  # in line before the port is closed

        def stop() -> None:
            process.send_signal(signal.SIGTERM)
            while True:
                try:
                    caller.get("/healthz")
                except OSError:
                    break
            threading.Timer(0.2, a.hold.set).start()

        answer = caller.chat_until("w4 ", stop)
        waiting.close()
        assert answer.done
        assert answer.text.endswith("w9")
        call = finish(process)
    assert call.code == 0
    assert "draining" in call.err


def test_a_stream_without_end_is_ended(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    path = _write(tmp_path, a, b)
    path.write_text("[gateway]\ndrain = 0.2\n" + path.read_text())
    with _serving(tmp_path) as (caller, process):
        a.doing = {"wait": 5}
        with pytest.raises((http.client.HTTPException, OSError, AssertionError)):
            caller.chat_until("w4 ", lambda: process.send_signal(signal.SIGTERM))
        assert finish(process).code == 0


def test_names_that_the_operator_gave(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    _write(tmp_path, a, b)
    with _serving(tmp_path, "--host", "models.example") as (caller, _):
        assert caller.get("/healthz", Host="models.example").status == 200
        assert caller.get("/healthz", Host="other.example").status == 421


def test_no_key_is_dumped_or_printed(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    path = _write(tmp_path, a, b)
    path.write_text(path.read_text().replace("[endpoints.b]", 'key-env = "A_KEY"\n[endpoints.b]'))
    env = {"A_KEY": CANARY}
    error = json.dumps({"error": {"message": f"no such key: {CANARY}"}})
    with _serving(tmp_path, env=env) as (caller, process):
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        (cores,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert cores.split()[4:6] == ["0", "0"]
        assert caller.chat().json["outlast"]["target"] == "a:big"
        assert CANARY in a.heads[0]
        a.doing = {"status": 401, "body": error}
        assert caller.chat().json["outlast"]["target"] == "b:small"
        said = [inside("status", "--json", home=tmp_path).ok()]
        process.send_signal(signal.SIGTERM)
        said.append(finish(process))
    for command in ("check", "drill", "usage", "costs"):
        said += [
            inside("gateway", command, *more, home=tmp_path, env=env) for more in ((), ("--json",))
        ]
    assert any("key-refused" in call.out or "banned" in call.out for call in said)
    assert not [call for call in said if "canary" in call.out + call.err]


def test_check(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    _write(tmp_path, a, b)
    call = inside("gateway", "check", home=tmp_path).ok()
    assert [line.split()[:3] for line in call.out.splitlines()] == [
        ["TARGET", "AT", "ANSWERS"],
        ["a:big", a.url, "yes"],
        ["b:small", b.url, "yes"],
    ]
    assert (a.asked[0]["max_tokens"], b.asked[0]["model"]) == (1, "small")
    b.doing = {"status": 429}
    call = inside("gateway", "check", "--json", home=tmp_path)
    assert call.code == 5
    assert [line["fault"] for line in call.documents] == [None, "rate-limited"]


def test_drill(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    _write(tmp_path, a, b, '[routes.n]\ntargets = "a:big"\n')
    call = inside("gateway", "drill", "--json", home=tmp_path)
    assert call.code == 5
    assert [(line["route"], line["blocked"], line["target"]) for line in call.documents] == [
        ("m", "a:big", "b:small"),
        ("n", "a:big", None),
    ]
    assert a.asked == []
    _write(tmp_path, a, b)
    assert "b:small" in inside("gateway", "drill", home=tmp_path).ok().out


def test_others_get_in_by_a_key_alone(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    _write(tmp_path, a, b)
    call = inside("gateway", "--listen", "0.0.0.0:0", home=tmp_path)
    assert "no key is required" in call.failed("bad-config")
    (tmp_path / "x").mkdir()
    assert "cannot read the routes" in inside("gateway", home=tmp_path / "x").failed("bad-config")
