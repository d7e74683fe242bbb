"""``outlast catalogue``: the group of its subcommands, each imported when it is called."""

from typing import Final

import click

from outlast.cli.options.late_group import LateGroup
from outlast.features.trust.catalogue.library import require_tuf

SUBCOMMANDS: Final = {
    "init": (
        "outlast.features.trust.catalogue.commands.make:init_",
        "Make a catalogue, with its keys.",
    ),
    "publisher": (
        "outlast.features.trust.catalogue.commands.make:publisher",
        "Give an organisation's models to its own keys.",
    ),
    "add": (
        "outlast.features.trust.catalogue.commands.add:add",
        "Add archived revisions to what is published next.",
    ),
    "publish": (
        "outlast.features.trust.catalogue.commands.publish:publish_",
        "Sign and publish what was added.",
    ),
    "announce": (
        "outlast.features.trust.catalogue.commands.announce:announce_",
        "Tell the DHT where its newest state is.",
    ),
    "rotate": ("outlast.features.trust.catalogue.commands.make:rotate_", "Give a role other keys."),
    "follow": (
        "outlast.features.trust.catalogue.commands.follow:follow_",
        "Follow a catalogue of others.",
    ),
    "sync": (
        "outlast.features.trust.catalogue.commands.follow:sync_",
        "Fetch what is new in followed catalogues.",
    ),
    "unfollow": (
        "outlast.features.trust.catalogue.commands.follow:unfollow_",
        "Follow a catalogue no more.",
    ),
    "ls": (
        "outlast.features.trust.catalogue.commands.ls:ls",
        "List catalogues, or what one lists.",
    ),
}


@click.group(
    cls=LateGroup,
    late=SUBCOMMANDS,
    require=require_tuf,
    epilog="""\b
Examples:
  outlast catalogue init acme
  outlast catalogue add acme Qwen/Qwen3-0.6B --source https://huggingface.co
  outlast catalogue publish acme --to /srv/www/catalogue
  outlast catalogue follow https://models.example/catalogue --root 1.root.json
  outlast catalogue sync

\b
Exit status:
  0 done · 2 usage · 3 not found · 4 refused: it does not prove what it says · 5 transient, or
  stale · 7 a rule of a catalogue forbids it, or a key is missing · 8 storage
""",
)
def catalogue() -> None:
    """Make a signed list of models, or follow lists that others sign.

    A catalogue says which manifest each revision of a model has, where its files may be, and which
    revision is the newest. It is a repository of The Update Framework (TUF): static files that any
    web server, disk or node can serve. 'pull', 'search' and 'locate' ask the catalogues that this
    archive follows. What a catalogue lists is not proof of who published a model: it is the word of
    those who sign the catalogue.
    """
