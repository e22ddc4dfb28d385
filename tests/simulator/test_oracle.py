"""The oracle compared with the product: expected results, and what adapters and reference fold make of the bytes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import orjson
import pytest

from schemas.decoding.times import rfc3339
from simulator.expectation import ANY
from simulator.messages import PlanOptions
from simulator.oracle import Oracle
from simulator.plan import Plan, plan
from simulator.scenarios import SCENARIOS
from tests.simulator.product import Pair, ProductOutput, run_product

NOW_US = 1_780_000_000_000_000
ACCOUNTS = ("acme", "bella")
RARE_EVERY = 4
MESSAGES = RARE_EVERY * len(SCENARIOS)
COLUMNS = (
    "account_id", "email_id", "channel", "type", "template_id", "sent_to", "recipient_id", "to_address", "to_domain",
    "cc_address", "subject", "status", "sub_status", "reason", "code", "classification", "date_sent", "decided_at",
    "dispatched_at", "processed_at", "delivered_at", "bounced_at", "opened_at", "clicked_at", "opens", "machine_opens",
    "clicks", "attempts", "complained", "provider", "provider_message_id", "appointment_id", "anomalies",
)  # fmt: skip
TIMES = {name for name in COLUMNS if name.endswith("_at")} | {"date_sent"}


def a_plan(seed: int, **given: Any) -> tuple[Plan, dict[str, Any]]:
    """A plan in which every scenario occurs, and its oracle."""
    column_name = {name: given.pop(name) for name in ("arrivals_known",) if name in given}
    oracle = Oracle(seed, **column_name)
    options = PlanOptions(NOW_US, ACCOUNTS, rare_every=RARE_EVERY)
    planned = plan(MESSAGES, seed, options, broken_every=20, oracle=oracle)
    return planned, orjson.loads(oracle.as_json())


@pytest.fixture(scope="module")
def made() -> tuple[Plan, dict[str, Any]]:
    return a_plan(1)


def column(output: ProductOutput, pair: Pair, name: str) -> Any:
    value = getattr(output.rows[pair], name)
    if name in TIMES:
        return None if value is None else rfc3339(value)
    return sorted(value) if name == "anomalies" else value


def rows_that_differ(output: ProductOutput, oracle: Mapping[str, Any]) -> list[tuple[str, str, Any, Any]]:
    """Message, column, expected, found."""
    expected = {name: row for name, row in oracle["messages"].items() if not name.startswith("*/")}
    differing: list[tuple[str, str, Any, Any]] = []
    for account, message_id in output.rows:
        if f"{account}/{message_id}" not in expected:
            differing.append((message_id, "row", None, "a row"))
    for name, row in expected.items():
        account, message_id = name.split("/")
        if (account, message_id) not in output.rows:
            differing.append((name, "row", "a row", None))
            continue
        for column_name, value in row.items():
            found = column(output, (account, message_id), column_name)
            if found != value and not (value == ANY and found):
                differing.append((name, column_name, value, found))
    return differing


def events_of(output: ProductOutput) -> dict[str, dict[str, list[int]]]:
    """Distinct events of each message by type: all, and those of a CC."""
    counted: dict[str, dict[str, list[int]]] = {}
    for (account, message_id), known in output.known.items():
        requests = [decision.request for decision in known.decisions] or list(known.requests)
        to_key = requests[0].to_key if requests and requests[0].channel == "email" else ""  # an SMS has no CC
        counts = counted[f"{account}/{message_id}"] = {
            "requested": [len({request.content_hash for request in known.requests}), 0],
            "decided": [len({decision.decision_hash for decision in known.decisions}), 0],
            "dispatched": [len({dispatch.dispatch_hash for dispatch in known.dispatches}), 0],
        }
        for event in {event.event_id: event for event in known.events}.values():
            count = counts.setdefault(event.type, [0, 0])
            count[0] += 1
            count[1] += bool(to_key) and event.address not in ("", to_key)
        for type_ in [type_ for type_, count in counts.items() if not count[0]]:
            del counts[type_]
    return counted


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_reference_fold_gives_the_expected_rows(seed: int) -> None:
    planned, oracle = a_plan(seed)
    output = run_product(planned, NOW_US)
    assert rows_that_differ(output, oracle) == []
    assert events_of(output) == oracle["events"]
    orphans = [[e.provider, e.type, e.provider_message_id, e.address] for e in output.orphans.values()]
    assert sorted(orphans) == oracle["orphan_facts"]
    assert {name: sorted(values) for name, values in output.dead.items()} == oracle["dead_letter_values"]
    assert {f"{account}/{message_id}" for account, message_id in output.content} == set(oracle["content"])


def test_a_suppression_list_change_without_a_message_is_a_platform_wide_row(made: tuple[Plan, dict[str, Any]]) -> None:
    planned, oracle = made
    rows = {
        f"*/{event.address}/{rfc3339(event.occurred_us)}": {
            "account_id": "*",
            "email_id": ANY,
            "channel": "email",
            "type": "Suppression list",
            "to_address": orjson.loads(event.extra).get("Recipient", event.address),
            "status": "Subscriptionchange",
            "sub_status": event.classification,
            "date_sent": rfc3339(event.occurred_us // 1000 * 1000),
        }
        for event in run_product(planned, NOW_US).orphans.values()
        if event.type == "subscription_changed" and not event.provider_message_id
    }
    assert rows == {name: row for name, row in oracle["messages"].items() if name.startswith("*/")}
    assert {row["sub_status"] for row in rows.values()} == {"added", "removed"}


def test_the_oracle_of_a_plan_over_http_holds_for_every_order_of_arrival() -> None:
    planned, oracle = a_plan(2, arrivals_known=False)
    rng = Random(3)
    for _ in range(3):
        moved = [
            replace(delivery, at_us=NOW_US - rng.randrange(3_600_000_000)) if delivery.kind == "post" else delivery
            for delivery in planned.deliveries
        ]
        assert rows_that_differ(run_product(replace(planned, deliveries=moved), NOW_US), oracle) == []


def test_over_http_only_what_depends_on_arrival_times_is_left_out() -> None:
    _, known = a_plan(2)
    _, unknown = a_plan(2, arrivals_known=False)
    assert known["events"] == unknown["events"]
    for name, row in unknown["messages"].items():
        for column_name, value in known["messages"][name].items():
            if column_name not in row:
                assert row["channel"] == "sms"
                assert column_name in ("anomalies", "reason", "code", "classification")
            elif row[column_name] != value:
                assert row[column_name] == ANY
                assert column_name in TIMES


def test_the_oracle_finds_lost_events(made: tuple[Plan, dict[str, Any]]) -> None:
    planned, oracle = made
    for address_event in (b"HardBounce", b"undelivered", b"Opened", b'"open"', b"SM"):
        left = [d for d in planned.deliveries if d.kind != "post" or address_event not in d.value]
        if len(left) < len(planned.deliveries):
            assert rows_that_differ(run_product(replace(planned, deliveries=left), NOW_US), oracle) != []


@pytest.mark.parametrize("kind", ["request", "decision", "dispatch"])
def test_the_oracle_finds_a_topic_that_was_not_read(made: tuple[Plan, dict[str, Any]], kind: str) -> None:
    planned, oracle = made
    left = [delivery for delivery in planned.deliveries if delivery.kind != kind]
    output = run_product(replace(planned, deliveries=left), NOW_US)
    assert rows_that_differ(output, oracle) != []
    assert events_of(output) != oracle["events"]


def test_the_same_plan_gives_the_same_document(made: tuple[Plan, dict[str, Any]]) -> None:
    assert a_plan(1)[1] == made[1]


def test_a_row_has_every_documented_column(made: tuple[Plan, dict[str, Any]]) -> None:
    _, oracle = made
    rows = [row for name, row in oracle["messages"].items() if not name.startswith("*/")]
    assert all(sorted(row) == sorted(COLUMNS) for row in rows)


def test_the_document_is_consistent(made: tuple[Plan, dict[str, Any]]) -> None:
    planned, oracle = made
    rows = {name: row for name, row in oracle["messages"].items() if not name.startswith("*/")}
    assert len(rows) == planned.totals.messages == MESSAGES
    assert all(name == f"{row['account_id']}/{row['email_id']}" for name, row in rows.items())
    assert oracle["events"].keys() == rows.keys()
    assert set(oracle["content"]) <= rows.keys()
    assert oracle["orphans"] == dict(Counter(f"{provider}/{type_}" for provider, type_, _, _ in oracle["orphan_facts"]))
    assert oracle["dead_letters"] == {name: len(values) for name, values in oracle["dead_letter_values"].items()}
    for name, row in rows.items():
        events = {type_: count - of_ccs for type_, (count, of_ccs) in oracle["events"][name].items()}
        assert row["opens"] + row["machine_opens"] == events.get("opened", 0)
        assert row["clicks"] == events.get("clicked", 0)
        assert row["attempts"] == events.get("deferred", 0)
        assert row["complained"] == bool(events.get("complained"))
        assert (row["decided_at"] is None) == ("decided" not in events)
        assert (row["dispatched_at"] is None) == ("dispatched" not in events)
        if row["status"] == "Pending":
            assert events.keys() <= {"requested", "decided", "dispatched"}
