"""``outlast link``."""

from pathlib import Path

import click

from outlast.cli.documents.running import LinkedDocument
from outlast.cli.edge import TARGET, budget_option, common, session
from outlast.cli.options.revoked import accept, accept_option
from outlast.cli.screen.render import plural, print_document
from outlast.core.digest import Digest
from outlast.core.names import Target
from outlast.ops import export as ops


@click.command(
    epilog="""\b
Examples:
  outlast link Qwen/Qwen3-0.6B
  outlast link Qwen/Qwen3-0.6B --folder ./qwen
  HF_HUB_CACHE=$(outlast link -q Qwen/Qwen3-0.6B --cache /data/hf) HF_HUB_OFFLINE=1 python app.py

\b
Exit status:
  0 done · 3 not archived · 4 damage found · 7 revoked, or all files are in quarantine
  8 storage, or another file is in the way · 130 interrupted
"""
)
@click.argument("target", type=TARGET)
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Make or extend this Hugging Face cache"
)
@click.option("--folder", type=click.Path(path_type=Path), help="Make this plain folder")
@click.option(
    "--portable", is_flag=True, help="Escape names in the folder that other systems refuse"
)
@click.option(
    "--allow-unsafe", is_flag=True, help="Allow this revision's pickles, by digest, for good"
)
@budget_option
@accept_option
@common
def link(
    target: Target,
    *,
    cache: Path | None,
    folder: Path | None,
    portable: bool,
    allow_unsafe: bool,
    budget: int | None,
    accepted: tuple[Digest, ...],
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Expose TARGET as a Hugging Face cache and as a plain folder, by hard links into the archive.

    Programs find the model with HF_HUB_CACHE and HF_HUB_OFFLINE=1, or by its path, without a server
    and without a second copy. Without options, the command makes both below the archive's 'links'
    folder.

    For files that are stored as capsules, the command makes plain working copies first;
    'outlast guide configuration' says how much space they take.

    A file whose name the file system refuses gets an escaped one there, as in URLs: 'a?b' is
    'a%3Fb' ('outlast guide names'). --portable does so with all names in the folder that Windows or
    macOS would refuse.

    Pickles (.bin and .pt files of PyTorch, .pkl …), and archives that may have some inside, are
    left out, because a program that loads one runs what is in it. --allow-unsafe allows those of
    this revision; their digests are remembered in trust/allowed-unsafe.txt of the archive.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        accept(run, archive, accepted, [target])
        links = archive.layout.links
        if cache is None and folder is None:
            cache, folder = links / "hub", links / "folders" / str(target).replace("@", "/@")
        result = ops.link(
            archive,
            target,
            cache=cache.absolute() if cache else None,
            folder=folder.absolute() if folder else None,
            portable=portable,
            allow_unsafe=allow_unsafe,
            budget=run.config.working_copies if budget is None else budget,
            control=run.control,
        )
    if as_json:
        print_document(
            LinkedDocument(
                repo=result.revision.repo,
                revision=result.revision.id,
                partial=result.revision.partial,
                cache=result.cache,
                snapshot=result.snapshot,
                folder=result.folder,
                withheld=result.withheld,
                escaped={str(place): names for place, names in result.escaped.items()},
            )
        )
        return
    for path in (result.cache, result.folder):
        if path is not None:
            print(path)
    if result.cache is not None:
        run.say(f"use it: HF_HUB_CACHE={result.cache} HF_HUB_OFFLINE=1")
    for place, names in result.escaped.items():
        own, new = next(iter(names.items()))
        count = "1 name is" if len(names) == 1 else f"{len(names):,} names are"
        run.say(f"{count} escaped in {place}: {own!r} is {new!r}")
    if result.withheld:
        name, why = next(iter(result.withheld.items()))
        count = plural(len(result.withheld), "file")
        run.say(f"{count} left out, --allow-unsafe allows them: {name}: {why}")
    if result.revision.partial:
        run.say("this revision is PARTIAL: some of its files are not in the archive")
