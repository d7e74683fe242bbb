"""What a client finds: in one turn of a thread where everybody may, and never what was hidden
meanwhile.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from outlast.core.errors import CorruptError, RepoNotFoundError
from outlast.core.names import RepoId
from outlast.mirror.answers import Found
from outlast.mirror.asker import Asker, Voice
from outlast.mirror.mirror import Mirror
from outlast.server.hub.entrance import Entrance, SpelledOtherwise, Spelling
from outlast.store.archive import Archive
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import pull

NAME, OTHER = RepoId.parse("Org/Model"), RepoId.parse("org/model")
ANYONE = Asker(None)


@dataclass
class Turns:
    """Runs work in threads, and says how often."""

    mirror: Mirror
    count: int = 0

    async def threaded(self, work: Callable[..., Any], *args: Any) -> Any:
        self.count += 1
        return await asyncio.to_thread(work, *args)

    def find(self, repo: RepoId, spelled: Spelling | None = None) -> Found:
        return self.ask(repo, lambda voice: self.mirror.find(repo, "main", voice), spelled)

    def ask(
        self, repo: RepoId, ask: Callable[[Voice], Any], spelled: Spelling | None = None
    ) -> Found:
        entrance = Entrance(self.mirror.access, self.threaded)
        found, voice = asyncio.run(entrance.find(ANYONE, repo, ask, spelled=spelled))
        assert voice is self.mirror.access.public
        assert isinstance(found, Found)
        return found


@pytest.fixture
def turns(tmp_path: Path) -> Iterator[Turns]:
    HubRepo(tmp_path / "hub", str(NAME)).commit({"config.json": b"{}"})
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        pull(tmp_path / "home", hub.url, str(NAME))
    with Archive(tmp_path / "home") as archive, contextlib.closing(Mirror(archive)) as mirror:
        yield Turns(mirror)


def hide(archive: Archive) -> None:
    with archive.writer() as writer:
        about = archive.refs.about(NAME)
        archive.refs.put_about(writer, NAME, replace(about, private=True))


def test_what_is_public_takes_one_turn(turns: Turns) -> None:
    assert turns.find(NAME, turns.mirror.spelling).view.revision.repo == NAME
    assert turns.count == 1


def test_another_spelling_is_told_before_anything_is_asked(turns: Turns) -> None:
    with pytest.raises(SpelledOtherwise) as caught:
        turns.ask(OTHER, lambda _voice: pytest.fail("asked"), turns.mirror.spelling)
    assert caught.value.name == NAME


def test_what_is_not_here_is_not_found(turns: Turns) -> None:
    with pytest.raises(RepoNotFoundError):
        turns.find(RepoId.parse("org/missing"), turns.mirror.spelling)


def test_what_is_hidden_is_not_asked_for(turns: Turns) -> None:
    hide(turns.mirror.archive)
    with pytest.raises(RepoNotFoundError):
        turns.ask(NAME, lambda _voice: pytest.fail("asked"))


def test_what_is_hidden_meanwhile_is_not_handed_out(turns: Turns) -> None:
    def ask(voice: Voice) -> Any:
        found = turns.mirror.find(NAME, "main", voice)
        hide(turns.mirror.archive)
        return found

    with pytest.raises(RepoNotFoundError):
        turns.ask(NAME, ask)


def test_damage_of_what_is_here_is_said_and_of_what_is_not_hidden(turns: Turns) -> None:
    def ask(_voice: Voice) -> Any:
        raise CorruptError("bad")

    with pytest.raises(CorruptError):
        turns.ask(NAME, ask)
    with pytest.raises(RepoNotFoundError):
        turns.ask(RepoId.parse("org/missing"), ask)
