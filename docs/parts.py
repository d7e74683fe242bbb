"""Parts of documents that are written by `make docs`, between two marks."""

_PART = "<!-- {}: written by `make docs` -->\n"
_END = "<!-- end -->"


def with_part(text: str, name: str, part: str) -> str:
    """A document, with the part between its two marks replaced."""
    begin = _PART.format(name)
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(_END)
    if not (found and ended):
        raise SystemExit(f"no line {begin.strip()} with a line {_END} after it")
    return f"{before}{begin}\n{part}\n{_END}{after}"
