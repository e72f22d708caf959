"""Byte ranges of a file."""

from pathlib import Path

import pytest
from django.test import RequestFactory

from api.ranges import UnsatisfiableRange, file_answer, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", (0, 9)),
        ("bytes=10-", (10, 99)),
        ("bytes=-30", (70, 99)),
        ("bytes=-500", (0, 99)),
        ("bytes=90-500", (90, 99)),
        ("bytes=99-99", (99, 99)),
        ("", None),
        ("bytes=-", None),
        ("bytes=9-3", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        (f"bytes=-{'9' * 5000}", (0, 99)),
        (f"bytes=90-{'9' * 5000}", (90, 99)),
        (f"bytes={'0' * 5000}9-10", (9, 10)),
    ],
)
def test_a_single_range_is_understood_and_anything_else_means_the_whole_file(
    header: str, expected: tuple[int, int] | None
) -> None:
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize(
    "header", ["bytes=100-", "bytes=100-200", "bytes=-0", f"bytes={'9' * 5000}-"]
)
def test_a_range_outside_the_file_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(UnsatisfiableRange):
        parse_range(header, 100)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret-name.wav"
    path.write_bytes(bytes(range(200)))
    return path


def ask(file: Path, method: str = "get", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    request = getattr(RequestFactory(), method)("/", headers=headers)
    answer = file_answer(request, file, content_type="audio/wav", etag='"tag"')
    body = b"".join(answer) if answer.streaming else answer.content  # type: ignore[attr-defined]
    return answer.status_code, body, dict(answer.headers)


def test_the_whole_file_comes_with_its_length_and_without_its_name(file: Path) -> None:
    status, body, headers = ask(file)
    assert (status, body) == (200, bytes(range(200)))
    assert headers["Content-Length"] == "200"
    assert headers["Accept-Ranges"] == "bytes"
    assert "secret-name" not in str(headers)
    assert "Last-Modified" not in headers


def test_a_range_comes_as_partial_content(file: Path) -> None:
    status, body, headers = ask(file, Range="bytes=10-19")
    assert (status, body) == (206, bytes(range(10, 20)))
    assert headers["Content-Range"] == "bytes 10-19/200"
    assert headers["Content-Length"] == "10"


def test_an_unsatisfiable_range_is_answered_with_the_size(file: Path) -> None:
    status, body, headers = ask(file, Range="bytes=200-")
    assert (status, body) == (416, b"")
    assert headers["Content-Range"] == "bytes */200"


def test_head_tells_the_length_and_sends_nothing(file: Path) -> None:
    status, body, headers = ask(file, "head", Range="bytes=-50")
    assert (status, body, headers["Content-Length"]) == (206, b"", "50")


def test_a_known_file_is_not_sent_again(file: Path) -> None:
    assert ask(file, **{"If-None-Match": '"other", "tag"'})[:2] == (304, b"")


def test_a_range_of_another_version_gets_the_whole_file(file: Path) -> None:
    headers = {"Range": "bytes=0-1", "If-Range": '"older"'}
    assert ask(file, **headers)[0] == 200
    assert ask(file, **{**headers, "If-Range": '"tag"'})[0] == 206
