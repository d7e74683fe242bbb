"""``outlast catalogue publish``."""

from pathlib import Path

import click

from outlast.cli.edge import common, session
from outlast.features.trust.catalogue.commands import shared
from outlast.features.trust.catalogue.commands.make import say_published
from outlast.features.trust.catalogue.making.keyfiles import KeyRing
from outlast.features.trust.catalogue.making.publish import publish
from outlast.features.trust.catalogue.making.statics import copy_to


@click.command(
    "publish",
    epilog="""\b
Examples:
  outlast catalogue publish acme
  outlast catalogue publish acme --to /srv/www/catalogue
  outlast catalogue publish acme --folder copy --keys ~/qwen-keys

\b
Exit status:
  0 published, or signed · 2 usage · 3 no such catalogue · 4 it is damaged · 7 a key is missing ·
  8 storage
""",
)
@click.argument("name")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="Also copy the files to this folder: of a web server, or a disk",
)
@click.option("--cosign", is_flag=True, help="Add your signatures to lists that others have signed")
@shared.folder_option
@shared.keys_option
@shared.passphrase_option
@common
@shared.needs_library
def publish_(
    *,
    name: str,
    to: Path | None,
    cosign: bool,
    folder: Path | None,
    keys: tuple[Path, ...],
    passphrase_file: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Sign what was added to the catalogue NAME, and publish it.

    Call it every few days also if nothing was added: it signs a new timestamp, without which the
    catalogue is stale for followers after 14 days. Lists and the root expire after a year; lists
    are signed anew in time, and the root with 'catalogue rotate NAME root --same-keys'.

    Where the online key is not among the keys, only the lists are signed, for the operator to
    publish.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        where = shared.folder_of(run, name, folder)
        ring = KeyRing(
            shared.keys_of(name, keys), shared.asker(shared.read_passphrase(passphrase_file))
        )
        done = publish(where, ring, shared.now(), cosign=cosign)
        copied = None
        if to is not None:
            copied = copy_to(where, to, shared.now(), run.control.cancel)
        say_published(run, name, done, copied)
