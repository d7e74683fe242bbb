"""``outlast catalogue init | publisher | rotate``."""

from pathlib import Path

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import plural, print_document
from outlast.core.errors import UsageError
from outlast.features.trust.catalogue.commands import shared
from outlast.features.trust.catalogue.commands.documents import (
    MadeCatalogueDocument,
    PublishedDocument,
)
from outlast.features.trust.catalogue.making.keyfiles import KeyRing, new_key, read_public
from outlast.features.trust.catalogue.making.making import InitWishes, init, rotate, set_publisher
from outlast.features.trust.catalogue.making.publish import Published


@click.command(
    "init",
    epilog="""\b
Examples:
  outlast catalogue init acme
  outlast catalogue init acme --recovery-keys 3 --threshold 2 --passphrase-file secret.txt

\b
Exit status:
  0 made · 2 usage · 7 there is one already · 8 storage
""",
)
@click.argument("name")
@shared.folder_option
@shared.keys_option
@click.option(
    "--root-keys", type=click.IntRange(1, 16), default=1, show_default=True, help="Keys of the root"
)
@click.option(
    "--recovery-keys",
    type=click.IntRange(0, 16),
    default=2,
    show_default=True,
    help="More keys of the root, to keep apart, for when others are lost",
)
@click.option(
    "--threshold",
    type=click.IntRange(1, 16),
    default=2,
    show_default=True,
    help="How many of both must sign a new root",
)
@shared.passphrase_option
@common
@shared.needs_library
def init_(
    *,
    name: str,
    folder: Path | None,
    keys: tuple[Path, ...],
    root_keys: int,
    recovery_keys: int,
    threshold: int,
    passphrase_file: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make the catalogue NAME, which lists nothing yet, and its secret keys.

    The keys are files that only you can read, outside the archive. root-1 and the recovery keys
    sign a new root, so many of them as --threshold says: a lost key can be replaced with the
    others, and a stolen one can do nothing alone. 'online' signs each publication; 'lists' signs
    what the catalogue lists, and who else may. Move the recovery keys to other places, and give
    followers the root's file or its sha256 by a way that they trust.
    """
    if len(keys) > 1:
        raise UsageError("new keys go to one folder", hint="give --keys once")
    with session(home, as_json=as_json, quiet=quiet) as run:
        if folder is None:
            run.archive(create=True).close()
        made = init(
            shared.folder_of(run, name, folder),
            name,
            shared.keys_of(name, keys)[0],
            wishes=InitWishes(root_keys, recovery_keys, threshold),
            passphrase=shared.read_passphrase(passphrase_file),
            now=shared.now(),
        )
        if run.as_json:
            print_document(
                MadeCatalogueDocument(
                    catalogue=name,
                    folder=str(made.folder),
                    root=str(made.root),
                    root_sha256=made.digest,
                    keys=[str(path) for path in made.keys],
                )
            )
            return
        run.say(f"made the catalogue {name} in {made.folder}")
        run.say(f"its secret keys are in {made.keys[0].parent}:")
        for path in made.keys:
            run.say(f"  {path.name}")
        if recovery_keys:
            run.say("move the recovery keys to other places now; they are needed only to recover")
        run.say(f"followers need {made.root}, or its sha256:")
        print(made.digest)


@click.command(
    "publisher",
    epilog="""\b
Examples:
  outlast catalogue publisher acme Qwen --key qwen.pub
  outlast catalogue publisher acme Qwen --key one.pub --key two.pub --threshold 2

\b
Exit status:
  0 published · 2 usage · 3 no such catalogue · 7 a key is missing, or the organisation is listed
  already · 8 storage
""",
)
@click.argument("name")
@click.argument("organisation", metavar="ORG")
@click.option(
    "--key",
    "public",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="A public key of the publisher: a PEM file with an Ed25519 key (repeatable)",
)
@click.option(
    "--threshold",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="How many of them must sign",
)
@shared.folder_option
@shared.keys_option
@shared.passphrase_option
@common
@shared.needs_library
def publisher(
    *,
    name: str,
    organisation: str,
    public: tuple[Path, ...],
    threshold: int,
    folder: Path | None,
    keys: tuple[Path, ...],
    passphrase_file: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Let the keys of a publisher, and no others, list the models of ORG; or give it other keys.

    The publisher works on a copy of the catalogue's folder: 'catalogue add' and 'catalogue publish'
    with --folder and the own --keys sign the publisher's lists. Copied back, the operator's next
    'publish' takes them. For other keys, name the old and the new ones first; the old one may go
    once the publisher has signed with the new one.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        ring = KeyRing(
            shared.keys_of(name, keys), shared.asker(shared.read_passphrase(passphrase_file))
        )
        done = set_publisher(
            shared.folder_of(run, name, folder),
            organisation,
            [read_public(path) for path in public],
            ring,
            shared.now(),
            threshold=threshold,
        )
        say_published(run, name, done, None)


@click.command(
    "rotate",
    epilog="""\b
Examples:
  outlast catalogue rotate acme online
  outlast catalogue rotate acme root --keys ~/keys --keys /media/recovery-1
  outlast catalogue rotate acme root --same-keys

\b
Exit status:
  0 published · 2 usage · 3 no such catalogue · 7 too few keys are here · 8 storage
""",
)
@click.argument("name")
@click.argument("role", type=click.Choice(["root", "online", "lists"]))
@click.option("--same-keys", is_flag=True, help="Sign the root again as it is, for another year")
@click.option(
    "--threshold", type=click.IntRange(1, 16), help="How many keys of the role must sign from now"
)
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="Folder for the new key  [default: the first of --keys]",
)
@shared.folder_option
@shared.keys_option
@shared.passphrase_option
@common
@shared.needs_library
def rotate_(
    *,
    name: str,
    role: str,
    same_keys: bool,
    threshold: int | None,
    into: Path | None,
    folder: Path | None,
    keys: tuple[Path, ...],
    passphrase_file: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a new key for a role of the catalogue NAME, in place of those that it has: of 'root'
    (the recovery keys stay), of 'online', or of 'lists'.

    A new root has to be signed by as many keys of the old one as its threshold says; recovery keys
    count. So a root key that is lost is replaced with the recovery keys: name their folders with
    --keys. Followers take the new root because the old one's keys signed it, and no other.
    """
    if same_keys and role != "root":
        raise UsageError("--same-keys is for the root")
    with session(home, as_json=as_json, quiet=quiet) as run:
        passphrase = shared.read_passphrase(passphrase_file)
        where = shared.keys_of(name, keys)
        new = []
        if not same_keys:
            path = _free(into or where[0], role)
            new.append(new_key(path, passphrase))
            run.say(f"made the key {path}")
        ring = KeyRing([*where, *([into] if into else [])], shared.asker(passphrase))
        done = rotate(
            shared.folder_of(run, name, folder), role, new, ring, shared.now(), threshold=threshold
        )
        say_published(run, name, done, None)


def _free(folder: Path, role: str) -> Path:
    """The file for a new key of a role: the first number that is free."""
    number = 2
    while (folder / f"{role}-{number}.pem").exists():
        number += 1
    return folder / f"{role}-{number}.pem"


def say_published(run: Session, name: str, done: Published, copied: int | None) -> None:
    """What publishing did."""
    if run.as_json:
        print_document(
            PublishedDocument(
                catalogue=name,
                version=done.version,
                entries=done.entries,
                lists=done.lists,
                waiting=done.waiting,
                copied=copied,
            )
        )
        return
    print(
        f"{name} is at version {done.version}: {plural(done.entries, 'revision')}, "
        f"{plural(len(done.lists), 'new list')}"
    )
    for text in done.waiting:
        run.say(f"  waiting: {text}")
    if copied is not None:
        run.say(f"  {plural(copied, 'file')} copied")
