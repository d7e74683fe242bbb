"""``outlast add`` and ``outlast adopt``."""

from pathlib import Path

import click

from outlast.cli.documents.arriving import AddedDocument, AdoptedDocument
from outlast.cli.documents.parts import warnings_of
from outlast.cli.edge import TARGET, common, session
from outlast.cli.options.forms import form_options, form_wishes, kept_in
from outlast.cli.options.selection import selection_options
from outlast.cli.options.strict import strict_option, warnings
from outlast.cli.screen.render import plural, print_document
from outlast.core.errors import IntegrityError
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.fetch.file_filter import Selection
from outlast.ops import add as add_ops
from outlast.ops import adopt as adopt_ops


@click.command(
    epilog="""\b
Examples:
  outlast add ./my-finetune --as me/my-finetune
  outlast add model.gguf --as me/model@v2

\b
Exit status:
  0 archived · 2 usage · 3 nothing to add · 4 refused by --strict · 8 storage · 130 interrupted
"""
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--as", "target", type=TARGET, required=True, help="Name in the archive: org/name[@ref]"
)
@selection_options
@form_options
@strict_option
@click.option("--follow-links", is_flag=True, help="Archive the files that symbolic links point to")
@common
def add(
    path: Path,
    *,
    target: Target,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    form: str | None,
    base: Target | None,
    no_base: bool,
    strict: bool,
    follow_links: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Archive the folder or file PATH as a model of your own.

    Files are stored and hashed in one pass; files that the archive already holds are not stored
    again. They are compressed losslessly if that saves at least 3 %; a fine-tune is stored as a
    delta against its base. Symbolic links and special files are refused. Files that are not what
    their names say (as a Git LFS pointer or an error page in place of weights) are archived with a
    warning; --strict refuses them before anything is stored.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive(create=True) as archive:
        result = add_ops.add(
            archive,
            path,
            target,
            selection=Selection(include, exclude),
            follow_links=follow_links,
            control=run.control,
            wishes=form_wishes(run.config, form, base, no_base=no_base),
            strict=strict,
        )
    revision = result.revision
    if as_json:
        print_document(
            AddedDocument(
                repo=revision.repo,
                commit=revision.id,
                manifest=result.manifest,
                files=len(revision.files),
                bytes=revision.size,
                stored_bytes=result.stored,
                held_bytes=result.held,
                warnings=warnings_of(result.suspects),
            )
        )
        return
    run.say(
        f"archived {target}: {plural(len(revision.files), 'file')}, {human_size(revision.size)}, "
        f"{human_size(result.stored)} of them new here{kept_in(revision.size, result.held)}"
        f"{warnings(len(result.suspects))}"
    )
    print(revision.id)


@click.command(
    epilog="""\b
Examples:
  outlast adopt                              import the cache of HF_HUB_CACHE or HF_HOME
  outlast adopt /data/hf/hub --only Qwen/Qwen3-0.6B

\b
Exit status:
  0 imported · 3 no such cache · 4 some files were refused · 8 storage · 130 interrupted
"""
)
@click.argument("cache", type=click.Path(path_type=Path), required=False)
@click.option("--only", multiple=True, metavar="NAME", help="Import only this model (repeatable)")
@strict_option
@click.option("--copy", is_flag=True, help="Copy the files, even if hard links are possible")
@common
def adopt(
    cache: Path | None,
    *,
    only: tuple[str, ...],
    strict: bool,
    copy: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Import a Hugging Face CACHE into the archive.

    Every file is compared with the digest in its name; damaged files are reported and left in the
    cache. If both are on one file system, nothing is copied: the cache and the archive share the
    bytes, which become read-only. A cache does not say whether it holds all files of a commit, so
    its revisions are marked partial until you pull them. Files that are not what their names say
    are imported with a warning; --strict refuses the revisions that have such files.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive(create=True) as archive:
        folder = cache or run.config.hub_cache
        result = adopt_ops.adopt(
            archive, folder, only=only, copy=copy, control=run.control, strict=strict
        )
    if as_json:
        print_document(
            AdoptedDocument(
                revisions=[f"{r.repo}@{r.id}" for r in result.revisions],
                linked_bytes=result.linked,
                copied_bytes=result.copied,
                problems=result.problems,
                warnings=warnings_of(result.suspects),
            )
        )
    else:
        for revision in result.revisions:
            print(f"{revision.repo}@{revision.id}")
        run.say(
            f"adopted {plural(len(result.revisions), 'revision')}: {human_size(result.linked)} "
            f"linked, {human_size(result.copied)} copied, "
            f"{plural(len(result.problems), 'file')} refused{warnings(len(result.suspects))}"
        )
    return IntegrityError.exit_code if result.problems else 0
