"""How claims are said to people: each by its own word, never as one."""

from collections.abc import Iterator

from outlast.cli.documents.parts import RunPart
from outlast.core.claims import Claim, Claims, ClaimState, Standing

_NOT: dict[Claim, str] = {
    Claim.INTACT: "not all files are here",
    Claim.PUBLISHED: "no statement by a pinned key of its publisher",
    Claim.OBSERVED: "no statement by a named observer, and not pulled from a hub by this archive",
    Claim.LISTED: "in no catalogue that is followed",
}


def claim_words(claims: Claims) -> str:
    """In one line, those that hold: ``intact, published (stale since …)``."""
    words = ", ".join(_word(state) for state in claims.states if state.holds) or "none"
    return f"{words}; REVOKED: {claims.revoked}" if claims.revoked else words


def claim_lines(claims: Claims) -> Iterator[str]:
    """A line for each claim: who, which key, when, and what is missing."""
    if claims.revoked:
        yield f"REVOKED    {claims.revoked}"
    for state in claims.states:
        yield f"{state.claim:<10} {_sentence(state)}"
    yield from commit_lines(claims)
    yield from foreign_lines(claims)


def run_line(part: RunPart) -> str:
    """Whether `run` uses it, and why."""
    word = {"nothing": "no", "rules": ""}.get(part.by, "yes")
    return ": ".join(filter(None, (word, part.why)))


def commit_lines(claims: Claims) -> Iterator[str]:
    """A line about the hub's commit, where its text is here."""
    found = claims.commit
    if found is None:
        return
    name = f"commit     {found.commit.hex[:12]}"
    if found.why:
        yield f"{name}: the archived text does not prove it: {found.why}"
        return
    more = f" and {_counted(found.lacks, 'other name')}" if found.lacks else ""
    count = _counted(found.files, "file")
    yield f"{name}: the hub's id was computed again from {count}{more} (author {found.author})"


def foreign_lines(claims: Claims) -> Iterator[str]:
    """A line for each signature of another tool: by its own name, as none of the claims."""
    for one in claims.foreign:
        who = f" by {one.who}" if one.who else ""
        yield f"{one.path:<10} {one.format}: {one.standing}{who}: {one.why}"


def _word(state: ClaimState) -> str:
    stale = f" (stale since {state.since})" if state.standing is Standing.STALE else ""
    return f"{state.claim}{stale}"


def _sentence(state: ClaimState) -> str:
    who = f" by {', '.join(state.who)}" if state.who else ""
    why = f"; {state.why}" if state.why else ""
    since = f" since {state.since}" if state.since else ""
    if state.standing is Standing.HOLDS:
        return f"yes{who}{since}{why}"
    if state.standing in {Standing.STALE, Standing.SUPERSEDED}:
        return f"{state.standing}{since}{who}{why}"
    if state.standing is Standing.REFUSED:
        return f"no: {state.why or 'it is not proved'}{f' (said{who})' if who else ''}"
    return f"no: {state.why or _NOT[state.claim]}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
