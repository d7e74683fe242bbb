"""What all commands share: common options, and the session they run in."""

import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from outlast import __version__
from outlast.cli.config.file import Config, environment, load_config, parse_size
from outlast.cli.feature import (
    LateNames,
    LateRecorder,
    LateWeigher,
    Listed,
    StatementSigner,
    assessor_of,
    gate_of,
    statement_signer_of,
)
from outlast.cli.options.debug import DEBUG, debug_option
from outlast.cli.screen.interrupted import going_on
from outlast.cli.screen.render import Screen
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.errors import BadNameError, Cancelled, OutlastError
from outlast.core.names import Target
from outlast.core.policy import Gate
from outlast.core.printable import printable
from outlast.store.archive import Archive
from outlast.store.garbage.tuning import DAY

if TYPE_CHECKING:
    from outlast.core.claims import Assessor

F = TypeVar("F", bound=Callable[..., Any])
_log = logging.getLogger(__name__)


class TargetType(click.ParamType[Target]):
    """``org/name[@ref]``, completed from what the archive holds."""

    name = "org/name[@ref]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Target:
        del param, ctx
        return value if isinstance(value, Target) else Target.parse(str(value))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only when completing

        del param
        try:
            home = ctx.params.get("home")
            with Archive(load_config(environment(), home, listed_features(ctx)).home) as archive:
                names = {str(summary.repo) for summary in archive.summaries()}
                if "@" in incomplete:
                    repo = Target.parse(incomplete.split("@", maxsplit=1)[0]).repo
                    names = {f"{repo}@{ref.name}" for ref in archive.refs.list(repo)}
        except OutlastError:
            return []
        return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


TARGET = TargetType()


def common(command: F, *, json: str = "Print JSON, one object a line") -> F:
    """The options that every command takes; `json` says what --json prints."""
    options = (
        click.option("--home", metavar="DIR", help="The archive's folder  [env: OUTLAST_HOME]"),
        click.option("--json", "as_json", is_flag=True, help=json),
        click.option("-q", "--quiet", is_flag=True, help="Print results and errors only"),
        debug_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


class SizeType(click.ParamType[int]):
    """``50GB``: bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        del param, ctx
        return value if isinstance(value, int) else parse_size(str(value))


budget_option = click.option(
    "--budget",
    type=SizeType(),
    metavar="SIZE",
    help="Most disk space for plain working copies of capsules, as 50GB",
)


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command line: its settings, and how it is followed and stopped."""

    config: Config
    control: Control
    screen: Screen
    as_json: bool
    quiet: bool
    features: Sequence[Listed] = ()

    def gate(self) -> Gate:
        """The rules that hold for the archive."""
        return gate_of(self.features, self.config.features, self.config.home)

    def archive(self, *, create: bool = False) -> Archive:
        archive = Archive(self.config.home, create=create, gate=self.gate())
        self.govern(archive)
        archive.soundness.recheck_after(self.config.recheck_days * DAY)
        if create:
            try:
                self.warn_of_locks(archive)
            except BaseException:
                archive.close()
                raise
        return archive

    def govern(self, archive: Archive) -> None:
        """Lets the rules of an archive know which claims hold, and whom to tell what they would
        refuse; and evidence of pulls be kept.
        """
        archive.recorder = LateRecorder(self.features, self.config.feature, archive)
        archive.weigher = LateWeigher(self.features, archive)
        archive.known_names = LateNames(self.features, archive)
        if not archive.rules.is_open:
            archive.rules.told = self.say
            archive.rules.assessor = self.assessor(archive)

    def assessor(self, archive: Archive) -> "Assessor | None":
        """What says which claims hold; None where no feature does."""
        return assessor_of(self.features, self.config.feature, archive)

    def statement_signer(self) -> StatementSigner | None:
        """What signs statements with the user's keys; None where no feature has any."""
        return statement_signer_of(self.features)

    def warn_of_locks(self, archive: Archive) -> None:
        """What is written is checked as ever; but processes cannot keep out of each other's way."""
        if reason := archive.lock_fault():
            self.say(
                f"WARNING: {self.config.home}: {reason}; use this archive from one process at a "
                "time ('outlast doctor' tells more)"
            )

    def say(self, text: str) -> None:
        """A sentence for a person, on stderr."""
        if not self.as_json and not self.quiet:
            with contextlib.suppress(OSError, ValueError):  # stderr is closed
                sys.stderr.write(printable(text) + "\n")


@contextlib.contextmanager
def session(
    home: str | None,
    *,
    as_json: bool,
    quiet: bool,
    log_line: Callable[[dict[str, Any]], None] | None = None,
) -> Iterator[Session]:
    """Runs a command: the first Ctrl-C stops the work tidily, the second at once; the error says
    how to go on. `log_line` writes diagnostics in place of the screen.
    """
    ctx = click.get_current_context()
    features = listed_features(ctx)
    config = load_config(environment(), home, features)
    if config.simd:
        from outlast.codec import kernels  # noqa: PLC0415 - few calls ask for it

        kernels.use_named(config.simd)
    cancel = Cancel()
    screen = Screen(as_json=as_json, quiet=quiet)

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        if cancel.is_set:
            raise KeyboardInterrupt
        cancel.set()

    before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        with screen, _diagnostics(config, log_line, screen):
            yield Session(config, Control(screen.emit, cancel), screen, as_json, quiet, features)
    except (Cancelled, KeyboardInterrupt) as error:
        raise Cancelled("interrupted", hint=going_on(ctx.info_name or "")) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listed_features(ctx: click.Context) -> Sequence[Listed]:
    """The features that this call of the command line was given (see `cli.main.main`)."""
    return ctx.find_object(tuple) or ()


@contextlib.contextmanager
def _diagnostics(
    config: Config, log_line: Callable[[dict[str, Any]], None] | None, screen: Screen
) -> Iterator[None]:
    """Logs what --debug and OUTLAST_LOG ask for; loads nothing where they ask for nothing."""
    context = click.get_current_context(silent=True)
    debug = context is not None and context.meta.get(DEBUG, False)
    wanted = environment().get("OUTLAST_LOG", "")
    if not debug and not wanted:
        logger = logging.getLogger("outlast")
        if not logger.handlers:  # else Python prints warnings by itself
            logger.addHandler(logging.NullHandler())
        yield
        return
    from outlast.cli.screen import logs  # noqa: PLC0415 - few calls ask for it

    levels = logs.parse_levels("debug" if debug else wanted)
    secrets = (config.hub_token or "", *config.tokens.values())
    with logs.logging_to(log_line or logs.as_text(screen.log), levels, secrets):
        _log.info("outlast %s with the archive in %s", __version__, config.home)
        yield


def host_and_port(text: str, default_port: int) -> tuple[str, int]:
    """``HOST:PORT``, ``HOST``, ``:PORT`` or ``[::1]:PORT``."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, ""
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if port and not (port.isdecimal() and int(port) < 65536):
        raise BadNameError(f"not an address: {text!r}", hint="write it like 127.0.0.1:8090")
    return host, int(port) if port else default_port
