"""A file of several pages, cell by cell."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.responses import StreamingResponse

from gateway.exporting import exported


async def text_of(pages: Iterator[list[dict[str, Any]]], format_: str = "csv") -> str:
    answer = await exported(pages, ["a"], format_, "x")
    assert isinstance(answer, StreamingResponse)
    parts = [part async for part in answer.body_iterator]
    return b"".join(part.encode() if isinstance(part, str) else bytes(part) for part in parts).decode()


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        pytest.param("=1+1", "'=1+1", id="a formula"),
        pytest.param("+1+1", "'+1+1", id="with plus"),
        pytest.param("-cmd", "'-cmd", id="with minus"),
        pytest.param("@SUM(A1)", "'@SUM(A1)", id="with at"),
        pytest.param(" =1", "' =1", id="after a blank"),
        pytest.param("＝1", "'＝1", id="in full width"),
        pytest.param("\tx", "'\tx", id="after a tab"),
        pytest.param("+14155550100", "+14155550100", id="a number is none"),
        pytest.param("a=b", "a=b", id="not at the begin"),
        pytest.param(None, '""', id="nothing"),
        pytest.param(True, "true", id="yes"),
        pytest.param(["b", "c"], "b c", id="a list"),
        pytest.param("a,b", '"a,b"', id="a comma"),
    ],
)
async def test_a_cell_shows_its_value_and_runs_nothing(value: object, cell: str) -> None:
    assert await text_of(iter([[{"a": value}]])) == f"a\r\n{cell}\r\n"


@pytest.mark.parametrize(
    ("format_", "whole"), [("csv", "a\r\n1\r\n2\r\n3\r\n"), ("ndjson", '{"a":1}\n{"a":2}\n{"a":3}\n')]
)
async def test_pages_are_one_file(format_: str, whole: str) -> None:
    assert await text_of(iter([[{"a": 1}, {"a": 2}], [{"a": 3}]]), format_) == whole


async def test_a_page_is_asked_for_when_the_one_before_is_sent() -> None:
    asked: list[int] = []

    def pages() -> Iterator[list[dict[str, Any]]]:
        for number in range(3):
            asked.append(number)
            yield [{"a": number}]

    await exported(pages(), ["a"], "csv", "x")
    assert asked == [0]
