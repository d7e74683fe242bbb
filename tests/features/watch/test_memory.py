"""What `watch` remembers: durable, in order, and told once to each channel."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outlast.core.digest import GitOid
from outlast.core.errors import DiskFullError, StorageError
from outlast.core.names import RepoId, RepoKind
from outlast.features.watch.changes import Change, ChangeKind, HubStanding, Observation
from outlast.features.watch.follow import Priority
from outlast.features.watch.memory import Memory
from outlast.features.watch.memory_rows import ARCHIVE, Duty, ModelState, Step, Wanted

HUB = "https://hub.example"
REPO = RepoId(RepoKind.MODEL, "org/name")
OTHER = RepoId(RepoKind.DATASET, "org/name")
ONE, TWO = GitOid("1" * 40), GitOid("2" * 40)
SEEN = Observation(HubStanding.OPEN, "org/name", ONE, {"main": ONE}, "mit", facts={"tags": "a b"})


def change(kind: ChangeKind = ChangeKind.MOVED, when: str = "2030-01-31T00:00:00+00:00") -> Change:
    return Change(kind, HUB, when, REPO, "main", ONE.hex, TWO.hex, "why", "-a\n+b", ("x",))


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory.open(tmp_path) as found:
        found.follow(HUB, {REPO: Priority.NORMAL, OTHER: Priority.HIGH})
        yield found


def state(memory: Memory) -> ModelState:
    found = memory.model(HUB, REPO)
    assert found is not None
    return found


def test_a_state_and_its_changes_come_back(memory: Memory, tmp_path: Path) -> None:
    memory.begin("mail")
    before = state(memory)
    assert before == ModelState(HUB, REPO, Priority.NORMAL)
    after = replace(before, seen=SEEN, hint="h", etag='W/"e"', refs_etag="r", refs_due=7.5)
    assert memory.record([Step(before, after, (change(),))])
    with Memory.open(tmp_path) as again:
        assert state(again) == replace(after, version=1)
        assert [*again.history(REPO, None)] == [change()]
        assert [told for _, told in again.pending("mail")] == [change()]


def test_who_is_late_writes_nothing(memory: Memory) -> None:
    memory.begin("mail")
    before = state(memory)
    step = Step(before, replace(before, seen=SEEN), (change(),))
    assert memory.record([step])
    assert not memory.record([step])
    other = memory.model(HUB, OTHER)
    assert other is not None
    assert not memory.record([Step(other, other, (change(),)), step], [change()])
    assert memory.model(HUB, OTHER) == other
    assert len([*memory.history(None, None)]) == len([*memory.pending("mail")]) == 1


def test_what_is_no_alert_of_its_own_reaches_the_archive(memory: Memory) -> None:
    memory.begin("mail")
    memory.begin(ARCHIVE)
    before = state(memory)
    after = replace(before, seen=SEEN)
    quiet = Step(before, after, (change(ChangeKind.ACCOUNT_GONE),), told=False)
    assert memory.record([quiet], [change(ChangeKind.DELETED)])
    assert [one.kind for _, one in memory.pending("mail")] == ["deleted"]
    assert [one.kind for _, one in memory.pending(ARCHIVE)] == ["account-gone", "deleted"]


def test_each_channel_tells_what_came_after_it_began(memory: Memory) -> None:
    memory.tell([change(ChangeKind.HUB_DARK)])
    memory.begin("mail")
    memory.tell([change(ChangeKind.GATED), change(ChangeKind.MOVED)])
    assert [*memory.pending("webhook")] == []
    memory.tell([change(ChangeKind.DELETED)])
    waiting = [*memory.pending("mail")]
    assert [one.kind for _, one in waiting] == ["gated", "moved", "deleted"]
    memory.sent("mail", waiting[1][0])
    assert [one.kind for _, one in memory.pending("mail")] == ["gated", "deleted"]
    assert [one.kind for _, one in memory.pending("webhook")] == ["deleted"]


def test_the_history_is_append_only(memory: Memory, tmp_path: Path) -> None:
    memory.tell([change(when="2030-01-31"), change(when="2030-02-28")])
    assert len([*memory.history(REPO, "2030-02-01")]) == 1
    assert [*memory.history(OTHER, None)] == []
    with sqlite3.connect(tmp_path / "watch" / "watch.sqlite") as db:
        for order in ("DELETE FROM changes", "UPDATE changes SET happened = ''"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(order)
    db.close()


def test_all_or_nothing(memory: Memory) -> None:
    """A change that cannot be written leaves the state as it was."""
    before = state(memory)
    bad = replace(change(), when=None)  # type: ignore[arg-type]
    with pytest.raises(StorageError):
        memory.record([Step(before, replace(before, seen=SEEN), (change(), bad))])
    assert state(memory) == before
    assert [*memory.history(None, None)] == []


def test_what_is_no_longer_followed_is_forgotten(memory: Memory) -> None:
    before = state(memory)
    memory.record([Step(before, replace(before, seen=SEEN), (change(),))])
    memory.follow(HUB, {OTHER: Priority.LOW})
    assert memory.model(HUB, REPO) is None
    assert [duty.name for duty in memory.duties(HUB)] == ["account:datasets/org"]
    assert memory.load(HUB) == [(Priority.LOW, 1, 1)]
    assert [*memory.history(REPO, None)] == [change()]


def test_duties_members_and_requests(memory: Memory) -> None:
    duty = Duty(HUB, "account:models/org", 5.0, 3, 2, polled=True)
    memory.put_duty(duty)
    assert [*memory.duties(HUB)][-1] == duty
    search = Duty(HUB, "pattern:tag=gguf")
    memory.put_duty(search)
    memory.add_members(HUB, "org/*", [REPO, REPO], [change(ChangeKind.APPEARED)])
    assert memory.members(HUB, "org/*") == {REPO}
    memory.forget_patterns(HUB, ["org/*"], [search.name])
    assert search in [*memory.duties(HUB)]
    memory.forget_patterns(HUB, ["other/*"], [])
    assert search not in [*memory.duties(HUB)]
    assert memory.members(HUB, "org/*") == set()
    memory.spend(HUB, "2030-01-31", 3)
    memory.spend(HUB, "2030-01-31", 4)
    assert memory.spent(HUB, "2030-01-31") == 7
    memory.spend(HUB, "2030-02-01", 1)
    assert memory.spent(HUB, "2030-01-31") == 0
    assert memory.hub_state(HUB) == {}
    assert memory.put_hub_state(HUB, {}, {"dark": True}, [change(ChangeKind.HUB_DARK)])
    assert not memory.put_hub_state(HUB, {}, {"dark": True}, [change(ChangeKind.HUB_DARK)])
    assert memory.hub_state(HUB) == {"dark": True}
    assert len([*memory.history(None, None)]) == 2


def test_what_is_wanted_and_what_was_fetched(memory: Memory) -> None:
    one = Wanted(HUB, REPO, "main", ONE, 2.0, 10)
    newer = replace(one, commit=TWO)
    memory.want(one)
    memory.want(newer)
    memory.unwant(one)
    assert memory.wanted() == [newer]
    memory.unwant(newer)
    assert memory.wanted() == []
    memory.put_fetched("org/*", REPO, ONE, 10)
    memory.put_fetched("org/*", REPO, TWO, 5)
    memory.put_fetched("org/*", REPO, TWO, 7)
    assert memory.fetched("org/*") == 17
    assert memory.fetched_of("org/*", REPO, TWO) == 7
    assert memory.fetched("other") == memory.fetched_of("other", REPO, ONE) == 0


@pytest.mark.parametrize("damage", ["header", "page", "garbage"])
def test_a_damaged_file_is_set_aside(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "watch" / "watch.sqlite"
    with Memory.open(tmp_path) as memory:
        assert memory.note == ""
        memory.tell([change() for _ in range(100)])
    data = bytearray(path.read_bytes())
    if damage == "garbage":
        data[:] = b"no database at all\n" * 100
    else:
        start = 0 if damage == "header" else 4096
        data[start : start + 2000] = b"\xa5" * 2000
    path.write_bytes(data)
    with Memory.open(tmp_path) as memory:
        assert "damaged" in memory.note
        assert [*memory.history(None, None)] == []
        memory.tell([change()])
    assert path.with_name("watch.sqlite.damaged-1").read_bytes() == data
    with Memory.open(tmp_path) as memory:
        assert memory.note == ""
        assert len([*memory.history(None, None)]) == 1


def test_the_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    with Memory.open(tmp_path):
        pass
    path = tmp_path / "watch" / "watch.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StorageError, match="another version"):
        Memory.open(tmp_path)
    assert [one.name for one in path.parent.glob("*damaged*")] == []


def test_a_full_disk_leaves_no_transaction_open(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where a statement finds it full, nor where the end of a transaction does."""

    class Full(sqlite3.Connection):
        failing = ""

        def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
            if self.failing and sql.startswith(self.failing):
                if self.failing != "COMMIT":  # SQLite may have rolled back itself
                    super().execute("ROLLBACK")
                raise error
            return super().execute(sql, parameters)

    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorname = "SQLITE_FULL"
    real = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(
            "outlast.features.watch.memory_file.sqlite3.connect",
            lambda *args, **named: real(*args, **named, factory=Full),
        )
        again = Memory.open(tmp_path)
    with again:
        for failing in ("INSERT", "COMMIT"):
            Full.failing = failing
            with pytest.raises(DiskFullError):
                again.tell([change()])
            Full.failing = ""
            assert [*again.history(None, None)] == []
        again.tell([change()])
        assert [*memory.history(None, None)] == [change()]


def test_a_long_history_is_read_in_parts(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlast.features.watch.memory._READ", 3)
    memory.begin("mail")
    told = [replace(change(), reason=str(number)) for number in range(8)]
    memory.tell(told)
    assert [*memory.history(REPO, None)] == [*memory.history(None, None)] == told
    found = []
    for number, one in memory.pending("mail"):  # what is sent while it is read
        memory.sent("mail", number)
        found.append(one)
    assert found == told
    assert [*memory.pending("mail")] == []
