"""`sendledger suppress`, `release` and `opt-in`: the command in the log, what is printed, and how they end.

And `sendledger suppressions`, the list.
"""

import getpass
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from application.current_state import is_known_scope
from cli.suppression_commands import show_result
from processors.kafka.topics import create_topics
from projections.store.generations import ShownStore
from projections.suppressions.columns import changes_table
from schemas.decoding.gate_inputs import decode_command
from schemas.settings import TopicSettings, read
from schemas.suppressions import SuppressionCommand, SuppressionState
from schemas.topics import SUPPRESSIONS_COMMANDS
from tests.building import a_source_position
from tests.operating.commands import Ended, in_process, sendledger
from tests.stores import a_store, drop

NOWHERE = "127.0.0.1:1"


async def run(folder: Path, kafka: str, *words: str) -> Ended:
    env = {"SENDLEDGER_KAFKA_BOOTSTRAP": kafka, "SENDLEDGER_CLICKHOUSE_URL": f"http://{NOWHERE}"}
    return await (in_process if kafka == NOWHERE else sendledger)(*words, env=env, folder=folder)


async def written(bootstrap: str, command_id: str) -> tuple[str, dict[str, Any]]:
    """The key and the value of a command."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        partitions = [TopicPartition(SUPPRESSIONS_COMMANDS.name, p) for p in range(4)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        async for record in consumer:
            if command_id.encode() in record.value:
                decode_command(record.value, a_source_position(received_us=record.timestamp * 1000))
                return record.key.decode(), orjson.loads(record.value)
    finally:
        await consumer.stop()
    raise AssertionError("a consumer ends only when it is stopped")


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        pytest.param(
            ["suppress", "Ann@Example.com"],
            "email:ann@example.com",
            {"action": "suppress", "channel": "email", "address": "Ann@Example.com", "scope": "*"},
            id="suppress",
        ),
        pytest.param(
            ["release", "+1 415 555 0100", "--scope", "acme", "--note", "ticket 17"],
            "sms:+14155550100",
            {"action": "release", "channel": "sms", "address": "+1 415 555 0100", "scope": "acme", "note": "ticket 17"},
            id="release in one account",
        ),
        pytest.param(
            ["opt-in", "ann@example.com", "--channel", "email", "--scope", "acme", "--group", "12"],
            "email:ann@example.com",
            {"action": "opt_in", "channel": "email", "address": "ann@example.com", "scope": "acme", "group": "12"},
            id="opt in to a group",
        ),
    ],
)
async def test_the_command_is_written_with_who_gave_it_and_why(
    kafka_bootstrap: str, tmp_path: Path, words: list[str], key: str, said: dict[str, Any]
) -> None:
    await create_topics(read(TopicSettings, kafka_bootstrap=kafka_bootstrap))
    ended = await run(tmp_path, kafka_bootstrap, *words, "--reason", "she asked by phone", "--json")
    assert ended.code == 0, ended.err
    shown = ended.json()
    was = shown["was_opted_out" if words[0] == "opt-in" else "was_suppressed"]
    assert (shown["address"], was) == (key.partition(":")[2], None)
    found_key, command = await written(kafka_bootstrap, shown["command_id"])
    SuppressionCommand.model_validate(command)
    assert command.pop("at")
    assert (found_key, command) == (
        key,
        said | {"command_id": shown["command_id"], "reason": "she asked by phone", "actor": f"cli:{getpass.getuser()}"},
    )


@pytest.mark.parametrize(
    ("words", "named"),
    [
        pytest.param(["suppress", "nobody", "--reason", "r"], "address", id="no address"),
        pytest.param(["suppress", "ann@example.com", "--reason", " "], "reason", id="a blank reason"),
        pytest.param(["suppress", "ann@example.com"], "reason", id="no reason"),
        pytest.param(["release", "ann@example.com", "--reason", "r", "--scope", "a b"], "scope", id="no scope"),
        pytest.param(["opt-in", "ann@example.com", "--reason", "r", "--channel", "fax"], "channel", id="no channel"),
        pytest.param(["suppress", "ann@example.com", "--reason", "\udcff"], "UTF-8", id="not UTF-8"),
    ],
)
async def test_an_invalid_argument_is_a_usage_error(tmp_path: Path, words: list[str], named: str) -> None:
    ended = await run(tmp_path, NOWHERE, *words)
    assert (ended.code, ended.out, named in ended.err) == (2, "", True), ended.err


async def test_without_settings_it_is_the_configuration(tmp_path: Path) -> None:
    ended = await in_process("suppress", "ann@example.com", "--reason", "r", env={}, folder=tmp_path)
    assert (ended.code, "SENDLEDGER_KAFKA_BOOTSTRAP" in ended.err) == (3, True)


async def test_an_unreachable_kafka_is_reported(tmp_path: Path) -> None:
    ended = await run(tmp_path, NOWHERE, "suppress", "ann@example.com", "--reason", "r")
    assert (ended.code, ended.out, NOWHERE in ended.err) == (4, "", True), ended.err


AT = "2026-01-02T03:04:05.000006Z"


def a_state(address: str, channel: str, reason: str, scope: str = "*", suppressed: bool = True) -> SuppressionState:
    held = {"scope": scope, "suppressed": suppressed, "reason": reason, "since": AT, "evidence": ["1"]}
    released = {} if suppressed else {"released": {"at": AT, "actor": "jo"}}
    said = {"channel": channel, "address": address, "scopes": [held | released]}
    return SuppressionState.model_validate(said | {"opt_outs": [], "version": 1, "changed_at": AT})


@pytest.fixture(scope="module")
def listed(clickhouse_url: str) -> Iterator[dict[str, str]]:
    """The settings of a store that has three suppressions."""
    store = a_store(clickhouse_url)
    states = [
        a_state("ann@example.com", "email", "complaint"),
        a_state("bob@example.com", "email", "manual", "acme", suppressed=False),
        a_state("+14155550100", "sms", "bounces"),
    ]
    store.insert("suppression_changes", changes_table(states))
    for sql in (
        "opt_outs SELECT 'email', 'cat@example.com', 3, 'demo', '12', '', 'unsubscribed', now()",
        "opt_outs SELECT 'sms', '+14155550111', 1, '*', '', '+14155550199', 'sms_stop', now()",
        "commands (command_id, action, channel, address, scope, reason, note, actor, at) SELECT"
        " '1', 'suppress', 'email', 'bob@example.com', 'acme', 'he asked\\x1b[2J', 'ticket 17', 'cli:jo', now()",
        "commands (command_id, action, channel, address, scope, reason, note, actor, at) SELECT"
        " '2', 'release', 'email', 'bob@example.com', 'demo', 'by mistake', '', 'cli:jo', now()",
        "commands (command_id, action, channel, address, scope, reason, note, actor, at) SELECT"
        " '3', 'opt_in', 'email', 'dan@example.com', '*', 'he asked', '', 'cli:jo', now()",
        "message_state (account_id, message_id) SELECT 'demo', generateUUIDv7()",
    ):
        store.command(f"INSERT INTO {sql}", database=store.tables)
    yield {"SENDLEDGER_CLICKHOUSE_URL": clickhouse_url, "SENDLEDGER_CLICKHOUSE_DATABASE": store.database}
    drop(store)


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param([], ["ann@example.com", "bob@example.com", "+14155550100"], id="all"),
        pytest.param(["Ann@Example.com"], ["ann@example.com"], id="an address"),
        pytest.param(["--channel", "sms"], ["+14155550100"], id="a channel"),
        pytest.param(["--scope", "acme"], ["bob@example.com"], id="a scope"),
        pytest.param(["--reason", "complaint"], ["ann@example.com"], id="a reason"),
        pytest.param(["--released"], ["bob@example.com"], id="released"),
        pytest.param(["--suppressed"], ["ann@example.com", "+14155550100"], id="suppressed"),
        pytest.param(["eve@example.com"], [], id="never heard of"),
    ],
)
async def test_the_list_has_the_rows_that_the_options_select(
    listed: dict[str, str], tmp_path: Path, words: list[str], found: list[str]
) -> None:
    ended = await sendledger("suppressions", *words, "--json", env=listed, folder=tmp_path)
    assert (ended.code, [orjson.loads(line)["address"] for line in ended.out.splitlines()]) == (0, found), ended.err


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("address", "said"),
    [
        pytest.param("ann@example.com", ["Suppressed everywhere since 2026-01-02", ": complaint"], id="suppressed"),
        pytest.param(
            "Cat@Example.com", ["Not suppressed; opted out of group 12 of account demo since"], id="of a group"
        ),
        pytest.param("+1 415 555 0111", ["Not suppressed; opted out of messages of +14155550199 since"], id="by STOP"),
        pytest.param(
            "bob@example.com",
            [
                "Not suppressed\n",
                "Released in account acme at 2026-01-02",
                "by jo; it was manual since",
                "suppress in account acme by cli:jo: he asked\\x1b[2J (ticket 17)",
            ],
            id="released, with what people wrote",
        ),
    ],
)
async def test_everything_about_one_address_is_printed(
    listed: dict[str, str], tmp_path: Path, address: str, said: list[str]
) -> None:
    ended = await in_process("suppressions", address, env=listed, folder=tmp_path)
    assert ended.code == 0
    for piece in said:
        assert piece in ended.out


@pytest.mark.clickhouse
async def test_for_programs_the_opt_outs_and_commands_of_an_address_are_objects(
    listed: dict[str, str], tmp_path: Path
) -> None:
    ended = await in_process("suppressions", "cat@example.com", "--json", env=listed, folder=tmp_path)
    [out] = map(orjson.loads, ended.out.splitlines())
    assert (out["opted_out"], out["scope"], out["group"]) == (True, "demo", "12")
    ended = await in_process("suppressions", "bob@example.com", "--json", env=listed, folder=tmp_path)
    [scope, command] = map(orjson.loads, ended.out.splitlines())
    assert (scope["suppressed"], scope["commands"][0]["note"]) == (False, "ticket 17")
    assert (command["command_id"], command["scope"]) == ("2", "demo"), "a command about another scope"


@pytest.mark.clickhouse
async def test_json_has_a_command_without_a_matching_scope(listed: dict[str, str], tmp_path: Path) -> None:
    ended = await in_process("suppressions", "dan@example.com", "--json", env=listed, folder=tmp_path)
    [command] = map(orjson.loads, ended.out.splitlines())
    assert (command["address"], command["action"], command["actor"]) == ("dan@example.com", "opt_in", "cli:jo")


@pytest.mark.clickhouse
@pytest.mark.parametrize(("scope", "known"), [("acme", False), ("demo", True), ("*", True)])
def test_a_scope_of_an_unknown_account_is_warned_about(
    listed: dict[str, str], scope: str, known: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ShownStore(listed["SENDLEDGER_CLICKHOUSE_URL"], database=listed["SENDLEDGER_CLICKHOUSE_DATABASE"])
    with closing(store):
        assert is_known_scope(store, scope) == known
    show_result({"scope": scope, "was_suppressed": False, "scope_known": known}, as_json=True)
    assert ("check the spelling" in capsys.readouterr().err) != known


@pytest.mark.clickhouse
async def test_the_history_of_an_address_is_its_changes(listed: dict[str, str], tmp_path: Path) -> None:
    ended = await in_process("suppressions", "bob@example.com", "--history", "--json", env=listed, folder=tmp_path)
    [change] = map(orjson.loads, ended.out.splitlines())
    assert (change["scope"], change["suppressed"], change["actor"]) == ("acme", False, "jo")
    assert change["changed_at"].startswith("2026-01-02T03:04:05")
    without = await in_process("suppressions", "--history", env=listed, folder=tmp_path)
    assert (without.code, without.out) == (2, "")


@pytest.mark.kafka
@pytest.mark.clickhouse
async def test_an_opt_in_says_whether_there_was_anything_to_lift(
    listed: dict[str, str], kafka_bootstrap: str, tmp_path: Path
) -> None:
    await create_topics(read(TopicSettings, kafka_bootstrap=kafka_bootstrap))
    env = listed | {"SENDLEDGER_KAFKA_BOOTSTRAP": kafka_bootstrap}

    async def opt_in(address: str, *more: str, scope: str = "demo") -> Ended:
        words = ("opt-in", address, "--scope", scope, "--reason", "she asked", *more)
        return await in_process(*words, env=env, folder=tmp_path)

    nothing = await opt_in("ann@example.com")
    group = await opt_in("cat@example.com")
    another = await opt_in("cat@example.com", "--group", "13")
    unknown = await opt_in("ann@example.com", scope="dem0")
    assert "There is no opt-out to lift" in nothing.out
    assert "was_suppressed" not in nothing.out
    assert "Lifts the opt-out" in group.out
    assert "There is no opt-out to lift" in another.out
    assert "no message and no policy" not in nothing.err
    assert "Account 'dem0' has no message and no policy" in unknown.err


@pytest.mark.clickhouse
async def test_a_list_that_is_cut_says_so(listed: dict[str, str], tmp_path: Path) -> None:
    ended = await sendledger("suppressions", "--limit", "1", env=listed, folder=tmp_path)
    assert (ended.code, "more than 1" in ended.err, "bob@" in ended.out) == (0, True, False)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        pytest.param(["ann"], "address", id="no address"),
        pytest.param(["--channel", "fax"], "channel", id="no channel"),
        pytest.param(["--reason", "because"], "reason", id="no reason"),
        pytest.param(["--scope", "a b"], "scope", id="no scope"),
    ],
)
async def test_a_list_of_what_can_not_be_is_a_usage_error(tmp_path: Path, words: list[str], named: str) -> None:
    ended = await run(tmp_path, NOWHERE, "suppressions", *words)
    assert (ended.code, ended.out, named in ended.err) == (2, "", True), ended.err


async def test_a_list_without_clickhouse_says_what_is_away(tmp_path: Path) -> None:
    ended = await run(tmp_path, NOWHERE, "suppressions")
    assert (ended.code, ended.out, "ClickHouse" in ended.err) == (4, "", True), ended.err
