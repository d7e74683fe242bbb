"""``outlast observe``."""

import datetime as dt
from pathlib import Path

import click

from outlast.app import open_hubs
from outlast.cli.config.values import check_source
from outlast.cli.edge import TARGET, common, session
from outlast.core.errors import UsageError, one_line
from outlast.core.names import Target
from outlast.features.trust.commands.options import (
    key_option,
    out_option,
    passphrase_option,
    signers,
)
from outlast.features.trust.commands.tell import tell
from outlast.features.trust.records.making import keep_hub_commit
from outlast.features.trust.records.making import observe as use_case

_MOST_VANTAGE = 100


@click.command(
    epilog="""\b
Examples:
  outlast observe org/name
  outlast observe org/name@v2 --vantage "office, Vienna" --key ~/.ssh/id_ed25519

\b
Exit status:
  0 done · 2 usage, or no such key · 3 not archived, or not on the hub · 4 the hub lists other files
  5 the hub does not answer · 7 the hub refuses, or has no whole list · 8 storage
"""
)
@click.argument("target", type=TARGET)
@click.option("--from", "url", metavar="URL", help="The hub to look at  [default: as for pull]")
@click.option("--vantage", default="", metavar="NAME", help="Where you look from, in your words")
@key_option
@passphrase_option
@out_option
@common
def observe(
    target: Target,
    *,
    url: str | None,
    vantage: str,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    out: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Look at what a hub says of an archived revision, and sign what was seen.

    The hub is asked for the commit, and for the names, sizes and digests of its files. They have to
    be those of the manifest. The statement names the commit, the list of files, the hub, the time
    and --vantage. Those who pinned your key as an observer then see that the model is observed.

    It says that the hub listed these files under this commit. Where the hub also gives the text of
    the commit (as a git repository), that is kept beside the statement: it proves that the commit
    id follows from the files, which 'outlast verify --who' then says.
    """
    if len(vantage) > _MOST_VANTAGE or not vantage.isprintable():
        raise UsageError(f"--vantage is a line of at most {_MOST_VANTAGE} characters")
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        using = signers(keys, passphrase_file)
        named = (check_source(url),) if url is not None else run.config.sources[:1]
        with open_hubs(run.config.upstreams(named), run.config.http()) as sources:
            made = use_case(
                archive,
                target,
                sources[0],
                using,
                vantage=vantage,
                now=dt.datetime.now(dt.UTC),
                cancel=run.control.cancel,
            )
            kept = keep_hub_commit(archive, made.revision, sources[0], run.control.cancel)
        tell(run, archive, made, "observed", out)
        if kept:
            run.say(one_line(kept, 500))
