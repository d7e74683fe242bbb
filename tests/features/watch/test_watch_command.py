"""``outlast watch``, and watching beside ``serve``, against a hub that withdraws."""

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.app import NodeSettings, Upstream, open_app, open_archive
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.errors import Cancelled
from outlast.core.events import Event, Note, WatchNoticed
from outlast.core.names import RepoId
from outlast.features.watch.feature import WATCH
from outlast.features.watch.follows import parse_pattern, put_follow
from outlast.features.watch.polls.schedule import TUNING
from outlast.features.watch.settings import WatchSettings
from outlast.features.watch.watch import watch_once
from outlast.fetch.transfer import Wishes
from outlast.store import disk
from outlast.swarm.settings import SwarmSettings
from tests.cli.call import Call, inside
from tests.features.watch.world import FILES, open_world
from tests.hubsim import HubRepo, HubSim


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = replace(TUNING, pace=0.0, rest=0.0, service=0.01)
    monkeypatch.setattr("outlast.features.watch.assemble.TUNING", quick)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    HubRepo(tmp_path / "hub", "org/name").commit(FILES)
    with HubSim(tmp_path / "hub", mode="thread", token="hf_right") as sim:
        yield sim


def run(hub: HubSim, tmp_path: Path, *words: str) -> Call:
    """A command whose hub is the simulator, with a short period between two looks."""
    configure(tmp_path, "[watch]\nevery = 0.05\n")
    env = {"HF_TOKEN": "hf_right", "HF_ENDPOINT": hub.url}
    return inside(*words, home=tmp_path, env=env)


def configure(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "config" / "outlast"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(text)


def due(tmp_path: Path) -> None:
    """Makes everything due, as time does."""
    with sqlite3.connect(tmp_path / "archive" / "watch" / "watch.sqlite") as db:
        db.execute("UPDATE duties SET due = 0")
        db.execute("UPDATE models SET refs_due = 0")
    db.close()


def test_now(hub: HubSim, tmp_path: Path) -> None:
    """It looks at what is not due, and archives what was to wait."""
    run(hub, tmp_path, "follow", "org/name", "--budget", "1MB").ok()
    run(hub, tmp_path, "watch", "--once").ok()
    HubRepo(hub.root, "org/name").delete()
    assert run(hub, tmp_path, "watch", "--once").ok().out == ""
    call = run(hub, tmp_path, "watch", "--once", "--now")
    assert (call.code, "was deleted at" in call.out) == (3, True)


def test_what_is_followed_later_is_looked_at_soon(hub: HubSim, tmp_path: Path) -> None:
    """Though its account is not due for a day."""
    HubRepo(hub.root, "org/later").commit(FILES)
    run(hub, tmp_path, "follow", "org/name", "--budget", "1MB").ok()
    run(hub, tmp_path, "watch", "--once").ok()
    run(hub, tmp_path, "follow", "org/later", "--budget", "1MB").ok()
    run(hub, tmp_path, "watch", "--once").ok()
    assert "org/later" in run(hub, tmp_path, "ls").ok().out


def test_watching_from_cron(hub: HubSim, tmp_path: Path) -> None:
    assert "nothing is followed" in run(hub, tmp_path, "watch", "--once").failed("usage")
    run(hub, tmp_path, "follow", "org/name", "--budget", "1MB").ok()
    first = run(hub, tmp_path, "watch", "--once").ok()
    assert first.out == ""
    assert "archived org/name@main" in first.err
    assert first.err.count("pull org/name") == 1
    assert f"1 model at {hub.url} watched: 0 changes" in first.err
    HubRepo(hub.root, "org/name").delete()
    due(tmp_path)
    call = run(hub, tmp_path, "watch", "--once", "--json")
    assert call.code == 3
    (told,) = call.of_type("change")
    assert (told["what"], told["repo"], told["hub"]) == ("deleted", "org/name", hub.url)
    due(tmp_path)
    run(hub, tmp_path, "watch", "--once").ok()
    shown = run(hub, tmp_path, "show", "org/name").ok()
    assert "withdrawn" in shown.out + shown.err
    assert "deleted" in run(hub, tmp_path, "log", "org/name").ok().out
    run(hub, tmp_path, "verify", "org/name").ok()


def test_another_hub_is_watched(hub: HubSim, tmp_path: Path) -> None:
    run(hub, tmp_path, "follow", "org/name").ok()
    with HubSim(hub.root, mode="thread") as mirror:
        run(hub, tmp_path, "watch", "--once", "--from", mirror.url).ok()
        assert mirror.requests()
    asked = len(hub.requests())
    run(hub, tmp_path, "watch", "--once").ok()
    assert len(hub.requests()) > asked


def test_sources_of_which_none_is_a_hub(tmp_path: Path) -> None:
    inside("follow", "org/name", "--budget", "1MB", home=tmp_path).ok()
    configure(tmp_path, 'from = "modelscope"\n')
    assert "no hub" in inside("watch", "--once", home=tmp_path).failed("usage")


def test_a_hub_that_gives_no_answers(hub: HubSim, tmp_path: Path) -> None:
    run(hub, tmp_path, "follow", "org/name").ok()
    hub.set_faults([{"action": "status", "status": 503}])
    call = run(hub, tmp_path, "watch", "--once")
    assert call.code == 5
    assert "does not answer" in call.out
    again = run(hub, tmp_path, "watch", "--once")
    assert (again.code, again.out) == (5, "")
    assert f"{hub.url} gives no answers" in again.err
    assert run(hub, tmp_path, "watch", "--once", "--quiet").err == ""
    hub.set_faults([])
    assert run(hub, tmp_path, "watch", "--once").code == 5, "it is left alone for a while"
    before = len(hub.requests())
    run(hub, tmp_path, "watch", "--once", "--now")
    assert len(hub.requests()) > before, "unless --now asks"


def test_beside_a_server(hub: HubSim, tmp_path: Path) -> None:
    """What is followed is archived while the server runs, and a withdrawal is told."""
    archived, deleted = threading.Event(), threading.Event()

    def hear(event: Event) -> None:
        if isinstance(event, Note) and event.text.startswith("archived org/name@main"):
            archived.set()
        if isinstance(event, WatchNoticed) and event.kind == "deleted":
            deleted.set()

    off = NodeSettings(SwarmSettings(enabled=False))
    with open_archive(tmp_path / "archive") as archive:
        put_follow(archive, replace(parse_pattern("org/name"), budget=10**6))
        upstream = Upstream(hub.url, "hf_right")
        with open_app(archive, [upstream], off, Control(hear), ttl=300, wishes=Wishes()) as app:
            (service,) = WATCH.services(app, WatchSettings(every=0.01, requests_per_day=10**6))
            with service:
                assert archived.wait(60)
                HubRepo(hub.root, "org/name").delete()
                assert deleted.wait(60)
        assert archive.refs.about(RepoId.parse("org/name")).withdrawn


def test_who_waits_for_a_slow_webhook_can_be_stopped(tmp_path: Path) -> None:
    """Another process tells at the moment: this one waits for its turn, and for Ctrl-C."""
    with open_world(tmp_path) as world:
        world.poll(0)
        lock = world.memory.path.with_name("telling.lock")
        with disk.turn(lock, _never):
            cancel = Cancel()
            context = replace(world.context(), control=Control(world.events.append, cancel))
            cancel.set()
            with pytest.raises(Cancelled):
                watch_once(replace(world.watcher(), context=context))
        watch_once(world.watcher())


def _never(_seconds: float) -> None:
    raise AssertionError
