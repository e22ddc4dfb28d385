"""A file of several pages, cell by cell."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from fastapi.responses import StreamingResponse

from application.principals import Principal
from gateway.api.export import export_response, to_columns
from gateway.read_pool import ReadPool

READER = Principal("reader", "viewer", frozenset({"acme"}))


async def text_of(pages: Iterator[list[dict[str, Any]]], format_: str = "csv", columns: Sequence[str] = ("a",)) -> str:
    answer = await export_response(
        ReadPool(at_once=1, per_token=1), READER, to_columns(pages, columns), columns, format_, "x"
    )
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
        pytest.param("x;=cmd|' /C calc'!A0", "x;'=cmd|' /C calc'!A0", id="behind a semicolon"),
        pytest.param("x;=1;+2+2", "x;'=1;'+2+2", id="behind each semicolon"),
        pytest.param('x;"=cmd"', 'x;"\'=cmd"', id="in quotes behind a semicolon"),
        pytest.param('"=cmd"', '\'"=cmd"', id="in quotes"),
        pytest.param("x\t-cmd", "x\t'-cmd", id="behind a tab"),
        pytest.param("x\n@SUM(A1)", "x\n'@SUM(A1)", id="on another line"),
        pytest.param("x, =1", "x, '=1", id="behind a comma and a blank"),
        pytest.param("550 5.1.1; +14155550100, -5", "550 5.1.1; +14155550100, -5", id="numbers behind separators"),
        pytest.param("-5+cmd", "'-5+cmd", id="what begins like a number"),
        pytest.param(None, "", id="nothing"),
        pytest.param(True, "true", id="yes"),
        pytest.param(["b", "c"], "b c", id="a list"),
        pytest.param("a,b", "a,b", id="a comma"),
        pytest.param('say "no"', 'say "no"', id="quotes"),
    ],
)
async def test_a_cell_shows_its_value_and_is_never_a_formula(value: object, cell: str) -> None:
    text = await text_of(iter([[{"a": value}]]))
    assert text == f'"a"\r\n"{cell.replace(chr(34), chr(34) * 2)}"\r\n'
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["a"], [cell]]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
async def test_no_cell_begins_like_a_formula_with_another_separator(separator: str) -> None:
    """A reader like Excel's: a quote counts only where a cell begins."""
    values = ["x", f"x{separator}=cmd", f'x{separator}"=cmd"', f"=x{separator} +cmd", f'"{separator}"=cmd']
    text = await text_of(iter([[{"a": value} for value in values]]), columns=["a", "a"])
    cells = [cell for line in text.split("\r\n") for cell in csv.reader([line], delimiter=separator, strict=False)]
    assert [cell for row in cells for cell in row if re.match(r"[=+\-@]", cell)] == []


@pytest.mark.parametrize(
    ("format_", "whole"), [("csv", '"a"\r\n"1"\r\n"2"\r\n"3"\r\n'), ("ndjson", '{"a":1}\n{"a":2}\n{"a":3}\n')]
)
async def test_pages_are_one_file(format_: str, whole: str) -> None:
    assert await text_of(iter([[{"a": 1}, {"a": 2}], [{"a": 3}]]), format_) == whole


async def test_a_page_is_read_when_the_one_before_is_sent() -> None:
    read: list[int] = []

    def pages() -> Iterator[list[dict[str, Any]]]:
        for number in range(3):
            read.append(number)
            yield [{"a": number}]

    await export_response(ReadPool(at_once=1, per_token=1), READER, to_columns(pages(), ["a"]), ["a"], "csv", "x")
    assert read == [0]
