"""Delivery: rates with their denominators, reasons and times, limited to the accounts of the session."""

import re
from collections.abc import Iterator

import pytest

from projections.store import Store
from tests.console.building import a_client, a_token, fill, log_of
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        fill(store, log_of("acme"))
        fill(store, log_of("globex"))
        yield store


async def get(store: Store, path: str, token: str | None = None, status: int = 200) -> str:
    async with a_client(store, token or a_token("acme")) as client:
        answer = await client.get(path, follow_redirects=True)
        assert answer.status_code == status, answer.text
        return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.text))


async def test_rates_have_their_denominators(store: Store) -> None:
    page = await get(store, "/delivery")
    assert "delivered 50.0 % 5 of 10" in page
    assert "bounced 30.0 % 3 of 10" in page
    assert "not sent by us 35.3 % 6 of 17" in page
    assert "17 messages, last 7 days" in page
    assert "no such mailbox 2" in page
    assert "phone not reached 1" in page


@pytest.mark.parametrize(
    ("by", "row"),
    [("provider", "twilio 2"), ("domain", "gmial.com 1"), ("template", "Text reminder 1"), ("channel", "sms 2")],
)
async def test_the_table_has_the_chosen_groups(store: Store, by: str, row: str) -> None:
    assert f" {row} " in await get(store, f"/delivery?group_by={by}")


async def test_another_period_has_other_messages(store: Store) -> None:
    assert "18 messages" in await get(store, "/delivery?period=30")
    assert " 0 messages" in await get(store, "/delivery?from=2020-01-01&to=2020-01-02")


async def test_each_session_counts_the_messages_of_its_accounts(store: Store) -> None:
    assert "34 messages" in await get(store, "/delivery", a_token("acme", "globex"))
    await get(store, "/delivery?account=globex", status=404)


@pytest.mark.parametrize("query", ["group_by=moon", "from=yesterday", "unknown=1"])
async def test_invalid_parameters_are_refused(store: Store, query: str) -> None:
    assert query.partition("=")[0] in await get(store, f"/delivery?{query}", status=400)
