"""The choice of a time: the filters that each page makes of it, and the name that the page shows afterwards."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from gateway.console.links import Links
from gateway.console.query_string import period_name, pills
from gateway.console.words import NOT_DELIVERED
from tests.console.building import a_client, a_token


async def chosen(path: str, period: str) -> Links:
    """The page to which the choice redirects; ClickHouse is not asked."""
    async with a_client(token=a_token()) as client:
        answer = await client.get(f"{path}?from=2020-01-01&to=2020-01-02&channel=sms&period={period}")
    assert answer.status_code == 303
    return Links(path, parse_qsl(urlsplit(answer.headers["location"]).query))


@pytest.mark.parametrize(
    ("path", "period", "days"),
    [("/logs", "1", 1), ("/logs", "30", 30), ("/delivery", "90", 90), ("/bounces", "7", 7)],
)
async def test_a_number_of_days_ends_now(path: str, period: str, days: int) -> None:
    links = await chosen(path, period)
    assert [name for name, _ in links.filters] == ["channel", "from"]
    begins = datetime.now(UTC) - timedelta(days=days)
    assert timedelta(0) <= begins - datetime.fromisoformat(links.first("from")) < timedelta(minutes=2)


@pytest.mark.parametrize(("path", "default"), [("/logs", "7"), ("/delivery", "7"), ("/bounces", "all")])
async def test_the_time_that_a_page_shows_by_default_is_no_filter(path: str, default: str) -> None:
    assert (await chosen(path, default)).filters == [("channel", "sms")]


async def test_last_week_is_from_monday_to_sunday_and_keeps_its_name() -> None:
    links = await chosen("/logs", "week")
    begin, end = (datetime.fromisoformat(links.first(name)).replace(tzinfo=UTC) for name in ("from", "to"))
    assert (begin.isoweekday(), end - begin) == (1, timedelta(days=7))
    assert end <= datetime.now(UTC) < end + timedelta(days=7, minutes=2)
    assert period_name(links, "Last 7 days") == "Last week"


async def test_all_time_keeps_its_name() -> None:
    assert period_name(await chosen("/logs", "all"), "Last 7 days") == "All time"


def test_another_time_is_a_chosen_one_and_none_is_the_default() -> None:
    assert period_name(Links("/logs", [("from", "2020-01-01")]), "Last 7 days") == "Chosen time"
    assert period_name(Links("/logs", [("status", "Bounced")]), "Last 7 days") == "Last 7 days"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("from", "2026-11-24T09:30:00Z", "24 Nov 2026, 09:30 UTC"),
        ("to", "2026-11-24T09:30:00+02:00", "24 Nov 2026, 07:30 UTC"),
        ("from", "2026-11-24", "2026-11-24"),
        ("from", "Tomorrow", "Tomorrow"),
        ("subject", "2026-11-24T09:30:00Z", "2026-11-24T09:30:00Z"),
        ("suppressed", "true", "yes"),
    ],
)
def test_the_value_of_a_filter_is_readable(name: str, value: str, shown: str) -> None:
    assert [value for _, value, _ in pills(Links("/logs", [(name, value)]))] == [shown]


def test_not_delivered_is_one_filter_to_remove_and_a_status_has_its_name() -> None:
    filters = [("type", "News"), *(("status", status) for status in NOT_DELIVERED)]
    assert [value for _, value, _ in pills(Links("/logs", filters))] == ["Not delivered", "News"]
    assert pills(Links("/logs", filters))[0][2] == "/logs?type=News"
    assert pills(Links("/logs", [("status", "Quota_Exceeded")]))[0][1] == "Quota Exceeded"
