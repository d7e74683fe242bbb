"""``outlast service``."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import click

from outlast.cli.config.file import environment
from outlast.cli.documents.service import (
    InstalledDocument,
    UninstalledDocument,
    UnitDocument,
    UnitPart,
)
from outlast.cli.edge import Session, common, session
from outlast.cli.lists.read import read_list
from outlast.cli.lists.sync import sync as sync_command
from outlast.cli.screen.render import print_document
from outlast.cli.serve import check_tokens
from outlast.cli.serve import serve as serve_command
from outlast.cli.service import place as places
from outlast.cli.service.units import Setup, serve_unit, sync_timer, sync_unit
from outlast.cli.service.words import WithWords, read_words
from outlast.core.errors import NotFoundError, OutlastError, StorageError, UsageError

_NAME: Final = re.compile(r"[a-z_][a-z0-9_-]{0,25}\Z")
"""Names that a unit can have, and a user too."""
_EVERY: Final = re.compile(r"[A-Za-z0-9 *:,./~-]{1,200}\Z")
_DAILY: Final = "daily"
_SECONDS: Final = 120.0
"""That systemctl may take: a server that opens a large archive is not ready at once."""


@dataclass(frozen=True, slots=True)
class UnitSet:
    """Which units, for the system's manager of services or the user's, and the folder for them."""

    name: str
    user: bool
    folder: Path

    @property
    def serve(self) -> str:
        return f"{self.name}.service"

    @property
    def sync(self) -> str:
        return f"{self.name}-sync.service"

    @property
    def timer(self) -> str:
        return f"{self.name}-sync.timer"

    def command(self, *words: str) -> list[str]:
        """A call of systemctl."""
        return ["systemctl", *(["--user"] if self.user else []), *words]


class _Service(WithWords):
    others: ClassVar = {"serve": serve_command, "sync (with --sync)": sync_command}


@click.command(
    cls=_Service,
    epilog="""\b
Examples:
  outlast service install --print -- --upstream https://huggingface.co
  sudo outlast service install -- --listen 0.0.0.0:8090 --tokens /etc/outlast/tokens.txt
  sudo outlast service install --sync /etc/outlast/models.txt --every daily
  outlast service install --user --now
  sudo outlast service uninstall --now

\b
Exit status:
  0 done · 1 systemctl failed · 2 usage, or another unit is there · 3 no such unit or file ·
  7 the service's user could not run this program, or would be root · 8 storage
""",
)
@click.argument("action", type=click.Choice(["install", "uninstall"]))
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTION...]")
@click.option("--user", is_flag=True, help="For your own manager of services, not the system's")
@click.option("--name", default="outlast", show_default=True, help="What the units are called")
@click.option("--sync", "keep_list", metavar="FILE", help="A timer that runs 'sync -f FILE'")
@click.option(
    "--every",
    metavar="WHEN",
    help="When it runs, as systemd.time(7) writes it: hourly, 'Sun 03:00', ...  [default: daily]",
)
@click.option("--print", "only_print", is_flag=True, help="Print the units; write nothing")
@click.option("--dry-run", is_flag=True, help="Of uninstall: print what would be deleted")
@click.option("--force", is_flag=True, help="Replace or delete a unit that someone else wrote")
@click.option("--now", is_flag=True, help="Call systemctl, too: enable and start, or stop")
@click.option(
    "--unit-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the units are  [default: /etc/systemd/system, or ~/.config/systemd/user]",
)
@common
def service(
    *,
    action: str,
    words: tuple[str, ...],
    user: bool,
    name: str,
    keep_list: str | None,
    every: str | None,
    only_print: bool,
    dry_run: bool,
    force: bool,
    now: bool,
    unit_dir: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write systemd units that run 'outlast serve' as a service, in a sandbox; or delete them.

    The options after -- are those of 'serve' (of 'sync' with --sync), and are checked. The system's
    service runs as a user that systemd makes for it, with the archive in /var/lib/NAME. With --home
    it runs as the owner of that folder. Settings come from /etc/outlast/config.toml, variables (as
    HF_TOKEN) from /etc/outlast/NAME.env, which root alone should be able to read. The service gets
    copies of the files of --tokens and --sync, so these can be root's own, too.

    With --user the service is yours: your archive, your configuration, and fewer walls.

    'uninstall' deletes all units of this name, the timer of --sync and its service too, and the
    links by which systemd starts them. The archive stays.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        if not _NAME.match(name):
            raise UsageError(f"not a name for a unit: {name!r}", hint="as outlast, or mirror-2")
        wanted = UnitSet(name, user, (unit_dir or _folder(user)).absolute())
        if action == "uninstall":
            if words or only_print or (keep_list, every, home) != (None, None, None):
                raise UsageError(
                    "uninstall takes --user, --name, --unit-dir, --dry-run, --force and --now"
                )
            _uninstall(run, wanted, dry_run=dry_run, force=force, now=now)
            return
        if dry_run:
            raise UsageError("--dry-run goes with uninstall", hint="--print shows the units")
        if every is not None and keep_list is None:
            raise UsageError("--every needs --sync", hint="--sync FILE makes a timer")
        if only_print and (force or now):
            raise UsageError("--print writes nothing: --force and --now do not go with it")
        archive = run.config.home if user else Path(home).absolute() if home else None
        if keep_list is not None:
            units = _sync_units(wanted, archive, words, Path(keep_list).absolute(), every or _DAILY)
            read_list(keep_list)
        else:
            units = _serve_units(wanted, archive, words, check=not only_print)
        if only_print:
            _print(run, wanted, units)
        else:
            _install(run, wanted, units, force=force, now=now)


def _folder(user: bool) -> Path:
    if not user:
        return places.SYSTEM_UNITS
    config = environment().get("XDG_CONFIG_HOME") or "~/.config"
    return Path(config).expanduser() / "systemd" / "user"


def _setup(wanted: UnitSet, archive: Path | None) -> Setup:
    foreign = archive is not None and not wanted.user
    files = [*places.program_files(), *([archive] if archive is not None else [])]
    return Setup(
        name=wanted.name,
        program=places.this_program(),
        user=wanted.user,
        home=archive,
        owner=places.owner_of(archive) if foreign and archive is not None else None,
        homes=places.is_in_a_home(files),
    )


def _serve_units(
    wanted: UnitSet, archive: Path | None, words: Sequence[str], *, check: bool
) -> dict[str, str]:
    said, given = read_words(serve_command, words)
    tokens: Path | None = given["tokens"]
    if tokens is not None and check:
        check_tokens(tokens)
    if tokens is not None and not wanted.user:
        said = [word for word in said if not word.startswith("--tokens=")]
    hidden = None if tokens is None or wanted.user else tokens.absolute()
    return {wanted.serve: serve_unit(_setup(wanted, archive), said, hidden)}


def _sync_units(
    wanted: UnitSet, archive: Path | None, words: Sequence[str], keep_list: Path, every: str
) -> dict[str, str]:
    said, _ = read_words(sync_command, words)
    _check_calendar(every)
    setup = _setup(wanted, archive)
    timer = sync_timer(every, user=wanted.user)
    return {wanted.sync: sync_unit(setup, said, keep_list), wanted.timer: timer}


def _check_calendar(every: str) -> None:
    """By systemd itself, where it is installed."""
    wrong = UsageError(
        f"not a time as systemd writes it: {every[:80]!r}",
        hint="as daily, hourly, or 'Mon..Fri 03:00'; see systemd.time(7)",
    )
    if not _EVERY.match(every) or not every.strip():
        raise wrong
    if (analyze := shutil.which("systemd-analyze")) is None:
        return
    done = subprocess.run(
        [analyze, "calendar", "--", every], capture_output=True, check=False, timeout=_SECONDS
    )
    if done.returncode != 0:
        raise wrong


def _print(run: Session, wanted: UnitSet, units: Mapping[str, str]) -> None:
    for name, text in units.items():
        path = wanted.folder / name
        if run.as_json:
            print_document(UnitDocument(path=path, text=text))
        else:
            print(f"# {path}\n{text}")
    if not wanted.user and (closed := places.closed_to_others()) is not None:
        run.say(f"WARNING: a service's user cannot run this program: {closed}")


def _install(
    run: Session, wanted: UnitSet, units: Mapping[str, str], *, force: bool, now: bool
) -> None:
    folder = wanted.folder
    if not wanted.user:
        places.require_open()
        if folder == places.SYSTEM_UNITS and os.geteuid() != 0:
            raise StorageError(
                f"{folder} takes units from root alone", hint="use sudo, or --user, or --print"
            )
    for name, text in units.items():
        places.check_free(folder / name, text, force=force)
    written = {name: places.write(folder / name, text) for name, text in units.items()}
    starts = wanted.timer if wanted.timer in units else wanted.serve
    commands = [wanted.command("daemon-reload"), wanted.command("enable", "--now", starts)]
    if run.as_json:
        print_document(
            InstalledDocument(
                units=[UnitPart(path=folder / name, new=new) for name, new in written.items()],
                commands=[] if now else commands,
            )
        )
    else:
        for name in units:
            print(folder / name)
    _call(run, commands, now=now)


def _uninstall(run: Session, wanted: UnitSet, *, dry_run: bool, force: bool, now: bool) -> None:
    names = (wanted.serve, wanted.sync, wanted.timer)
    found = list(places.ours(wanted.folder, names))
    if not found:
        raise NotFoundError(
            f"no unit of {wanted.name} in {wanted.folder}", hint="check --name and --user"
        )
    for path, is_ours in found:
        if not is_ours and not force:
            raise UsageError(f"{path} was not written by outlast", hint="--force deletes it")
    if now and not dry_run:
        _call(run, [wanted.command("disable", "--now", *(p.name for p, _ in found))], now=True)
    gone = [path for path, _ in found]
    gone += [link for path in gone for link in places.links_to(path, _folder(wanted.user))]
    for path in gone:
        if not dry_run:
            places.delete(path)
        if not run.as_json:
            print(path)
    # Not 'disable --now': of a unit without file or links it fails, and the service runs on.
    stop = wanted.command("stop", *(path.name for path, _ in found))
    commands = [*([] if now else [stop]), wanted.command("daemon-reload")]
    if run.as_json:
        print_document(
            UninstalledDocument(
                type="would-uninstall" if dry_run else "uninstalled",
                deleted=gone,
                commands=[] if now else commands,
            )
        )
    if not dry_run:
        _call(run, commands, now=now)
        run.say("the archive stays")


def _call(run: Session, commands: Sequence[Sequence[str]], *, now: bool) -> None:
    """Runs systemctl, or says what to run."""
    if not now:
        run.say(f"now: {' && '.join(' '.join(command) for command in commands)}")
        return
    for command in commands:
        text = " ".join(command)
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS)
        except FileNotFoundError:
            raise NotFoundError("there is no systemctl here", hint="leave --now out") from None
        except subprocess.TimeoutExpired:
            raise OutlastError(f"{text}: no end after {_SECONDS:g} s",
                               hint="see 'systemctl status'") from None  # fmt: skip
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise OutlastError(f"{text}: {said}", hint="see 'journalctl -e'")
