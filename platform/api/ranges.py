"""A file over HTTP with byte ranges, which players need to seek; Safari will not play without."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotModified,
    StreamingHttpResponse,
)

BLOCK_BYTES = 64 * 1024
# No file is this long, and Python reads no number of thousands of digits.
BEYOND_ALL_FILES = 10**18
SINGLE_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


class UnsatisfiableRange(ValueError):
    """The range asked for lies outside the file."""


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a single range; None where the whole file is the right answer.

    A header that is no single byte range is ignored, as RFC 9110, section 14.2 allows.
    """
    match = SINGLE_RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - _number(last)), size - 1
    else:
        start, end = _number(first), min(_number(last), size - 1) if last else size - 1
        if last and _number(last) < start:
            return None
    if start > end:
        raise UnsatisfiableRange(f"{header} of {size} bytes")
    return start, end


def _number(digits: str) -> int:
    """The number, or one beyond the end of any file in place of a longer one."""
    significant = digits.lstrip("0") or "0"
    return min(int(significant[:19]), BEYOND_ALL_FILES)


def file_answer(
    request: HttpRequest, file: Path, *, content_type: str, etag: str
) -> HttpResponseBase:
    """The file, the part of it that was asked for, 304 when it is known, or 416.

    No name and no time of the file is told: both could give away where it comes from.
    """
    size = file.stat().st_size
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=3600",
        "ETag": etag,
        "X-Content-Type-Options": "nosniff",
    }
    if etag in [tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")]:
        return HttpResponseNotModified(headers=headers)
    asked = request.headers.get("Range", "")
    if request.headers.get("If-Range", etag) != etag:
        asked = ""
    try:
        part = parse_range(asked, size)
    except UnsatisfiableRange:
        return HttpResponse(status=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    start, end = part or (0, size - 1)
    headers["Content-Length"] = str(end - start + 1)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    status = 200 if part is None else 206
    if request.method == "HEAD":
        return HttpResponse(status=status, content_type=content_type, headers=headers)
    stream = file.open("rb")
    stream.seek(start)
    return StreamingHttpResponse(
        _blocks(stream, end - start + 1),
        status=status,
        content_type=content_type,
        headers=headers,
    )


def _blocks(stream: BinaryIO, n_bytes: int) -> Iterator[bytes]:
    with stream:
        while n_bytes > 0 and (block := stream.read(min(BLOCK_BYTES, n_bytes))):
            n_bytes -= len(block)
            yield block
