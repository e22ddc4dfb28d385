"""`sendledger weather`: what it prints in 80 columns, in a pipe and as JSON, and how it ends."""

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from application.weather import Weather
from cli.weather import follow_weather, show_weather
from projections.store import Store
from schemas.errors import StoreDenied, StoreError
from tests.operating.commands import in_process
from tests.stores import fresh_store
from tests.weather.building import write_delivered_silence, write_traffic

HOSTILE = "\x1b]0;owned\x07" + "x" * 60


@pytest.fixture(scope="module")
def env(clickhouse_url: str) -> Iterator[dict[str, str]]:
    """The settings of a store in which `delivered` of SendGrid is silent; Kafka does not answer."""
    with fresh_store(clickhouse_url) as store:
        now_us = time.time_ns() // 1000
        write_delivered_silence(store, now_us)
        write_traffic(store, now_us, "twilio", HOSTILE, each_minute=1, first_offset=10_000_000)
        yield settings_of(store, clickhouse_url)


def settings_of(store: Store, clickhouse_url: str) -> dict[str, str]:
    return {
        "SENDLEDGER_CLICKHOUSE_URL": clickhouse_url,
        "SENDLEDGER_CLICKHOUSE_DATABASE": store.database,
        "SENDLEDGER_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    }


@pytest.mark.clickhouse
async def test_a_silence_is_found_wrong_and_is_told_apart_from_the_rows(env: dict[str, str], tmp_path: Path) -> None:
    ended = await in_process("weather", env=env, folder=tmp_path)
    assert ended.code == 1
    heading, *rows = [line.split("\t") for line in ended.out.splitlines()]
    assert heading[:4] == ["provider", "type", "received", "day_before"]
    assert [row[:4] for row in rows[:2]] == [
        ["sendgrid", "delivered", rows[0][2], "150"],
        ["sendgrid", "processed", "150", "150"],
    ]
    said = " ".join(ended.err.split())
    assert "SILENT no delivered from sendgrid for" in said
    assert "unclear on whose side: no fault on our side was found so far, but these could not be read: webhooks" in said
    assert "next: Find out what could not be read: `sendledger doctor`" in said
    assert "twilio: not read yet unknown, dead letters unknown, refused signatures unknown" in said


@pytest.mark.clickhouse
async def test_json_is_what_the_api_answers(env: dict[str, str], tmp_path: Path) -> None:
    ended = await in_process("weather", "--json", "--minutes", "30", env=env, folder=tmp_path)
    assert ended.code == 1
    assert {row["type"]: row["now"]["received"] for row in ended.json()["items"] if row["provider"] == "sendgrid"}[
        "processed"
    ] == 300
    [silence] = ended.json()["silences"]
    assert (silence["provider"], silence["type"], silence["likely"]) == ("sendgrid", "delivered", "unclear")


@pytest.mark.clickhouse
@pytest.mark.process
def test_a_terminal_of_80_columns_is_enough(env: dict[str, str], tmp_path: Path) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("sendledger")), "weather"],
        env={"COLUMNS": "80", "PATH": os.environ["PATH"]} | env,  # noqa: TID251 - a program's environment
        cwd=tmp_path,
        stdout=child,
        stderr=subprocess.DEVNULL,
    )
    os.close(child)
    printed = bytearray()
    try:
        while some := os.read(parent, 65_536):
            printed += some
    except OSError:  # Linux reports the end of a pseudo-terminal as an error
        pass
    finally:
        os.close(parent)
    assert process.wait(60) == 1
    lines = printed.decode().splitlines()
    assert lines[0].startswith("SILENT  no delivered from sendgrid for ")
    [heading] = [line.split() for line in lines if line.startswith("provider type")]
    assert heading == ["provider", "type", "received", "before", "copies", "disorder", "p50", "p95", "orphans", "last"]
    assert [line for line in lines if len(line) > 80] == []
    assert b"\x1b" not in printed
    assert b"\x07" not in printed


@pytest.mark.clickhouse
async def test_without_arrivals_nothing_is_wrong(clickhouse_url: str, tmp_path: Path) -> None:
    with fresh_store(clickhouse_url) as store:
        ended = await in_process("weather", env=settings_of(store, clickhouse_url), folder=tmp_path)
    assert (ended.code, ended.out) == (0, "")
    assert "Nothing has arrived within a day." in ended.err


@pytest.mark.parametrize("minutes", ["0", "61", "soon"])
async def test_wrong_minutes_are_a_usage_error(tmp_path: Path, minutes: str) -> None:
    ended = await in_process("weather", "--minutes", minutes, env={}, folder=tmp_path)
    assert (ended.code, "--minutes" in ended.err) == (2, True)


async def test_an_unreachable_clickhouse_is_a_dependency_that_is_down(tmp_path: Path) -> None:
    env = {"SENDLEDGER_CLICKHOUSE_URL": "http://127.0.0.1:1", "SENDLEDGER_KAFKA_BOOTSTRAP": "127.0.0.1:1"}
    assert (await in_process("weather", env=env, folder=tmp_path)).code == 4


def test_following_goes_on_after_an_error_and_ends_when_told(capsys: pytest.CaptureFixture[str]) -> None:
    empty = Weather(0, 1, [], [], {}, None)
    answers: list[Weather | Exception] = [empty, StoreError("ClickHouse failed", "here", "Mend it"), empty]

    def read() -> Weather:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    follow_weather(read, lambda found: show_weather(found, as_json=True), lambda: bool(answers))
    printed = capsys.readouterr()
    assert printed.out.count('"items":[]') == 2
    assert "ClickHouse failed (here); trying again" in printed.err
    answers.append(StoreDenied("refused", "here", "Mend it"))
    with pytest.raises(StoreDenied):
        follow_weather(read, lambda _: None, lambda: True)
