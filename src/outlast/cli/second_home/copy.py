"""``outlast copy``."""

import click

from outlast.cli.documents.second_home import CopiedDocument
from outlast.cli.edge import TARGET, common, session
from outlast.cli.screen.render import plural, print_document
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.ops.second_home import copy as ops


@click.command(
    epilog="""\b
Examples:
  outlast copy Qwen/Qwen3-0.6B --store s3://models/archive
  outlast copy --store file:///mnt/nas/models     everything that is archived
  outlast verify --store s3://models/archive
  outlast pull Qwen/Qwen3-0.6B --from store+s3://models/archive

\b
Exit status:
  0 copied · 2 usage · 3 not archived · 4 damaged here · 5 no answer from the store
  7 the store refuses · 8 storage · 130 interrupted
"""
)
@click.argument("target", nargs=-1, type=TARGET)
@click.option(
    "--store",
    "url",
    required=True,
    metavar="URL",
    help="The second home: s3://BUCKET/PREFIX, gs://…, az://… or file:///FOLDER",
)
@common
def copy(
    target: tuple[Target, ...],
    *,
    url: str,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Copy archived revisions, those of TARGET or all, to a bucket or a folder elsewhere: a second
    home, from which they can be pulled, verified and served again.

    Files are stored there as they are here, compressed or not, in the layout of an archive. What is
    there already is not sent again, so the same command goes on after an interruption. Each file is
    hashed while it is read: a damaged one is not copied. Beside a file of more than 1 MiB lies its
    merkle tree, which proves single pieces; where an older outlast copied a file, it is added.
    What was signed about a revision goes along; that a model was accepted or pulled here does not.

    Credentials are those of the platform: the variables AWS_…, GOOGLE_… or AZURE_…, or what the
    machine's own role gives. Section [s3] of the configuration counts for s3://, too.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        there = run.config.open_home(url, create=True)
        result = ops.copy(archive, target, there, run.control)
    if as_json:
        print_document(
            CopiedDocument(
                store=there.name,
                revisions=[f"{one.repo}@{one.id}" for one in result.revisions],
                blobs=result.sent,
                bytes=result.sent_bytes,
                already=result.already,
                trees=result.trees,
                statements=result.statements,
            )
        )
        return
    print(
        f"{plural(len(result.revisions), 'revision')} in {there.name}: "
        f"{plural(result.sent, 'blob')}, {human_size(result.sent_bytes)} sent, "
        f"{result.already:,} there already"
        + (f", {plural(result.trees, 'tree')} added" if result.trees else "")
        + (f", {plural(result.statements, 'signed statement')}" if result.statements else "")
    )
