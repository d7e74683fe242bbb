"""Answering for a file or one range of it."""

import re
from collections.abc import Mapping

from tests.hubsim.reply import Content, Memory, Part, Reply

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and length of a single range. None: no range, serve the whole; length 0: 416."""
    match = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        length = min(int(match[2]), size)
        return size - length, length
    start = int(match[1])
    end = min(int(match[2]), size - 1) if match[2] else size - 1
    if match[2] and int(match[2]) < start:
        return None
    return start, max(0, end - start + 1)


def file_reply(
    content: Content,
    request_headers: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    ignore_range: bool = False,
    shift: int = 0,
) -> Reply:
    """200, 206, 304 or 416 for a file; `shift` falsifies Content-Range."""
    etag = f'"{content.etag}"'
    base = {"ETag": etag, "Accept-Ranges": "bytes"} | dict(headers)
    if request_headers.get("If-None-Match") == etag:
        return Reply(304, base)
    wanted = None
    if not ignore_range and request_headers.get("If-Range", etag) == etag:
        wanted = parse_range(request_headers.get("Range"), content.size)
    if wanted is None:
        return Reply(200, base, Part(content, 0, content.size))
    start, length = wanted
    if length == 0:
        gone = {"Content-Range": f"bytes */{content.size}", "Content-Type": "text/plain"}
        return Reply(416, base | gone, Memory(b"Range Not Satisfiable"))
    span = f"bytes {start + shift}-{start + shift + length - 1}/{content.size}"
    return Reply(206, base | {"Content-Range": span}, Part(content, start, length))
