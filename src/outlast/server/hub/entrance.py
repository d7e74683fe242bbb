"""Finds what a request asks for, with the authority that its client has and no other."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from outlast.core.errors import (
    IntegrityError,
    OutlastError,
    PolicyError,
    RefusedByRulesError,
    RepoNotFoundError,
    TransientError,
)
from outlast.core.names import RepoId
from outlast.mirror.access import Access
from outlast.mirror.answers import Asking
from outlast.mirror.asker import Asker, Voice

T = TypeVar("T")
Spelling = Callable[[RepoId], RepoId]
"""How the archive spells a name."""


class SpelledOtherwise(Exception):  # noqa: N818 - the way to another name, no failure
    """The archive knows what a request names as `name`, in other upper and lower case."""

    def __init__(self, name: RepoId) -> None:
        super().__init__(name.name)
        self.name = name


@dataclass(frozen=True, slots=True)
class _Hidden:
    """What everybody does not get. `error` is how the public voice failed, if it was tried."""

    error: OutlastError | None = None


class Entrance:
    """What stands between a client and a mirror. `threaded` runs a function in a thread."""

    def __init__(self, access: Access, threaded: Callable[..., Awaitable[Any]]) -> None:
        self._access = access
        self._threaded = threaded

    async def find(
        self,
        asker: Asker,
        repo: RepoId,
        ask: Callable[[Voice], T | Asking[T]],
        *,
        spelled: Spelling | None = None,
    ) -> tuple[T, Voice]:
        """What `ask` finds of `repo`, and the voice that it was given.

        It is asked as everybody may at first, so that no token is used for what is public.
        If the model is not, `ask` is called again with what the client is admitted with.
        Where `spelled` gives another name, nothing is asked: raises :class:`SpelledOtherwise`.
        """
        found = await self._threaded(self._openly, repo, ask, spelled)
        if isinstance(found, Asking):
            await _waited(found)
            found = await self._threaded(self._public, repo, found.settle)
        if not isinstance(found, _Hidden):
            return found, self._access.public
        voice = await self._settled(
            await self._threaded(self._access.claim, asker, repo, found.error)
        )

        def ask_admitted() -> T | Asking[T]:
            self._access.check_serving(repo)
            return ask(voice)

        return await self._settled(await self._threaded(ask_admitted)), voice

    def _openly(
        self,
        repo: RepoId,
        ask: Callable[[Voice], T | Asking[T]],
        spelled: Spelling | None,
    ) -> T | Asking[T] | _Hidden:
        """What everybody finds. All of it in one turn of a thread: where many requests are under
        way, each turn has to wait for Python's lock behind all others.
        """
        if spelled is not None and (name := spelled(repo)) != repo:
            raise SpelledOtherwise(name)
        if not self._access.is_open(repo):
            return _Hidden()
        return self._public(repo, lambda: ask(self._access.public))

    def _public(self, repo: RepoId, find: Callable[[], T | Asking[T]]) -> T | Asking[T] | _Hidden:
        """What `find` gives, if it is for everybody also afterwards."""
        try:
            found = find()
        except RefusedByRulesError:
            raise  # it is said of what everybody may read, and no token changes it
        except (RepoNotFoundError, PolicyError) as error:
            return _Hidden(error)
        except (IntegrityError, TransientError) as error:
            if self._access.is_here(repo):
                raise
            return _Hidden(error)
        return found if isinstance(found, Asking) or self._access.is_open(repo) else _Hidden()

    async def _settled(self, step: Any) -> Any:
        """The answer, after waiting for upstream as long as that is worth it."""
        if not isinstance(step, Asking):
            return step
        await _waited(step)
        return await self._threaded(step.settle)


async def _waited(step: Asking[Any]) -> None:
    """Waits until upstream has answered, as long as that is worth it."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def wake(_future: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server stops
            loop.call_soon_threadsafe(done.set)

    step.future.add_done_callback(wake)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), max(0.0, step.until - time.monotonic()))
