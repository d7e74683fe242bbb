"""What a dossier says, in order: sections of plain text, which the page escapes. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from outlast import __version__
from outlast.core.claims import Claim, Claims, Standing
from outlast.core.sizes import human_size
from outlast.features.trust.dossier.engine import EnginePackage
from outlast.features.trust.dossier.gathered import Dossier
from outlast.features.trust.rules.countries import UNKNOWN
from outlast.features.trust.rules.formats import formats_of
from outlast.features.trust.rules.licences import read_licence
from outlast.intake.formats.chat_templates import remarks
from outlast.intake.formats.code_files import is_code
from outlast.intake.formats.model_code import is_python

MOST_FILES: Final = 20_000
"""Rows of the list of files. Guess: a page of 5 MB, which a browser prints."""
_MOST_RUNS: Final = 50
_MOST_ROWS: Final = 200

CLAIM_MEANINGS: Final[Mapping[Claim, str]] = {
    Claim.INTACT: "the bytes here match the digests of the manifest",
    Claim.PUBLISHED: "a key that is pinned here for the publisher signed the manifest",
    Claim.OBSERVED: "enough of the named observers saw a hub serve exactly this manifest",
    Claim.LISTED: "a catalogue that is followed here lists the manifest",
}
_LIMITS: Final = """\
This page states what the archive that wrote it knew at that time. It is no legal advice and no \
verdict.
Formats, code and words in templates are told by names and patterns: what is hidden well is not \
found. Whether the weights have a backdoor, no such look tells.
A sealed run proves that no packet left or reached the engine in that run. Other programs that get \
its answers may still act on them.
Screening compares names with lists as of their dates. What follows from it is for a person."""


class Warned(str):
    """A text that is shown as a warning."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PageSection:
    """A part of the page: a title, paragraphs, facts by name, and a table (its first row is the
    head).
    """

    title: str
    text: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    table: Sequence[Sequence[str]] = ()


def sections(found: Dossier) -> Iterator[PageSection]:
    """All of the page, in order."""
    yield _summary(found)
    yield _claims(found.model.claims)
    yield _provenance(found)
    yield _formats(found)
    yield _templates(found)
    yield _runs(found)
    yield _engine(found.engine)
    yield _licence(found)
    yield _parties(found)
    yield _screening(found.screening)
    yield PageSection("What this page does not prove", _LIMITS.splitlines())
    yield _files(found)


def _summary(found: Dossier) -> PageSection:
    revision = found.revision
    state = "complete"
    if found.model.absent or revision.partial:
        state = Warned("files of it are missing here")
    manifest = found.model.manifest
    facts = [
        ("model", str(revision.repo)),
        ("revision", revision.id.hex),
        ("manifest", f"sha256:{manifest.hex}" if manifest else Warned("none yet: it is arriving")),
        ("state", state),
        ("files", f"{len(revision.files):,}, {human_size(revision.size)}"),
        ("written", f"{found.made} by outlast {__version__}"),
    ]
    if found.model.claims is not None and found.model.claims.revoked:
        facts.append(("REVOKED", Warned(found.model.claims.revoked)))
    return PageSection("Model", facts=facts)


def _claims(claims: Claims | None) -> PageSection:
    rows = [("claim", "stands", "by", "since", "meaning")]
    for state in () if claims is None else claims.states:
        stands = str(state.standing) + (f": {state.why}" if state.why else "")
        rows.append(
            (
                str(state.claim),
                stands if state.standing is Standing.HOLDS else Warned(stands),
                ", ".join(state.who),
                state.since,
                CLAIM_MEANINGS[state.claim],
            )
        )
    return PageSection(
        "Claims", ("Four claims, each by its own word. None implies another.",), (), rows
    )


def _provenance(found: Dossier) -> PageSection:
    rows = [("ref", "said by", "seen", "")]
    for ref in found.refs:
        alone = Warned("no hub has confirmed it") if ref.unconfirmed else ""
        rows.append((ref.name, ref.source or "this archive", ref.observed, alone))
    bases = [
        (str(one.repo), one.commit or "not known which", one.manifest.hex if one.manifest else "")
        for one in found.model.ancestors
    ]
    facts = [
        ("made from", f"{name} at {commit} {digest}".strip()) for name, commit, digest in bases
    ]
    return PageSection("Provenance", (), facts or [("made from", "no other model is named")], rows)


def _formats(found: Dossier) -> PageSection:
    paths = [entry.path for entry in found.revision.files]
    counts = Counter(name for path in paths for name in formats_of([path]))
    facts = [(name, f"{count:,}") for name, count in sorted(counts.items())]
    rows = [("file", "why it deserves a look")]
    rows += [(path, Warned(f"pickle: {one.reason}")) for path, one in found.unsafe.items()]
    rows += [(p, Warned(f"code: {_use_of(p, found)}")) for p in paths if is_code(p)]
    if found.code.word is not None:
        digest = found.code.code.digest.hex
        facts.append(
            ("code that 'outlast run' may use", f"{digest}, since {found.code.word.since}")
        )
    text = "No pickle and no code was found." if len(rows) == 1 else ""
    return PageSection("Formats and code", (text,) if text else (), facts, _cut(rows))


def _use_of(path: str, found: Dossier) -> str:
    """What `run` does with a file of code."""
    if not is_python(path):
        return "'outlast run' never runs it"
    if found.code.word is not None:
        return "the operator allowed 'outlast run' to use it"
    return "'outlast run' does not use it"


def _templates(found: Dossier) -> PageSection:
    rows = [("template", "bytes", "sha256", "remarks")]
    for one in found.templates:
        said = remarks(one)
        digest = one.digest.hex if one.digest is not None else ""
        words = Warned("; ".join(said)) if said else "none"
        rows.append((one.place, f"{one.size:,}", digest, words))
    if not found.templates:
        return PageSection("Chat templates", ("No chat template was found.",))
    text = "Programs of the publisher that write the prompt; read as text, not run."
    return PageSection("Chat templates", (text,), (), rows)


def _runs(found: Dossier) -> PageSection:
    title = "Sealed runs"
    if not found.runs:
        return PageSection(title, ("This manifest was not run with 'outlast run --sealed' here.",))
    rows = [("started", "ended", "engine", "kept off the network by", "requests", "packets")]
    for run in found.runs[-_MOST_RUNS:]:
        packets = "not counted" if run.packets is None else f"{run.packets:,}"
        rows.append(
            (
                run.started,
                run.ended,
                run.engine,
                ", ".join(run.by),
                f"{run.requests:,}",
                Warned(packets) if run.packets else packets,
            )
        )
    more = len(found.runs) - _MOST_RUNS
    text = (
        "The engine had no way to a network; the kernel counted the packets in its own network "
        "namespace."
    )
    return PageSection(
        title, (text, f"{more:,} older runs are not shown.") if more > 0 else (text,), (), rows
    )


def _engine(packages: Sequence[EnginePackage]) -> PageSection:
    rows = [("package", "version", "licence", "installed files", "hashes")]
    for one in packages:
        if not one.version:
            rows.append((one.name, Warned("not installed"), "", "", _locked(one)))
            continue
        files = f"{one.files:,}, all as the package lists them"
        if one.changed:
            files = Warned(f"{len(one.changed):,} of {one.files:,} differ: {one.changed[0]}")
        record = f"list of files: sha256:{one.record}. "
        rows.append((one.name, one.version, one.licence[:200], files, record + _locked(one)))
    text = "The packages that run GGUF models, as installed where this page was written."
    return PageSection("Engine", (text,), (), rows)


def _locked(one: EnginePackage) -> str:
    if not one.locked_version:
        return "Not in the lock."
    same = "" if one.locked_version == one.version else f" (version {one.locked_version})"
    return f"Lock{same}: " + ", ".join(f"sha256:{digest}" for digest in one.locked)


def _licence(found: Dossier) -> PageSection:
    licence = found.model.licence
    facts = [("as the model names it", licence.written or UNKNOWN), ("SPDX", licence.spdx)]
    conditions = read_licence(licence.written).conditions
    facts += [
        (one.name.replace("_", " "), str(getattr(conditions, one.name)))
        for one in fields(conditions)
        if one.name != "user_ceiling"
    ]
    if conditions.user_ceiling >= 0:
        ceiling = f"{conditions.user_ceiling:,}" if conditions.user_ceiling else "none"
        facts.append(("users above which it asks for more", ceiling))
    rows = [("text", "sha256")]
    rows += [(path, digest.hex) for path, digest in sorted(licence.texts.items())]
    return PageSection("Licence", (), facts, rows if len(rows) > 1 else ())


def _parties(found: Dossier) -> PageSection:
    one = found.model.publisher
    facts = [
        ("organisation", one.organisation or "none in the name"),
        ("legal entity", one.legal_entity),
        ("country", one.country),
        ("parent", one.parent or "none that is known"),
        ("source", f"{one.source} {one.date}".strip() or "not known"),
        ("checked", one.checked or "the source was not compared"),
    ]
    return PageSection("Parties", (), facts)


def _screening(line: Mapping[str, Any] | None) -> PageSection:
    title = "Screening"
    if line is None:
        return PageSection(
            title, ("This revision was not screened here ('outlast policy screen').",)
        )
    alike = str(line.get("alike", ""))
    facts = [
        ("screened", str(line.get("when", ""))),
        ("result", alike if alike == "none" else Warned(alike)),
    ]
    facts += [
        (
            "list",
            "{file} ({kind}) of {date}, {rows} rows, sha256:{sha256}".format_map(
                {key: one.get(key) for key in ("file", "kind", "date", "rows", "sha256")}
            ),
        )
        for one in _rows(line, "lists")
    ]
    facts += [("not known", str(text)) for text in line.get("unknown") or ()]
    rows = [("name", "role", "of", "result", "row")]
    for name in _rows(line, "names"):
        start = (str(name.get("name")), str(name.get("role")), str(name.get("of")))
        hits = _rows(name, "rows")
        if not hits:
            rows.append((*start, str(name.get("alike")), ""))
        for hit in hits:
            party, part, ident, score = (hit.get(key) for key in ("party", "part", "id", "score"))
            row = f"{party} ({part}, id {ident}), score {score}"
            rows.append((*start, Warned(str(hit.get("alike"))), row))
    return PageSection(title, (), facts, _cut(rows))


def _rows(line: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = line.get(key)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _cut(rows: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """Nothing where there is a head alone; the first of very many."""
    if len(rows) < 2:
        return ()
    more = len(rows) - 1 - _MOST_ROWS
    blank = ("",) * (len(rows[0]) - 1)
    return [*rows[: _MOST_ROWS + 1], (f"and {more:,} more", *blank)] if more > 0 else rows


def _files(found: Dossier) -> PageSection:
    absent = {entry.path for entry in found.model.absent}
    rows = [("file", "bytes", "sha256")]
    entries = (*found.revision.files, *found.revision.missing)
    absent |= {entry.path for entry in found.revision.missing}
    for entry in entries[:MOST_FILES]:
        digest = entry.sha256.hex if entry.sha256 is not None else entry.key
        lost = Warned(f"{digest} (not here)")
        rows.append((entry.path, f"{entry.size:,}", lost if entry.path in absent else digest))
    more = len(entries) - MOST_FILES
    text = (f"{more:,} more files are in the manifest.",) if more > 0 else ()
    return PageSection("All files", text, (), rows)
