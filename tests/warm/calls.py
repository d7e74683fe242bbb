"""Commands that are forked, in the form of `tests.cli.call`: each with a home of its own."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cli.call import SECONDS, Call, environment
from tests.warm.client import Child
from tests.warm.client import start as start_order
from tests.warm.order import OUTLAST, Order

_started: list[Child] = []


def start(
    *arguments: str | Path,
    home: Path,
    env: Mapping[str, str] | None = None,
    doom: Sequence[str] = (),
) -> Child:
    """Starts a command; its archive is `home`/archive. `doom` is what `tests.crash.doomed` takes:
    where the process is to be killed.
    """
    run = "tests.crash.doomed:outlast" if doom else OUTLAST
    own = environment(home, **(env or {}))
    child = start_order(Order([str(argument) for argument in arguments], own, run=run, given=doom))
    _started.append(child)
    return child


def finish(child: Child, seconds: float = SECONDS) -> Call:
    """Waits for the end of a command, and kills it where that does not come."""
    with child.stdout, child.stderr, ThreadPoolExecutor(2) as pool:
        texts = [pool.submit(pipe.read) for pipe in (child.stdout, child.stderr)]
        try:
            code = child.wait(seconds)
        finally:
            child.kill()
        out, err = (text.result().decode() for text in texts)
    return Call(code, out, err)


def outlast(*arguments: str | Path, home: Path, env: Mapping[str, str] | None = None) -> Call:
    """Runs a command to its end."""
    return finish(start(*arguments, home=home, env=env))


def end_all() -> None:
    """Ends what a test that failed left running."""
    while _started:
        _started.pop().close()
