"""Rows on a terminal and in a pipe: no value is wrapped, truncated ones are marked, control characters escaped."""

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest
from rich.cells import cell_len

from cli.output import Column, lines, show, shown

ID = "01932c1b-631b-730d-aec5-7edcf163a9d1"
ROW: dict[str, Any] = {
    "account_id": "a-booking-service-of-length",
    "email_id": ID,
    "date_sent": datetime(2026, 11, 28, 22, 21, 18, 123000),  # noqa: DTZ001 - as the driver gives it
    "type": "Appointment reminder, the second of three",
    "to_address": "a.person.with.a.long.name@a-rather-long-domain.example.com",
    "status": "Suppressed",
    "sub_status": "bounces",
    "reason": "three bounces",
}
COLUMNS = (
    Column("date_sent"),
    Column("email_id"),
    Column("status"),
    Column("sub_status", title="sub", optional=True),
    Column("to_address", title="to", cut=True),
    Column("account_id", cut=True, optional=True),
)


@pytest.mark.parametrize("width", [40, 80, 120, 400])
def test_every_row_is_one_line_with_its_whole_id(width: int) -> None:
    _, first, second = lines([ROW, ROW], COLUMNS, width)
    for line in (first, second):
        assert ID in line
        assert "Suppressed" in line
        assert "2026-11-28 22:21" in line


@pytest.mark.parametrize("width", [80, 120, 400])
def test_a_line_fits_where_there_is_room_for_the_id_and_a_piece_of_the_rest(width: int) -> None:
    assert max(map(cell_len, lines([ROW], COLUMNS, width))) <= width


def test_what_is_cut_ends_with_an_ellipsis_and_what_fits_is_whole() -> None:
    [_, at_80], [_, at_400] = list(lines([ROW], COLUMNS, 80)), list(lines([ROW], COLUMNS, 400))
    assert re.search(r"Suppressed bounces a\.per\w+…$", at_80)
    assert ROW["to_address"] in at_400
    assert "…" not in at_400


def test_an_optional_column_is_left_out_where_there_is_no_room() -> None:
    assert "account_id" not in next(lines([ROW], COLUMNS, 80))
    assert "account_id" in next(lines([ROW], COLUMNS, 120))


def test_wide_characters_are_cut_by_their_cells() -> None:
    rows = [{"to_address": "山田太郎" * 20, "status": "Delivered"}]
    columns = [Column("to_address", cut=True), Column("status")]
    for width in range(20, 60):
        assert max(map(cell_len, lines(rows, columns, width))) <= width


@pytest.mark.parametrize(
    "hostile",
    ["\x1b[2J", "\x1b]0;title\x07", "a\nb", "a\tb", "a\rb", "\x9b31m", "\u202egnp.exe", "\x00", "\u2028"],
)
def test_text_from_outside_reaches_neither_the_terminal_nor_the_next_column(hostile: str) -> None:
    assert shown(hostile).isprintable()
    assert len(list(lines([{"to_address": hostile, "status": "x"}], [Column("to_address", cut=True)], 80))) == 2
    out = printed([{"to_address": hostile, "status": "x"}])
    assert [len(line.split("\t")) for line in out.split("\n")[:-1]] == [2, 2]


def test_a_pipe_gets_tab_separated_values_with_their_names() -> None:
    names, values = printed([ROW]).splitlines()
    assert names.split("\t") == list(ROW)
    row = dict(zip(names.split("\t"), values.split("\t"), strict=True))
    assert (row["email_id"], row["to_address"]) == (ID, ROW["to_address"])
    assert row["date_sent"] == "2026-11-28 22:21:18.123Z"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_terminal_gets_the_table_of_its_width(width: int) -> None:
    out = on_a_terminal([ROW], COLUMNS, width)
    head, line = out.splitlines()
    assert head.startswith("date_sent")
    assert ID in line
    assert "\t" not in out


def test_a_wide_table_cuts_nothing_and_leaves_nothing_out() -> None:
    head, line = on_a_terminal([ROW], COLUMNS, 80, wide=True).splitlines()
    assert "account_id" in head
    assert ROW["to_address"] in line
    assert ROW["account_id"] in line


def test_one_row_upright_is_a_line_for_each_field() -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        show([ROW], as_json=False, upright=True)
    assert dict(line.split("\t") for line in out.getvalue().splitlines())["email_id"] == ID


def printed(rows: Sequence[Mapping[str, Any]]) -> str:
    """The output in a pipe."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        show(rows, as_json=False, columns=COLUMNS)
    return out.getvalue()


def on_a_terminal(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], width: int, *, wide: bool = False
) -> str:
    """The output on a terminal with this many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    with os.fdopen(theirs, "w") as terminal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "__stdout__", terminal)  # whose width the shell's own functions ask for
        patch.delenv("COLUMNS", raising=False)
        with contextlib.redirect_stdout(terminal):
            show(rows, as_json=False, columns=columns, wide=wide)
    said = bytearray()
    with contextlib.suppress(OSError):  # which says that the other end is closed and nothing is left
        while piece := os.read(ours, 65_536):
            said += piece
    os.close(ours)
    return said.decode().replace("\r\n", "\n")
