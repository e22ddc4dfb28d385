"""Suppressions and Bounced Emails, listed: who sees which rows and which evidence; filters, pages and files."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pyarrow as pa
import pytest

from projections.bounces.columns import bounces_table
from projections.messages.columns import addressees_table, events_table, state_table, withdrawn_state_table
from projections.store import Store
from projections.suppressions.columns import changes_table
from schemas.decoding.ids import uuid7
from schemas.decoding.times import rfc3339
from schemas.events import Event
from schemas.suppressions import SuppressionState
from tests.building import NOW_US, a_request, an_event
from tests.fakes import FakeKafka
from tests.gateway.building import a_caller, a_token, without_request_id
from tests.stores import fresh_store

ANN, BOB, CAT, DAN, EVE = (f"{name}@example.com" for name in ("ann", "bob", "cat", "dan", "eve"))
PHONE = "+14155550100"
FORMULA = '=HYPERLINK("x")'
COMMAND = "01920000-0000-7000-8000-000000000001"


def a_bounce(account: str, address: str, number: int, **said: Any) -> Event:
    """A bounce of another message, this many seconds after NOW_US."""
    at = NOW_US + number * 1_000_000
    message = uuid7(at, number.to_bytes(10, "big"))
    return an_event(
        "bounced", account_id=account, message_id=message, address=address, occurred_us=at, fault="recipient", **said
    )


BOUNCES = [
    a_bounce("acme", ANN, 1),
    a_bounce("globex", ANN, 2, reason=FORMULA),
    a_bounce("acme", EVE, 3),
    a_bounce("acme", EVE, 4),
    a_bounce("globex", PHONE, 5, provider="twilio"),
]
ACMES, GLOBEXES = BOUNCES[0].event_id, BOUNCES[1].event_id


def a_state(address: str, version: int = 1, **scopes: Any) -> SuppressionState:
    """A state; of each scope its evidence, or None where it is released. `everywhere` is the scope `*`."""
    at = rfc3339(NOW_US + version)
    return SuppressionState.model_validate(
        {
            "channel": "email" if "@" in address else "sms",
            "address": address,
            "opt_outs": [],
            "version": version,
            "changed_at": at,
            "scopes": [
                {
                    "scope": "*" if name == "everywhere" else name,
                    "suppressed": evidence is not None,
                    "reason": "bounces" if name == "everywhere" else "manual",
                    "since": rfc3339(NOW_US),
                    "evidence": evidence or [],
                    "released": {"at": at, "actor": "jo"} if evidence is None else None,
                }
                for name, evidence in scopes.items()
            ],
        }
    )


STATES = [
    a_state(ANN, 1, everywhere=[ACMES, GLOBEXES, COMMAND]),
    a_state(ANN, 2, everywhere=[ACMES, GLOBEXES, COMMAND], globex=[COMMAND]),
    a_state(BOB, everywhere=[GLOBEXES]),  # globex's To, of a message that was only requested
    a_state(CAT, everywhere=[COMMAND]),  # acme's CC
    a_state(DAN, everywhere=[COMMAND]),  # nobody has sent to it
    a_state(DAN, 2, everywhere=None, acme=[COMMAND]),
    a_state(PHONE, everywhere=[BOUNCES[4].event_id]),
]


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        requests = [
            a_request(
                account_id="acme", message_id=uuid7(NOW_US, b"a" * 10), to="zoe@example.com", cc=(" Cat@example.com",)
            ),
            a_request(account_id="globex", message_id=uuid7(NOW_US, b"b" * 10), to="Bob@Example.com"),
        ]
        events = events_table(BOUNCES)
        store.insert("events", events)
        store.insert("message_state", state_table(events, requests=requests))
        store.insert("bounces", bounces_table(BOUNCES))
        store.insert("suppression_changes", changes_table(STATES))
        yield store


async def get(store: Store | None, path: str, *accounts: str, **query: Any) -> httpx.Response:
    async with a_caller(FakeKafka(), a_token(*accounts, role="viewer"), store) as client:
        return await client.get(f"/v1/{path}", params=query)


async def keys(store: Store, *accounts: str, **query: Any) -> set[tuple[str, str]]:
    answer = await get(store, "suppressions", *accounts, **({"account": "*"} | query))
    assert answer.status_code == 200, answer.text
    return {(item["address"], item["scope"]) for item in answer.json()["items"]}


EVERYTHING = {(ANN, "*"), (ANN, "globex"), (BOB, "*"), (CAT, "*"), (DAN, "*"), (DAN, "acme"), (PHONE, "*")}
OF_ACME = {(ANN, "*"), (CAT, "*"), (DAN, "acme")}
OF_GLOBEX = {(ANN, "*"), (ANN, "globex"), (BOB, "*"), (PHONE, "*")}


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("accounts", "query", "seen"),
    [
        pytest.param(["*"], {}, EVERYTHING, id="a token of all"),
        pytest.param(["*"], {"account": "acme"}, OF_ACME, id="a token of all, as acme"),
        pytest.param(["acme"], {}, OF_ACME, id="a To, a CC, and its own scope"),
        pytest.param(["globex"], {}, OF_GLOBEX, id="a message that was only requested counts"),
        pytest.param(["acme", "globex"], {}, OF_ACME | OF_GLOBEX, id="several accounts"),
        pytest.param(["initech"], {}, set(), id="who has sent nothing"),
        pytest.param(["acme"], {"address": BOB}, set(), id="not by its address either"),
        pytest.param(["acme"], {"scope": "*", "address": DAN}, set(), id="its own scope does not show the platform's"),
    ],
)
async def test_an_account_sees_its_scopes_and_the_addresses_that_it_has_sent_to(
    store: Store, accounts: list[str], query: dict[str, str], seen: set[tuple[str, str]]
) -> None:
    assert await keys(store, *accounts, **query) == seen


@pytest.mark.clickhouse
async def test_an_address_of_a_withdrawn_event_counts_as_not_sent_to(clickhouse_url: str) -> None:
    """The table of addressees alone still has it. A withdrawn event of any message causes the events to be read."""
    with fresh_store(clickhouse_url) as store:
        events = [a_bounce("acme", ANN, 1), a_bounce("acme", EVE, 2)]
        store.insert("events", events_table(events))
        store.insert("message_state", state_table(events_table(events)))
        store.insert("suppression_changes", changes_table([a_state(name, everywhere=[COMMAND]) for name in (ANN, EVE)]))
        assert await keys(store, "acme") == {(ANN, "*"), (EVE, "*")}
        gone = events[1]._replace(received_us=0)
        store.insert("events", events_table([gone]).append_column("link", pa.array(["withdrawn"])))
        store.insert("message_state", withdrawn_state_table([gone]))
        store.insert("withdrawn_addressees", addressees_table([gone]))
        assert await keys(store, "acme") == {(ANN, "*")}
        assert await keys(store, "acme", address=EVE) == set()


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("query", "seen"),
    [
        pytest.param({"channel": "sms"}, {(PHONE, "*")}, id="channel"),
        pytest.param({"scope": "globex"}, {(ANN, "globex")}, id="scope"),
        pytest.param({"suppressed": "false"}, {(DAN, "*")}, id="released"),
        pytest.param({"suppressed": "true", "address": DAN}, {(DAN, "acme")}, id="suppressed"),
        pytest.param({"reason": "manual"}, {(ANN, "globex"), (DAN, "acme")}, id="reason"),
        pytest.param({"address": " ANN@example.com "}, {(ANN, "*"), (ANN, "globex")}, id="an address in other letters"),
        pytest.param({"address": "+1 (415) 555-0100"}, {(PHONE, "*")}, id="a number with its brackets"),
        pytest.param({"address": " 14155550100"}, {(PHONE, "*")}, id="a number whose + was not escaped"),
        pytest.param({"scope": "nobody"}, set(), id="a scope without a row"),
    ],
)
async def test_a_filter_keeps_what_it_says(store: Store, query: dict[str, str], seen: set[tuple[str, str]]) -> None:
    assert await keys(store, "*", **query) == seen


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("account", "evidence"),
    [
        pytest.param("acme", [ACMES], id="acme's bounce"),
        pytest.param("globex", [GLOBEXES], id="globex's bounce"),
        pytest.param("*", [ACMES, GLOBEXES, COMMAND], id="all, for who may see all"),
    ],
)
async def test_an_account_sees_only_its_own_evidence(store: Store, account: str, evidence: list[str]) -> None:
    items = (await get(store, "suppressions", account, account=account, address=ANN, scope="*")).json()["items"]
    [item] = items
    assert (item["reason"], item["evidence"]) == ("bounces", evidence)
    whole = (await get(store, f"suppressions/email/{ANN}", account)).json()
    assert [row["evidence"] for row in (*whole["scopes"], *whole["history"]) if row["scope"] == "*"] == [evidence] * 2
    assert {event["event_id"] for event in whole["evidence"]} == set(evidence) - {COMMAND}


@pytest.mark.clickhouse
async def test_an_item_has_the_columns_of_the_view(store: Store) -> None:
    [item] = (await get(store, "suppressions", "acme", scope="acme")).json()["items"]
    assert item == {
        "channel": "email",
        "address": DAN,
        "scope": "acme",
        "suppressed": True,
        "reason": "manual",
        "since": rfc3339(NOW_US),
        "released_at": None,
        "actor": "",
        "evidence": [COMMAND],
    }


@pytest.mark.clickhouse
@pytest.mark.parametrize(("account", "actor"), [("*", "jo"), ("acme", None)])
async def test_the_actor_of_a_platform_wide_release_is_shown_to_tokens_of_all_accounts(
    store: Store, account: str, actor: str | None
) -> None:
    whole = (await get(store, f"suppressions/email/{DAN}", account)).json()
    assert next((row["actor"] for row in whole["scopes"] if row["scope"] == "*"), None) == actor


@pytest.mark.clickhouse
async def test_one_address_has_its_scopes_its_history_and_its_evidence(store: Store) -> None:
    whole = (await get(store, f"suppressions/email/{DAN.upper()}", "*")).json()
    assert (whole["channel"], whole["address"]) == ("email", DAN)
    assert [(row["scope"], row["suppressed"]) for row in whole["scopes"]] == [("*", False), ("acme", True)]
    changes = [(row["scope"], row["suppressed"], row["changed_at"]) for row in whole["history"]]
    first, second = rfc3339(NOW_US + 1), rfc3339(NOW_US + 2)
    assert changes == [("*", True, first), ("*", False, second), ("acme", True, second)]
    [event] = (await get(store, f"suppressions/sms/{PHONE}", "globex")).json()["evidence"]
    assert (event["account_id"], event["type"], event["provider"]) == ("globex", "bounced", "twilio")


@pytest.mark.clickhouse
@pytest.mark.parametrize("channel", ["email", "sms"])
async def test_what_may_not_be_seen_is_answered_like_what_does_not_exist(store: Store, channel: str) -> None:
    there, nowhere = (BOB, "nobody@example.com") if channel == "email" else (PHONE, "+14155550199")
    answers = [await get(store, f"suppressions/{channel}/{address}", "acme") for address in (there, nowhere)]
    assert [(answer.status_code, answer.json()["detail"]) for answer in answers] == [
        (404, "Nothing is known of this address")
    ] * 2


@pytest.mark.parametrize("path", ["suppressions", "suppressions/export", "bounces", "bounces/export"])
async def test_another_account_answers_as_one_that_does_not_exist(path: str) -> None:
    names = ["account", *(["scope"] if path.startswith("suppressions") else [])]
    for name in names:
        there, nowhere = [await get(None, path, "acme", **{name: other}) for other in ("globex", "nobody")]
        assert (there.status_code, without_request_id(there)) == (404, without_request_id(nowhere))


@pytest.mark.parametrize(
    ("path", "query"),
    [
        *(
            (path, query)
            for path in ("suppressions", "bounces")
            for query in (
                {"limit": 0},
                {"limit": 501},
                {"address": "ann"},
                {"address": PHONE, "channel": "email"},
                {"address": ""},
                {"channel": "fax"},
                {"suppressed": "maybe"},
                {"cursor": "x"},
                {"cursor": "W10"},
                {"cursor": "é"},
                {"cursor": ""},
                {"addres": ANN},
                {"address": "x" * 309 + "@example.com"},
                {"address": f"{ANN}\n"},
                {"address": "+1415\n5550100"},
                {"address": f"{ANN}\0"},
                {"address": [ANN, BOB]},
                {"limit": [5, 6]},
                {"account": ["acme", "acme"]},
                {"channel": ["email", "email"]},
            )
        ),
        ("suppressions", {"reason": "because"}),
        ("suppressions/export", {"format": "xlsx"}),
        ("suppressions/export", {"limit": 5}),
        ("suppressions/fax/ann@example.com", {}),
        ("suppressions/email/ann", {}),
        ("suppressions/sms/ann@example.com", {}),
        ("bounces", {"from": "yesterday"}),
        ("bounces", {"to": "2026-13-01"}),
        ("bounces", {"order": "random"}),
        ("bounces", {"from": "2026-11-24T10:00:00+99:99"}),
        ("bounces", {"from": "2026-11-25", "to": "2026-11-24T23:59:59Z"}),
        ("bounces/export", {"from": "2026-11-25", "to": "2026-11-24"}),
        ("bounces/export", {"format": "xlsx"}),
    ],
)
async def test_an_invalid_parameter_is_400(path: str, query: dict[str, Any]) -> None:
    answer = await get(None, path, "acme", **query)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("path", ["messages", "bounces", "bounces/export", "suppressions", "suppressions/export"])
@pytest.mark.parametrize("accounts", [["*"], ["acme", "globex"]])
async def test_a_token_of_several_accounts_must_name_one_of_them(path: str, accounts: list[str]) -> None:
    answer = await get(None, path, *accounts)
    assert (answer.status_code, answer.json()["code"]) == (400, "account-required")


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("path", "query", "other"),
    [
        pytest.param("suppressions", {}, {"channel": "email"}, id="another channel"),
        pytest.param("suppressions", {"reason": "bounces"}, {}, id="no reason"),
        pytest.param("suppressions", {}, {"account": "acme"}, id="another account"),
        pytest.param("bounces", {}, {"order": "oldest"}, id="another order"),
        pytest.param("bounces", {}, {"from": "2026-11-24"}, id="another time"),
        pytest.param("bounces", {"channel": "email"}, {"channel": "sms"}, id="bounces of another channel"),
        pytest.param("messages", {}, {"status": "Bounced"}, id="another status"),
        pytest.param("messages", {}, {"address": ANN}, id="another address"),
    ],
)
async def test_a_cursor_of_other_filters_is_refused(
    store: Store, path: str, query: dict[str, Any], other: dict[str, Any]
) -> None:
    asked = {"account": "*", "limit": 1} | query
    cursor = (await get(store, path, "*", **asked)).json()["next"]
    assert (await get(store, path, "*", **asked, cursor=cursor)).status_code == 200
    assert (await get(store, path, "*", **asked | {"limit": 2}, cursor=cursor)).status_code == 200
    answer = await get(store, path, "*", **{"account": "*"} | other, cursor=cursor)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-cursor")


@pytest.mark.clickhouse
@pytest.mark.parametrize("path", ["messages", "bounces"])
async def test_a_period_that_begins_when_it_ends_is_empty(store: Store, path: str) -> None:
    answer = await get(store, path, "acme", **{"from": "2026-11-24", "to": "2026-11-24"})
    assert (answer.status_code, answer.json()["items"]) == (200, [])


@pytest.mark.parametrize("path", ["suppressions/export", "bounces/export"])
async def test_a_file_that_can_not_be_read_is_a_problem(path: str) -> None:
    answer = await get(None, path, "acme")
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("path", "query"),
    [("suppressions", {}), ("bounces", {"order": "newest"}), ("bounces", {"order": "oldest"})],
)
async def test_pages_neither_repeat_nor_skip_a_row(store: Store, path: str, query: dict[str, Any]) -> None:
    whole = (await get(store, path, "*", account="*", **query)).json()
    seen: list[Any] = []
    page: dict[str, Any] = {"next": None}
    while True:
        after = {"cursor": page["next"]} if page["next"] else {}
        page = (await get(store, path, "*", account="*", limit=1, **after, **query)).json()
        seen += page["items"]
        if page["next"] is None:
            break
    assert (seen, whole["next"]) == (whole["items"], None)
    assert len(seen) == (len(EVERYTHING) if path == "suppressions" else 4)


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("account", "query", "found"),
    [
        pytest.param("acme", {}, [("acme", EVE, 2), ("acme", ANN, 1)], id="newest first"),
        pytest.param("acme", {"order": "oldest"}, [("acme", ANN, 1), ("acme", EVE, 2)], id="oldest first"),
        pytest.param("globex", {"channel": "sms"}, [("globex", PHONE, 1)], id="channel"),
        pytest.param("*", {"address": "Ann@example.com"}, [("globex", ANN, 1), ("acme", ANN, 1)], id="address"),
        pytest.param("acme", {"suppressed": "true"}, [("acme", ANN, 1)], id="suppressed"),
        pytest.param("acme", {"suppressed": "false"}, [("acme", EVE, 2)], id="not suppressed"),
        pytest.param("acme", {"from": rfc3339(NOW_US + 4_000_000)}, [("acme", EVE, 2)], id="from is included"),
        pytest.param("acme", {"to": rfc3339(NOW_US + 4_000_000)}, [("acme", ANN, 1)], id="to is not"),
        pytest.param("initech", {}, [], id="who has none"),
        pytest.param("globex", {"from": "9999-12-31"}, [], id="never"),
        pytest.param(
            "acme", {"from": "1970-01-01", "to": "9999-12-31"}, [("acme", EVE, 2), ("acme", ANN, 1)], id="ever"
        ),
    ],
)
async def test_bounces_are_those_of_the_account_and_the_filters(
    store: Store, account: str, query: dict[str, str], found: list[tuple[str, str, int]]
) -> None:
    token = "*" if account == "*" else account
    items = (await get(store, "bounces", token, account=account, **query)).json()["items"]
    assert [(item["account_id"], item["address"], item["bounces"]) for item in items] == found


@pytest.mark.clickhouse
@pytest.mark.parametrize(("path", "account"), [("suppressions", "acme"), ("bounces", "globex")])
async def test_a_file_has_the_rows_of_the_list(store: Store, path: str, account: str) -> None:
    items = (await get(store, path, account)).json()["items"]
    lines = await get(store, f"{path}/export", account, format="ndjson")
    assert [orjson.loads(line) for line in lines.content.splitlines()] == items
    table = await get(store, f"{path}/export", account)
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert table.headers["content-disposition"] == f'attachment; filename="{path}.csv"'
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [list(row) for row in rows] == [list(item) for item in items]
    assert [row["address"] for row in rows] == [item["address"] for item in items]


@pytest.mark.clickhouse
async def test_a_formula_is_escaped_in_csv_and_unchanged_in_ndjson(store: Store) -> None:
    table = await get(store, "bounces/export", "globex", address=ANN)
    assert [row["last_reason"] for row in csv.DictReader(io.StringIO(table.text))] == [f"'{FORMULA}"]
    lines = await get(store, "bounces/export", "globex", address=ANN, format="ndjson")
    assert orjson.loads(lines.content)["last_reason"] == FORMULA


@pytest.mark.clickhouse
@pytest.mark.parametrize("path", ["suppressions", "bounces"])
async def test_a_file_without_a_row_has_its_head(store: Store, path: str) -> None:
    table = await get(store, f"{path}/export", "initech")
    assert table.text.count("\r\n") == 1
    assert (await get(store, f"{path}/export", "initech", format="ndjson")).content == b""
