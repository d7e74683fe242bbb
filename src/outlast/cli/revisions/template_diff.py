"""How the chat templates of two revisions of a model differ, for ``outlast show``."""

from outlast.cli.documents.details import TemplateChangePart, TemplateDiffDocument
from outlast.cli.edge import Session
from outlast.cli.screen.render import print_document
from outlast.core.errors import UsageError
from outlast.core.manifest import Revision
from outlast.core.names import Target
from outlast.core.printable import printable
from outlast.intake.formats.chat_templates import changes, templates_of
from outlast.store.archive import Archive

PREVIOUS = ""
"""The value of the option without a value."""


def show_template_diff(run: Session, archive: Archive, target: Target, old: str) -> None:
    """Prints it. `old` is a ref or commit, or :data:`PREVIOUS`: the other revision that is here."""
    revision = archive.revision(target.repo, target.ref)
    other = archive.revision(target.repo, old) if old else _other(archive, revision)
    after = templates_of(archive, revision)
    found = list(changes(templates_of(archive, other), after))
    if run.as_json:
        print_document(
            TemplateDiffDocument(
                repo=revision.repo,
                revision=revision.id,
                old=other.id,
                templates=len(after),
                changes=[
                    TemplateChangePart(place=one.place, what=one.what, diff=one.diff)
                    for one in found
                ],
            )
        )
        return
    for one in found:
        print(printable(f"{one.what}  {one.place}"))
        for line in one.diff:
            print(printable(line))
    if not found:
        said = "is the same" if len(after) == 1 else "are the same"
        what = f"{len(after)} chat template{'' if len(after) == 1 else 's'}"
        run.say(f"{what if after else 'no chat template'} {said} as in {other.id.hex[:12]}")


def _other(archive: Archive, revision: Revision) -> Revision:
    others = [one for one in archive.commits(revision.repo) if one != revision.id]
    found = archive.load(revision.repo, others[0]) if len(others) == 1 else None
    if found is None:
        raise UsageError(
            f"{len(others)} other revisions of {revision.repo} are here",
            hint="name one: --template-diff REF",
        )
    return found
