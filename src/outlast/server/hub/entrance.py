"""Finds what a request asks for, with the authority that its client has and no other."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
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


class Entrance:
    """What stands between a client and a mirror. `threaded` runs a function in a thread."""

    def __init__(self, access: Access, threaded: Callable[..., Awaitable[Any]]) -> None:
        self._access = access
        self._threaded = threaded

    async def find(
        self, asker: Asker, repo: RepoId, ask: Callable[[Voice], T | Asking[T]]
    ) -> tuple[T, Voice]:
        """What `ask` finds of `repo`, and the voice that it was given.

        It is asked as everybody may at first, so that no token is used for what is public.
        If the model is not, `ask` is called again with what the client is admitted with.
        """
        refused: OutlastError | None = None

        async def here() -> bool:
            return bool(await self._threaded(self._access.is_here, repo))

        if await self._threaded(self._access.is_open, repo):
            try:
                found = await self._settled(await self._threaded(ask, self._access.public))
            except RefusedByRulesError:
                raise  # it is said of what everybody may read, and no token changes it
            except (RepoNotFoundError, PolicyError, IntegrityError, TransientError) as error:
                if isinstance(error, IntegrityError | TransientError) and await here():
                    raise
                refused = error
            else:
                if await self._threaded(self._access.is_open, repo):
                    return found, self._access.public
        step = await self._threaded(self._access.claim, asker, repo, refused)
        voice = await self._settled(step)

        def ask_admitted() -> T | Asking[T]:
            self._access.check_serving(repo)
            return ask(voice)

        return await self._settled(await self._threaded(ask_admitted)), voice

    async def _settled(self, step: Any) -> Any:
        """The answer, after waiting for upstream as long as that is worth it."""
        if not isinstance(step, Asking):
            return step
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def wake(_future: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server stops
                loop.call_soon_threadsafe(done.set)

        step.future.add_done_callback(wake)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), max(0.0, step.until - time.monotonic()))
        return await self._threaded(step.settle)
