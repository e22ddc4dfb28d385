"""`sendledger dead-letters`: what it accepts, lists, shows and does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from processors.dead_letters import DeadLetter
from schemas.events import Rejection
from tests.building import FakeRecord
from tests.kafka.broker import broker_with_topics
from tests.letters import park
from tests.operating.commands import in_process, sendledger

AWAY = {"SENDLEDGER_KAFKA_BOOTSTRAP": "127.0.0.1:1"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["redrive"], "Give ids, --with-reason, --topic, or --all"),
        (["redrive", "17"], "An id is like 3:17"),
        (["show", "a:b"], "An id is like 3:17"),
        (["discard", "3:17"], "--reason"),
        (["discard", "3:17", "--reason", " "], "--reason"),
        (["discard", "--reason", "tests"], "Give ids, --with-reason, --topic, or --all"),
        (["list", "--limit", "0"], "--limit"),
        (["discard", "--topic", "webhooks.sendgrid", "--reason", "element_failed"], "--yes"),
    ],
)
async def test_wrong_options_end_with_2_and_say_which(tmp_path: Path, words: list[str], says: str) -> None:
    ended = await in_process("dead-letters", *words, env=AWAY, folder=tmp_path)
    assert ended.code == 2
    assert says in ended.err
    assert not ended.out


@pytest.fixture(scope="module")
async def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A broker with three letters: two of one reason, and one with hostile text."""
    letters = [
        DeadLetter(FakeRecord(topic, value, b"k", [("own", b"1")], 0, n), Rejection(reason, text, value, None))
        for n, (topic, value, reason, text) in enumerate(
            [
                ("webhooks.sendgrid", b"{", "body_not_json", "no JSON"),
                ("webhooks.twilio", b"\xff", "body_not_json", "no form"),
                ("sends.requested", b"\x1b[31m", "record_not_json", "bad \x1b]0;owned\x07 text"),
            ]
        )
    ]
    async with broker_with_topics(tmp_path_factory.mktemp("broker"), partitions=1) as bootstrap:
        await park(bootstrap, letters)
        yield bootstrap


@pytest.mark.kafka
@pytest.mark.process
async def test_the_life_of_letters(bootstrap: str, tmp_path: Path) -> None:
    env = {"SENDLEDGER_KAFKA_BOOTSTRAP": bootstrap}

    async def run(*words: str, code: int = 0) -> str:
        ended = await sendledger("dead-letters", *words, env=env, folder=tmp_path)
        assert (ended.code, "Traceback" in ended.err) == (code, False), ended.err
        assert "\x1b" not in ended.out
        return ended.out

    def rows(out: str) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in out.splitlines()]

    listed = rows(await run("list", "--json"))
    assert [row["letter"] for row in listed] == ["0:0", "0:1", "0:2"]
    assert [row["letter"] for row in rows(await run("list", "--topic", "webhooks.twilio", "--json"))] == ["0:1"]
    assert "owned" in await run("list")

    (shown,) = rows(await run("show", "0:0", "--json"))
    assert shown["value"] == "{"
    assert shown["headers"] == ["own: 1"]
    assert shown["now"].startswith("rejected: body_not_json")
    assert rows(await run("show", "0:1", "--json"))[0]["value"] == "hex ff"
    assert await run("show", "0:99", code=1) == ""

    dry = rows(await run("redrive", "--with-reason", "body_not_json", "--dry-run", "--json"))
    assert [(row["letter"], row["result"]) for row in dry] == [
        ("0:0", "would be redriven"),
        ("0:1", "would be redriven"),
    ]
    assert len(rows(await run("list", "--json"))) == 3

    done = rows(await run("redrive", "0:0", "--json"))
    assert [(row["letter"], row["result"]) for row in done] == [("0:0", "redriven")]
    again = rows(await run("redrive", "0:0", "--json"))
    assert [(row["letter"], row["result"]) for row in again] == [("0:0", "unchanged")]
    discarded = rows(await run("discard", "0:1", "--reason", "a test of the provider", "--json"))
    assert [row["result"] for row in discarded] == ["discarded"]

    assert [row["letter"] for row in rows(await run("list", "--json"))] == ["0:2"]
    handled = {row["letter"]: row["handled"] for row in rows(await run("list", "--all", "--json"))}
    assert handled["0:0"].startswith("redriven by cli:")
    missing = rows(await run("redrive", "0:2", "0:99", "--dry-run", "--json", code=1))
    assert [(row["letter"], row["result"]) for row in missing] == [("0:2", "would be redriven"), ("0:99", "not_found")]
    assert rows(await run("discard", "--with-reason", "record_not_json", "--reason", "tests", "--yes", "--json"))
    assert rows(await run("list", "--json")) == []
    assert handled["0:1"].endswith(": a test of the provider")
