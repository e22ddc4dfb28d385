"""Policies and preferences, which are replaced completely; and which accounts a token sees."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import orjson
import pytest

from projections.accounts.columns import PolicyRow, PreferenceRow, policies_table, preferences_table
from projections.messages.columns import events_table, state_table
from projections.store import Store
from schemas.decoding.gate_inputs import decode_policy, decode_preference
from schemas.decoding.ids import uuid7
from schemas.decoding.times import DAY_US, rfc3339, rfc3339_us
from schemas.policies import AccountPolicy, RecipientPreference
from tests.building import a_request, a_source_position, an_event
from tests.fakes import FakeKafka
from tests.gateway.building import NOW_US, a_caller, a_token, records
from tests.stores import fresh_store

POLICY = "/v1/accounts/acme/policy"
PREFERENCE = "/v1/accounts/acme/recipients/client/c-17/preference"
AT = "2026-01-02T03:04:05.000006Z"
TOO_FAR = rfc3339(NOW_US + 2 * DAY_US)
SOON = rfc3339(NOW_US + DAY_US // 24)


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka()


@pytest.fixture
async def client(kafka: FakeKafka) -> AsyncIterator[httpx.AsyncClient]:
    async with a_caller(kafka, a_token("*", role="operator", subject="jo")) as made:
        yield made


async def test_a_policy_is_written_completely_and_returned(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    said = {"trial_started_at": "2026-01-01T00:00:00Z", "disabled_templates": ["t1"], "updated_at": AT}
    answer = await client.put(POLICY, json=said)
    whole = {
        "account_id": "acme",
        "trial_started_at": "2026-01-01T00:00:00Z",
        "trial_days": 14,
        "trial_email_limit": 100,
        "sms_enabled": False,
        "disabled_templates": ["t1"],
        "invitation_opt_in_enabled": False,
        "updated_at": AT,
    }
    assert (answer.status_code, answer.json()) == (202, whole)
    assert records(kafka, "accounts.policies") == [("acme", whole)]


async def test_a_preference_is_written_under_the_recipient(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    answer = await client.put(PREFERENCE, json={"declined_templates": ["newsletter"], "updated_at": AT})
    whole = {
        "account_id": "acme",
        "recipient_kind": "client",
        "recipient_id": "c-17",
        "declined_templates": ["newsletter"],
        "invitation_opted_in": False,
        "updated_at": AT,
    }
    assert (answer.status_code, answer.json()) == (202, whole)
    assert records(kafka, "recipients.preferences") == [("acme/client/c-17", whole)]


async def test_a_written_record_is_accepted_by_the_gate(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    await client.put(POLICY, json={"blocked": {"reason": "fraud", "since": AT}, "billing_entered_at": None})
    await client.put(PREFERENCE.replace("c-17", "%C3%A4%2F%20b"), json={})
    [(_, _, policy, by), (_, key, preference, _)] = kafka.sent
    AccountPolicy.model_validate_json(policy)
    RecipientPreference.model_validate_json(preference)
    assert decode_policy(policy, a_source_position(received_us=2**60)).blocked_reason == "fraud"
    assert decode_preference(preference, a_source_position(received_us=2**60)).recipient_id == "ä/ b"
    assert (key.decode(), by) == ("acme/client/ä/ b", {"actor": b"jo"})


@pytest.mark.parametrize("said", [{}, {"updated_at": None}], ids=["left out", "null"])
@pytest.mark.parametrize("path", [POLICY, PREFERENCE])
async def test_updated_at_defaults_to_now(client: httpx.AsyncClient, path: str, said: dict[str, Any]) -> None:
    updated_us = rfc3339_us((await client.put(path, json=said)).json()["updated_at"])
    assert updated_us is not None
    assert updated_us >= NOW_US


@pytest.mark.parametrize(
    ("path", "said", "field"),
    [
        pytest.param(POLICY, {"account_id": "globex"}, "account_id", id="another account than the path's"),
        pytest.param(POLICY, {"account_id": 17}, "account_id", id="a number for an account"),
        pytest.param(POLICY, {"trial_days": "14"}, "trial_days", id="a text for a number"),
        pytest.param(POLICY, {"trial_days": -1}, "trial_days", id="fewer days than none"),
        pytest.param(POLICY, {"sms_enabled": "yes"}, "sms_enabled", id="a text for yes or no"),
        pytest.param(POLICY, {"disabled_templates": "t1"}, "disabled_templates", id="a text for a list"),
        pytest.param(POLICY, {"blocked": {"reason": "fraud"}}, "blocked.since", id="blocked, but not since when"),
        pytest.param(
            POLICY, {"blocked": {"reason": "x", "since": TOO_FAR}}, "blocked.since", id="blocked too far ahead"
        ),
        pytest.param(POLICY, {"trial_started_at": "2026"}, "trial_started_at", id="no time"),
        pytest.param(POLICY, {"updated_at": TOO_FAR}, "updated_at", id="more than a day ahead"),
        pytest.param(POLICY, {"updated_at": SOON}, "updated_at", id="it would outrank what is written till then"),
        pytest.param(PREFERENCE, {"updated_at": SOON}, "updated_at", id="a preference from the future"),
        pytest.param(POLICY, {"updated_at": "2026-01-02T03:04:05+99:99"}, "updated_at", id="no offset"),
        pytest.param(POLICY, {"trial_limit": 5}, "trial_limit", id="a misspelt limit, which would reset the policy"),
        pytest.param(
            POLICY, {"blocked": {"reason": "x", "since": AT, "til": AT}}, "blocked.til", id="an unknown part of a block"
        ),
        pytest.param(PREFERENCE, {"declined_template": ["t"]}, "declined_template", id="a misspelt list"),
        pytest.param(PREFERENCE, {"declined_templates": ["t", None]}, "declined_templates.1", id="a null in a list"),
        pytest.param(PREFERENCE, {"account_id": "globex"}, "account_id", id="a preference of another account"),
        pytest.param(PREFERENCE, {"recipient_kind": "staff"}, "recipient_kind", id="of another kind"),
        pytest.param(PREFERENCE, {"recipient_id": "c-18"}, "recipient_id", id="of another recipient"),
        pytest.param(PREFERENCE, {"invitation_opted_in": 1}, "invitation_opted_in", id="a number for yes or no"),
        pytest.param(PREFERENCE.replace("c-17", "%20"), {}, "recipient_id", id="a blank recipient"),
    ],
)
async def test_a_bad_field_is_named_and_nothing_is_written(
    client: httpx.AsyncClient, kafka: FakeKafka, path: str, said: dict[str, Any], field: str
) -> None:
    answer = await client.put(path, json=said)
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field])
    assert kafka.sent == []


@pytest.mark.parametrize("path", [POLICY, PREFERENCE])
@pytest.mark.parametrize(("body", "status"), [(b"", 400), (b"[]", 422), (b"x", 400), (b" " * (1 << 21), 413)])
async def test_a_body_that_is_not_an_object_is_not_a_record(
    client: httpx.AsyncClient, path: str, body: bytes, status: int
) -> None:
    assert (await client.put(path, content=body)).status_code == status


@pytest.mark.parametrize(("path", "name"), [(POLICY, "disabled_templates"), (PREFERENCE, "declined_templates")])
async def test_an_answer_is_bounded_whatever_is_wrong(client: httpx.AsyncClient, path: str, name: str) -> None:
    answer = await client.put(path, json={name: [True] * 100_000})
    assert (answer.status_code, len(answer.json()["errors"]), len(answer.content) < 1 << 18) == (422, 100, True)


@pytest.mark.parametrize(("path", "role"), [(POLICY, "operator"), (PREFERENCE, "publisher")])
async def test_another_account_answers_as_one_that_does_not_exist(kafka: FakeKafka, path: str, role: str) -> None:
    async with a_caller(kafka, a_token("globex", role=role)) as client:
        there = await client.put(path, json={})
        nowhere = await client.put(path.replace("acme", "nobody"), json={})
        never = await client.put(path.replace("acme", "a%20b"), json={})
    assert there.status_code == nowhere.status_code == never.status_code == 404
    assert there.json()["detail"] == nowhere.json()["detail"] == never.json()["detail"]
    assert kafka.sent == []


@pytest.mark.parametrize("path", [POLICY, PREFERENCE])
async def test_without_acknowledgement_the_answer_is_503(
    client: httpx.AsyncClient, kafka: FakeKafka, path: str
) -> None:
    kafka.fails = True
    answer = await client.put(path, json={})
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)


NAMES = ("acme", "Acme-2", "globex")


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    """Two messages for each account, a second apart, the second only requested; and a platform-wide row."""
    with fresh_store(clickhouse_url) as store:
        for account in (*NAMES, "*"):
            event = an_event(account_id=account, message_id=uuid7(NOW_US - 1_000_000, b"0123456789"))
            request = a_request(account_id=account, message_id=uuid7(NOW_US, b"0123456789"))
            for _ in range(2):  # copies don't count
                store.insert("message_state", state_table(events_table([event]), requests=[request]))
        yield store


async def listed(store: Store, *accounts: str, **query: Any) -> Any:
    async with a_caller(FakeKafka(), a_token(*accounts, role="viewer"), store) as client:
        return (await client.get("/v1/accounts", params=query)).json()


def an_item(account: str) -> dict[str, Any]:
    return {"account_id": account, "messages": 2, "last_sent_at": rfc3339(NOW_US)}


@pytest.mark.clickhouse
async def test_a_token_of_all_sees_every_account_that_has_a_message(store: Store) -> None:
    assert await listed(store, "*") == {"items": [an_item(name) for name in sorted(NAMES)], "next": None}


@pytest.mark.clickhouse
async def test_another_token_sees_its_own_also_without_a_message(store: Store) -> None:
    nothing = {"account_id": "initech", "messages": 0, "last_sent_at": None}
    assert await listed(store, "initech", "globex") == {"items": [an_item("globex"), nothing], "next": None}


@pytest.mark.clickhouse
@pytest.mark.parametrize("accounts", [("*",), (*NAMES, "initech")], ids=["all", "named"])
@pytest.mark.parametrize(
    ("q", "found"),
    [
        pytest.param("ACM", ["Acme-2", "acme"], id="in any case"),
        pytest.param("x", ["globex"], id="anywhere in the id"),
        pytest.param("%", [], id="no pattern"),
        pytest.param("' OR 1=1 --", [], id="no SQL"),
    ],
)
async def test_a_part_of_the_id_finds_it(store: Store, accounts: tuple[str, ...], q: str, found: list[str]) -> None:
    assert [item["account_id"] for item in (await listed(store, *accounts, q=q))["items"]] == found


@pytest.mark.clickhouse
@pytest.mark.parametrize("accounts", [("*",), NAMES], ids=["all", "named"])
async def test_pages_neither_repeat_nor_skip_an_account(store: Store, accounts: tuple[str, ...]) -> None:
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 1}
    while True:
        page = await listed(store, *accounts, **query)
        seen += [item["account_id"] for item in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == sorted(NAMES)


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "cursor=%C3%A9", "cursor=AAAA", "cursor=", "account=acme"])
async def test_an_invalid_parameter_is_refused(query: str) -> None:
    async with a_caller(FakeKafka(), a_token("*", role="viewer")) as client:
        answer = await client.get(f"/v1/accounts?{query}")
    assert (answer.status_code, query.partition("=")[0] in orjson.loads(answer.content)["detail"]) == (400, True)


@pytest.fixture(scope="module")
def records_store(clickhouse_url: str) -> Iterator[Store]:
    """The tables with written records: two policies, the later one first; a preference with a slash in its id."""
    with fresh_store(clickhouse_url) as store:
        policies: list[dict[str, Any]] = [
            {"trial_days": 7, "updated_at": "2026-01-02T03:04:06Z", "colour": "red"},
            {"updated_at": AT},
        ]
        for said in policies:
            value = orjson.dumps({"account_id": "acme"} | said)
            stated = PolicyRow(decode_policy(value, a_source_position(received_us=2**60)), value.decode())
            store.insert("policies", policies_table([stated]))
        value = orjson.dumps(
            {"account_id": "acme", "recipient_kind": "client", "recipient_id": "c/17", "updated_at": AT}
        )
        wish = PreferenceRow(decode_preference(value, a_source_position(received_us=2**60)), value.decode())
        store.insert("preferences", preferences_table([wish]))
        yield store


async def read(store: Store, path: str, account: str, role: str = "viewer") -> httpx.Response:
    async with a_caller(FakeKafka(), a_token(account, role=role), store) as client:
        return await client.get(path)


@pytest.mark.clickhouse
@pytest.mark.parametrize(("account", "role"), [("acme", "viewer"), ("*", "operator"), ("*", "support")])
async def test_a_policy_is_read_as_it_was_written(records_store: Store, account: str, role: str) -> None:
    answer = await read(records_store, POLICY, account, role)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "account_id": "acme",
            "trial_days": 7,
            "trial_email_limit": 100,
            "sms_enabled": False,
            "disabled_templates": [],
            "invitation_opt_in_enabled": False,
            "updated_at": "2026-01-02T03:04:06Z",
        },
    )


@pytest.mark.clickhouse
@pytest.mark.parametrize(("account", "role"), [("acme", "publisher"), ("acme", "viewer"), ("*", "operator")])
async def test_a_preference_is_read_as_it_was_written(records_store: Store, account: str, role: str) -> None:
    answer = await read(records_store, PREFERENCE.replace("c-17", "c%2F17"), account, role)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "account_id": "acme",
            "recipient_kind": "client",
            "recipient_id": "c/17",
            "declined_templates": [],
            "invitation_opted_in": False,
            "updated_at": AT,
        },
    )


@pytest.mark.clickhouse
@pytest.mark.parametrize("path", [POLICY.replace("acme", "globex"), PREFERENCE])
async def test_a_record_that_was_never_written_is_404(records_store: Store, path: str) -> None:
    answer = await read(records_store, path, "*", "operator")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-record")


@pytest.mark.parametrize("path", [POLICY, PREFERENCE])
async def test_a_record_of_another_account_is_answered_like_none(path: str) -> None:
    async with a_caller(FakeKafka(), a_token("globex", role="viewer")) as client:
        there, nowhere = [await client.get(path.replace("acme", name)) for name in ("acme", "nobody")]
    assert (there.status_code, there.json()["code"]) == (404, "no-such-account")
    assert there.json()["detail"] == nowhere.json()["detail"]


async def test_a_preference_of_no_kind_of_recipient_is_a_bad_request() -> None:
    async with a_caller(FakeKafka(), a_token("acme", role="viewer")) as client:
        assert (await client.get(PREFERENCE.replace("/client/", "/friend/"))).status_code == 400


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_path_with_no_kind_of_recipient_is_refused_alike(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, PREFERENCE.replace("/client/", "/friend/"), content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-parameter")
