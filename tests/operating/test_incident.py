"""`sendledger incident`: what it accepts, and what it prints. tests/stack/test_incident.py has the how-to."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.messages.columns import events_table, state_table
from projections.suppressions.columns import changes_table, commands_table
from schemas.decoding.gate_inputs import decode_command
from schemas.decoding.ids import uuid7
from schemas.decoding.times import rfc3339
from schemas.suppressions import SuppressionState
from tests.building import NOW_US, a_decision, a_request, a_source_position
from tests.gate.building import a_command, as_bytes
from tests.operating.commands import Ended, in_process
from tests.stores import fresh_store

NOWHERE = "127.0.0.1:1"
AWAY = {"SENDLEDGER_KAFKA_BOOTSTRAP": NOWHERE, "SENDLEDGER_CLICKHOUSE_URL": f"http://{NOWHERE}"}
BULK_ID = uuid7(NOW_US, b"0123456789")
UNKNOWN_ID = uuid7(NOW_US, b"another id")
DOMAIN = ["--domain", "example.com"]
RELEASE = ["release", "--reason", "their outage"]


async def incident(*words: str, env: dict[str, str], folder: Path) -> Ended:
    return await in_process("incident", *words, env=env, folder=folder)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        pytest.param(["release", *DOMAIN], "--reason", id="no reason"),
        pytest.param(["release", *DOMAIN, "--reason", " "], "reason", id="a blank reason"),
        pytest.param([*RELEASE], "an account alone", id="no filter"),
        pytest.param([*RELEASE, "--account", "demo"], "an account alone", id="only an account"),
        pytest.param([*RELEASE, "--domain", "%"], "domain", id="no domain"),
        pytest.param([*RELEASE, "--with-reason", "complaint", *DOMAIN], "reason", id="complaints"),
        pytest.param([*RELEASE, "--account", "a b", *DOMAIN], "account", id="no account"),
        pytest.param([*RELEASE, "--from", "soon"], "from", id="no time"),
        pytest.param([*RELEASE, "--text", "\udcff"], "UTF-8", id="not UTF-8"),
        pytest.param([*RELEASE, *DOMAIN, "--id", BULK_ID], "preview", id="the id of other filters"),
        pytest.param([*RELEASE, *DOMAIN, "--id", "x", "--yes"], "bulk release", id="no id"),
        pytest.param([*RELEASE, *DOMAIN, "--rate", "0"], "--rate", id="no rate"),
        pytest.param(["undo", "x", "--reason", "r"], "bulk release", id="undo of no id"),
        pytest.param(["undo", BULK_ID], "--reason", id="undo without a reason"),
        pytest.param(["refused", "x", "--csv"], "bulk release", id="refused by no id"),
    ],
)
async def test_an_invalid_argument_is_a_usage_error(tmp_path: Path, words: list[str], named: str) -> None:
    ended = await incident(*words, env=AWAY, folder=tmp_path)
    assert (ended.code, ended.out, named in ended.err) == (2, "", True), ended.err


@pytest.mark.parametrize(
    "words", [[*RELEASE, *DOMAIN], ["undo", BULK_ID, "--reason", "r"], ["list"], ["refused", BULK_ID]]
)
async def test_without_clickhouse_it_says_what_is_away(tmp_path: Path, words: list[str]) -> None:
    ended = await incident(*words, env=AWAY, folder=tmp_path)
    assert (ended.code, ended.out, "ClickHouse" in ended.err) == (4, "", True), ended.err


@pytest.fixture(scope="module")
def released(clickhouse_url: str) -> Iterator[dict[str, str]]:
    """The settings of a store with one suppressed address, and one that a bulk release freed; two messages to it."""
    command = a_command(
        "release", "ann@example.com", at=rfc3339(NOW_US), command_id=f"bulk-release:{BULK_ID}:release:{'0' * 32}"
    )
    state = {"scope": "*", "reason": "bounces", "since": rfc3339(NOW_US - 9), "evidence": ["e"]}
    ann = state | {"suppressed": False, "released": {"at": rfc3339(NOW_US), "actor": "support"}}
    bob = state | {"suppressed": True}
    with fresh_store(clickhouse_url) as store:
        for address, scope in (("ann@example.com", ann), ("bob@example.com", bob)):
            said = {"channel": "email", "address": address, "scopes": [scope], "opt_outs": [], "version": 2}
            change = SuppressionState.model_validate(said | {"changed_at": rfc3339(NOW_US)})
            store.insert("suppression_changes", changes_table([change]))
        store.insert("commands", commands_table([decode_command(as_bytes(command), a_source_position())]))
        for number, subject in enumerate(["=1+1", "Tomorrow"]):
            ids = {"account_id": "demo", "message_id": uuid7(NOW_US + number * 1000, b"1234567890")}
            refused = a_decision("suppressed", **ids, request=a_request(**ids, subject=subject))
            store.insert("message_state", state_table(events_table([]), decisions=[refused]))
        yield AWAY | {"SENDLEDGER_CLICKHOUSE_URL": clickhouse_url, "SENDLEDGER_CLICKHOUSE_DATABASE": store.database}


@pytest.mark.clickhouse
async def test_a_preview_prints_what_it_would_do_and_how_to_do_it(released: dict[str, str], tmp_path: Path) -> None:
    ended = await incident(*RELEASE, *DOMAIN, env=released, folder=tmp_path)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    bulk_id = lines[0].split("\t")[1]
    assert "addresses\t1" in lines
    assert "bob@example.com\t*\t2026-05-28T20:26:39.999991Z\tbounces" in lines
    assert f"Nothing was written. To release these: the same command with --id {bulk_id} --yes" in ended.err


@pytest.mark.clickhouse
async def test_for_programs_a_preview_is_one_object(released: dict[str, str], tmp_path: Path) -> None:
    ended = await incident(*RELEASE, *DOMAIN, "--json", env=released, folder=tmp_path)
    report = ended.json()
    assert (report["dry_run"], report["addresses"], report["left"]) == (True, 1, {})
    assert (report["by_account"], report["by_cause"]) == ({"*": 1}, {"bounces": 1})


@pytest.mark.clickhouse
async def test_a_release_without_kafka_ends_with_4_and_names_the_id_to_repeat_it(
    released: dict[str, str], tmp_path: Path
) -> None:
    ended = await incident(*RELEASE, *DOMAIN, "--yes", env=released, folder=tmp_path)
    assert (ended.code, ended.out) == (4, "")
    assert "bulk release 0" in ended.err


@pytest.mark.clickhouse
async def test_the_list_shows_a_bulk_release(released: dict[str, str], tmp_path: Path) -> None:
    ended = await incident("list", "--json", env=released, folder=tmp_path)
    listed = ended.json()
    assert (listed["id"], listed["addresses"], listed["undone"], listed["actor"]) == (BULK_ID, 1, 0, "support")


@pytest.mark.clickhouse
async def test_an_undo_shows_what_it_would_suppress(released: dict[str, str], tmp_path: Path) -> None:
    ended = await incident("undo", BULK_ID, "--reason", "by mistake", env=released, folder=tmp_path)
    assert (ended.code, "ann@example.com\t*" in ended.out.splitlines()) == (0, True), ended.err
    ended = await incident("undo", UNKNOWN_ID, "--reason", "by mistake", env=released, folder=tmp_path)
    assert (ended.code, UNKNOWN_ID in ended.err) == (2, True)


@pytest.mark.clickhouse
async def test_refused_messages_are_listed_up_to_the_limit_and_exported_whole(
    released: dict[str, str], tmp_path: Path
) -> None:
    listed = await incident("refused", BULK_ID, "--limit", "1", env=released, folder=tmp_path)
    assert (len(listed.out.splitlines()), "more than 1" in listed.err) == (2, True)
    exported = await incident("refused", BULK_ID, "--csv", env=released, folder=tmp_path)
    rows = list(csv.DictReader(io.StringIO(exported.out, newline="")))
    assert [row["subject"] for row in rows] == ["'=1+1", "Tomorrow"], "a formula is defused"
    assert [row["to_address"] for row in rows] == ["Ann@Example.com"] * 2
    assert (await incident("refused", UNKNOWN_ID, "--csv", env=released, folder=tmp_path)).out == ""
    none = await incident("refused", BULK_ID, "--account", "bold", env=released, folder=tmp_path)
    assert (none.code, none.out) == (0, "")
