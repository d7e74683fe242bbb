"""MANIFEST.md: what a bundle holds, for people who read it in a terminal."""

import re
from collections.abc import Iterator
from typing import Final

from outlast.core.sizes import human_size
from outlast.features.bundle.review.marks import MEANING
from outlast.features.bundle.review.report import BundleReview, ReviewedModel, ReviewedRevision
from outlast.features.bundle.review.words import (
    ABOUT,
    CHECK_COMMANDS,
    MOST_FILES,
    PROGRAM,
    PROGRAM_COMMANDS,
    PROOF,
    count,
    visible,
)

_SPECIAL: Final = re.compile(r"[\\`*\[\]<>|~&#@!$]")
_LINK: Final = re.compile(r"(?<=:)/|(?<=www)\.", re.IGNORECASE)


def markdown(found: BundleReview) -> str:
    """The whole file."""
    return "\n".join(_lines(found)) + "\n"


def _plain(text: str) -> str:
    """Text of others: no mark-up, no link, one line."""
    return _LINK.sub(r"\\\g<0>", _SPECIAL.sub(r"\\\g<0>", visible(text)))


def _lines(found: BundleReview) -> Iterator[str]:
    yield from ("# Bundle of models", "", ABOUT, "", "```")
    yield from (f"{command:36} # {what}" for command, what in CHECK_COMMANDS)
    yield from ("```", "", PROOF, "", f"- id: `{found.id}`, sequence {found.sequence}")
    spare = f"; {found.spare}" if found.spare else ""
    yield f"- {count(found.parts + found.parity_parts, 'part')}, {human_size(found.size)}{spare}"
    if found.since:
        yield f"- builds on {found.since}: {count(found.assumed, 'file')} expected to be there"
    yield from _marked(found)
    yield from _program(found)
    for model in found.models:
        yield from _model(model)


def _marked(found: BundleReview) -> Iterator[str]:
    marked = found.marked()
    yield from ("", "## Files that deserve a look", "")
    if not marked:
        yield "None: no code, no pickles, no chat templates that are files of their own."
        return
    for mark in sorted({file.mark for _, file in marked if file.mark is not None}):
        yield f"- **{mark}**. {MEANING[mark]}"
    yield from ("", "| model | file | what |", "|---|---|---|")
    for name, file in marked[:MOST_FILES]:
        yield f"| {_plain(name)} | {_plain(file.path)} | {file.mark} |"
    if len(marked) > MOST_FILES:
        yield from ("", f"and {count(len(marked) - MOST_FILES, 'more file')}")


def _program(found: BundleReview) -> Iterator[str]:
    if not found.program:
        return
    yield from ("", "## The program", "", PROGRAM, "", "```")
    yield from (f"{command:36} # {what}" for command, what in PROGRAM_COMMANDS)
    yield from ("```", "", "| file | what | bytes | sha256 |", "|---|---|--:|---|")
    for file in found.program:
        yield f"| {_plain(file.path)} | {file.what} | {file.size} | `{file.sha256}` |"


def _model(model: ReviewedModel) -> Iterator[str]:
    yield from ("", f"## {_plain(model.name)}", "")
    licences = ", ".join(map(_plain, model.licences)) or "not named by its hub"
    yield f"- licence: {licences}"
    if model.access:
        yield f"- access: **{model.access}**"
    if model.bases:
        yield f"- made from: {', '.join(map(_plain, model.bases))}"
    for revision in model.revisions:
        yield from _revision(revision)
    for path, text in model.licence_files:
        yield from ("", f"Text of {_plain(path)}:", "")
        yield from (f"    {visible(line)}" for line in text.splitlines())


def _revision(revision: ReviewedRevision) -> Iterator[str]:
    refs = f" ({', '.join(map(_plain, revision.refs))})" if revision.refs else ""
    yield from ("", f"### Revision {revision.id}{refs}", "")
    yield f"- manifest: `{revision.manifest}`"
    if revision.claims:
        yield f"- claims that hold in the archive that wrote this: {_plain(revision.claims)}"
    if revision.source:
        yield f"- seen at: {_plain(revision.source)}"
    if revision.partial:
        yield "- **partial**: files of it are missing in the archive that wrote this bundle"
    yield f"- {count(len(revision.files), 'file')}, {human_size(revision.size)}"
    yield from ("", "| file | bytes | sha256 |", "|---|--:|---|")
    for file in revision.files[:MOST_FILES]:
        where = "" if file.is_here else " (not in this bundle)"
        yield f"| {_plain(file.path)}{where} | {file.size} | `{file.sha256}` |"
    if len(revision.files) > MOST_FILES:
        yield from ("", f"and {count(len(revision.files) - MOST_FILES, 'more file')}")
