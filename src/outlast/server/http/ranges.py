"""The bytes that a Range header asks for."""


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes (start, stop) that a Range header asks for; None to send everything. Raises
    ValueError where the range lies outside the file. Several ranges are answered as none, which
    RFC 9110 allows.
    """
    if not header or not header.startswith("bytes=") or "," in header:
        return None
    first, dash, last = header[6:].strip().partition("-")
    if (
        not dash
        or not (first or last)
        or not all(len(n) < 20 and (n.isdecimal() or not n) for n in (first, last))
    ):
        return None
    if not first:
        start = max(0, size - int(last or 0))
        stop = size
    else:
        start = int(first)
        stop = min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise ValueError(header)
    return start, stop
