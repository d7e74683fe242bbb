"""``/healthz``: what it says of a disk that works, one that does not, and one that hangs."""

import asyncio
import errno
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from outlast.server.hub.health import DiskHealth, Tried, try_disk
from outlast.server.tuning import TUNING
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.layout import Layout
from tests.clients.contract import MODEL
from tests.serve.conftest import Served
from tests.serve.node import Node, copied
from tests.serve.upstream import target
from tests.serve.wire import once

SECONDS = 30.0


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    with Archive(tmp_path / "home", create=True) as archive:
        yield archive.layout


class TestCheck:
    def test_a_disk_that_works(self, layout: Layout) -> None:
        assert try_disk(layout) == Tried("ok")
        assert not list(layout.tmp.iterdir())

    def test_what_a_killed_server_left_does_not_matter(self, layout: Layout) -> None:
        (layout.tmp / f"health-{os.getpid()}").touch()
        assert try_disk(layout) == Tried("ok")
        assert not list(layout.tmp.iterdir())

    def test_a_copy_without_empty_folders(self, layout: Layout) -> None:
        layout.tmp.rmdir()
        assert try_disk(layout) == Tried("ok")

    def test_an_archive_that_is_gone_is_not_made_anew(self, layout: Layout) -> None:
        shutil.rmtree(layout.home)
        assert try_disk(layout).word == "missing"
        layout.home.mkdir()  # the folder that a disk was mounted on
        assert try_disk(layout).word == "missing"
        assert not list(layout.home.iterdir())

    def test_a_folder_that_takes_no_file(self, layout: Layout) -> None:
        layout.tmp.rmdir()
        layout.tmp.touch()
        assert try_disk(layout).word == "failing"

    @pytest.mark.parametrize(
        ("number", "word"),
        [
            (errno.EIO, "failing"),
            (errno.ESTALE, "failing"),
            (errno.ENOSPC, "full"),
            (errno.EDQUOT, "full"),
            (errno.EROFS, "read-only"),
            (errno.EACCES, "read-only"),
            (errno.EMFILE, "busy"),
        ],
    )
    def test_a_sync_that_fails(
        self, layout: Layout, monkeypatch: pytest.MonkeyPatch, number: int, word: str
    ) -> None:
        """The write itself may succeed: a dead disk is found when the bytes have to reach it."""

        def fail(_fd: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(disk, "fsync", fail)
        tried = try_disk(layout)
        assert tried.word == word
        assert os.strerror(number) in tried.why
        assert not list(layout.tmp.iterdir())


class Disk:
    """What a check finds, and how often there was one. It lasts until `go` is set."""

    def __init__(self, word: str = "ok") -> None:
        self.word = word
        self.checks = 0
        self.threads = set[threading.Thread]()
        self.go = threading.Event()
        self.go.set()
        self.now = 1000.0

    def __call__(self) -> Tried:
        self.checks += 1
        self.threads.add(threading.current_thread())
        assert self.go.wait(SECONDS)
        return Tried(self.word, "why")

    def clock(self) -> float:
        return self.now

    def health(self, *, fetches: bool = True) -> DiskHealth:
        return DiskHealth(self, fetches=fetches, clock=self.clock)


def said(response: web.Response) -> tuple[int, str]:
    assert response.text is not None
    return response.status, response.text


class TestHealth:
    @pytest.mark.parametrize("word", ["read-only", "full", "missing", "busy", "failing"])
    def test_what_a_mirror_says(self, word: str) -> None:
        response = asyncio.run(Disk(word).health().reply())
        assert said(response) == (503, f"{word}\n")
        assert int(response.headers["Retry-After"]) > 0

    @pytest.mark.parametrize(
        ("word", "status", "text"),
        [
            ("ok", 200, "ok\n"),
            ("read-only", 200, "ok, read-only\n"),
            ("full", 200, "ok, full\n"),
            ("missing", 503, "missing\n"),
            ("failing", 503, "failing\n"),
        ],
    )
    def test_what_a_server_without_upstream_says(self, word: str, status: int, text: str) -> None:
        response = asyncio.run(Disk(word).health(fetches=False).reply())
        assert said(response) == (status, text)

    def test_one_check_for_all_who_ask(self) -> None:
        disk = Disk()

        async def ask() -> None:
            health = disk.health()
            await asyncio.gather(*(health.reply() for _ in range(200)))
            assert disk.checks == 1
            disk.now += TUNING.health_every - 0.01
            disk.word = "failing"
            assert said(await health.reply()) == (200, "ok\n")
            disk.now += 0.01
            assert (await health.reply()).status == 503
            assert disk.checks == 2
            disk.now += TUNING.health_every
            disk.word = "ok"
            assert (await health.reply()).status == 200

        asyncio.run(ask())
        assert threading.current_thread() not in disk.threads

    def test_a_disk_that_hangs(self) -> None:
        """No second check piles up behind it, and no request waits for it."""
        disk = Disk()

        async def ask() -> None:
            health = disk.health()
            assert (await health.reply()).status == 200
            disk.go.clear()
            disk.now += TUNING.health_every
            assert said(await health.reply()) == (200, "ok\n")  # it may only be slow
            disk.now += TUNING.health_stuck
            for _ in range(3):
                assert said(await health.reply()) == (503, "stuck\n")
            assert disk.checks == 2
            disk.go.set()
            for thread in disk.threads:
                await asyncio.to_thread(thread.join)
            assert said(await health.reply()) == (200, "ok\n")

        asyncio.run(ask())

    def test_the_log_says_why_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        disk = Disk("failing")

        async def ask() -> None:
            health = disk.health()
            for _ in range(3):
                await health.reply()
                disk.now += TUNING.health_every

        asyncio.run(ask())
        assert disk.checks == 3
        (line,) = map(json.loads, capsys.readouterr().err.splitlines())
        assert (line["disk"], line["error"]) == ("failing", "why")


def break_tmp(home: Path) -> None:
    shutil.rmtree(home / "tmp", ignore_errors=True)
    (home / "tmp").touch()


@pytest.mark.parametrize(("ruin", "word"), [(break_tmp, "failing"), (shutil.rmtree, "missing")])
def test_a_server_whose_disk_dies(tmp_path: Path, ruin: Callable[[Path], None], word: str) -> None:
    home = tmp_path / "home"
    with Node(home, tuned={"outlast.server.tuning.TUNING.health_every": 0.0}) as node:
        assert once(node.url, "/healthz").body == b"ok\n"
        ruin(home)
        reply = once(node.url, "/healthz")
        assert (reply.status, reply.body) == (503, f"{word}\n".encode())
        assert once(node.url, "/healthz", "HEAD").status == 503


@pytest.mark.rootonly
@pytest.mark.parametrize(
    ("flags", "status", "text"),
    [((), 200, b"ok, read-only\n"), (("--upstream", "http://127.0.0.1:9"), 503, b"read-only\n")],
)
def test_a_file_system_that_becomes_read_only(
    served: Served, tmp_path: Path, flags: tuple[str, ...], status: int, text: bytes
) -> None:
    """What is there is served. A mirror, which should write, is not well."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    home = tmp_path / "home"
    copied(served.node.home, home)
    temp = home / "tmp"
    temp.mkdir(exist_ok=True)
    tuned = {"outlast.server.tuning.TUNING.health_every": 0.0}
    with Node(home, "--no-swarm", *flags, tuned=tuned) as node:
        assert once(node.url, "/healthz").body == b"ok\n"
        if subprocess.run(["mount", "--bind", temp, temp], check=False).returncode != 0:
            pytest.skip("mounting is not allowed here")
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", temp], check=True)
            reply = once(node.url, "/healthz")
            assert (reply.status, reply.body) == (status, text)
            assert once(node.url, target("config.json", MODEL)).status == 200
        finally:
            subprocess.run(["umount", "-l", temp], check=True)
