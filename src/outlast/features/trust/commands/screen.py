"""``outlast policy screen``."""

import datetime as dt
import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.screen.render import plural, print_document
from outlast.core.errors import UsageError, one_line
from outlast.core.names import Target
from outlast.features.trust.commands.screen_documents import screening_document
from outlast.features.trust.rules.assemble import rule_files
from outlast.features.trust.rules.publishers import read_publishers
from outlast.features.trust.screening.known_publishers import KnownPublishers
from outlast.features.trust.screening.list_screen import NamedList
from outlast.features.trust.screening.lists.party import DatedBy, ListFacts, PartyList
from outlast.features.trust.screening.names.matching import Alike, ListedHit, NameIndex
from outlast.features.trust.screening.report_csv import write_csv
from outlast.features.trust.screening.screen import screen
from outlast.features.trust.screening.screened import ScreenedName, Screening
from outlast.features.trust.screening.screening_log import ScreeningLog
from outlast.features.trust.settings import TrustSettings
from outlast.store import disk
from outlast.store.archive import Archive

_NEEDED: Final = ("anyascii", "pypinyin", "rapidfuzz")


class DayType(click.ParamType[dt.date]):
    """``2026-11-30``."""

    name = "date"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.date:
        del param, ctx
        if isinstance(value, dt.date):
            return value
        try:
            return dt.date.fromisoformat(str(value))
        except ValueError:
            text = one_line(str(value), 40)
            raise UsageError(f"not a date: {text!r}", hint="write it as 2026-11-30") from None


@click.command(
    "screen",
    epilog="""\b
Examples:
  outlast policy screen org/name --lists consolidated.json
  outlast policy screen --all --lists uk-csv=UK-Sanctions-List.csv --lists eu.xml
  outlast policy screen org/name --lists consolidated.csv --as-of 2026-11-29
  outlast policy screen --all --lists consolidated.json --csv report.csv

\b
Exit status:
  0 screened, whatever was found · 2 usage, or a list without a date · 3 no such list or ref
  4 a list is damaged · 7 a list is too old · 8 storage
""",
)
@click.argument("targets", nargs=-1, type=TARGET)
@click.option("--all", "everything", is_flag=True, help="Screen every model of the archive")
@click.option(
    "--lists",
    "lists",
    multiple=True,
    metavar="[KIND=]FILE[@DATE]",
    help="A list of parties (may be repeated)  [default: those of the setting lists of [trust]]",
)
@click.option(
    "--as-of",
    type=DayType(),
    metavar="DATE",
    help="The day of the lists whose data has none, as 2026-11-30",
)
@click.option("--csv", "csv_file", metavar="FILE", help="Write the report to this file as well")
@common
def screen_command(
    targets: tuple[Target, ...],
    *,
    everything: bool,
    lists: tuple[str, ...],
    as_of: dt.date | None,
    csv_file: str | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare the parties behind models with lists of sanctioned and restricted parties.

    You supply the lists as files; nothing is fetched. KIND is us-csv or us-json (US Consolidated
    Screening List), eu-xml or eu-csv, uk-csv, or opensanctions (targets.simple.csv); without it the
    content tells. A list that is older than the setting lists-older-than of [trust] is an error.

    Compared are the publisher's name and those behind it, authors that the card names, and the same
    for the models that it was made from, as far as the archive knows. A row is a match or possible;
    what follows is for your rules, or for a person. Each screening is noted in the archive, in
    trust/screenings.jsonl, with the digests of the lists.
    """
    if bool(targets) == everything:
        raise UsageError(
            "name models, or give --all", hint="see 'outlast policy screen --help' for examples"
        )
    _require_extra()
    with session(home, as_json=as_json, quiet=quiet) as run:
        now = dt.datetime.now(dt.UTC)
        settings = run.config.features.get("trust", TrustSettings())
        index = NameIndex(_read(run, lists or settings.lists, as_of, now.date(), settings))
        publishers = read_publishers(rule_files(run.config.home, settings).publishers)
        with run.archive(create=True) as archive:
            wanted = targets or _all(archive)
            log = ScreeningLog(archive.layout.home)
            found = []
            known = KnownPublishers(publishers)
            for screening in screen(
                archive,
                wanted,
                index,
                known,
                log,
                now=now,
                control=run.control,
            ):
                if csv_file is not None:
                    found.append(screening)
                _tell(run, screening)
        if csv_file is not None:
            _write(Path(csv_file), found)
        if not as_json:
            for facts in index.lists:
                print(_list_line(facts))


def _require_extra() -> None:
    """Raises :class:`UsageError` where what compares names is not installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"screening needs {', '.join(missing)}",
            hint="pip install '.[trust]' in a checkout of outlast",
        )


def _read(
    run: Session,
    lists: Sequence[str],
    as_of: dt.date | None,
    today: dt.date,
    settings: TrustSettings,
) -> list[PartyList]:
    if not lists:
        raise UsageError("no lists to screen against", hint="name them with --lists")
    found = []
    for text in lists:
        run.control.cancel.check()
        named = NamedList.parse(text)
        if as_of is not None and named.as_of is None:
            named = replace(named, as_of=as_of)
        found.append(named.read(today, settings.list_days))
    return found


def _all(archive: Archive) -> list[Target]:
    return [Target(repo, None) for repo in sorted({one.repo for one in archive.summaries()})]


def _write(path: Path, found: Sequence[Screening]) -> None:
    """The report, whole or not at all."""
    temp = path.with_name(f".{path.name}.outlast-part")
    with disk.reporting(path):
        disk.write_temp(temp, write_csv(found), 0o644)
        disk.publish(temp, path)


def _tell(run: Session, found: Screening) -> None:
    if run.as_json:
        print_document(screening_document(found))
        return
    count = plural(len({name.name.text for name in found.names}), "name")
    print(one_line(f"{found.repo}: {found.alike}; {count} compared"))
    for name in found.names:
        for hit in name.hits:
            print(one_line(_hit_line(name, hit), 1_000))
    for text in found.unknown:
        print(one_line(f"  not known: {text}"))


def _hit_line(name: ScreenedName, hit: ListedHit) -> str:
    party = hit.party
    alias = f", as {hit.name}" if hit.name != party.name else ""
    programmes = f" [{', '.join(party.programmes)}]" if party.programmes else ""
    base = f" of {name.name.of}" if name.name.lineage else ""
    mark = "MATCH" if hit.alike is Alike.MATCH else "possible"
    return (
        f"  {mark} {hit.score}: {name.name.role} {name.name.text}{base}: "
        f"{party.name}{alias}{programmes} ({party.list_name}, id {party.id}, {hit.facts.file})"
    )


def _list_line(facts: ListFacts) -> str:
    said = "" if facts.dated_by is DatedBy.DATA else ", as the operator says"
    rows = plural(facts.rows, "row")
    return one_line(
        f"list {facts.file} ({facts.kind}): of {facts.date}{said}; {rows}, "
        f"{facts.parties:,} parties; sha256 {facts.digest.hex}"
    )
