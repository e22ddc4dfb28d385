"""`sendledger status`: the filters of the API, and invalid ones."""

from pathlib import Path
from typing import Any, cast

import pytest

from cli import message_list
from cli.message_list import MessageOptions, follow_messages, message_rows
from projections.messages.filters import Filter
from projections.store import Store
from schemas.errors import RequestError, StoreDenied, StoreError
from tests.operating.commands import in_process

ID = "01932c1b-631b-730d-aec5-7edcf163a9d1"
SETTINGS = {"SENDLEDGER_CLICKHOUSE_URL": "http://127.0.0.1:1"}


NO_STORE = cast("Store", None)


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> "Pages":
    """Pages from the test, in place of those read from ClickHouse."""
    made = Pages()
    monkeypatch.setattr(message_list, "read_page", made)
    return made


class Pages:
    """Returns the next answer at each call, then nothing; raises an answer that is an error. Records the calls."""

    def __init__(self) -> None:
        self.left: list[list[dict[str, Any]] | StoreError] = []
        self.asked: list[Filter] = []

    def __call__(self, _store: Store, wanted: Filter, **_: Any) -> list[dict[str, Any]]:
        self.asked.append(wanted)
        answer = self.left.pop(0) if self.left else []
        if isinstance(answer, StoreError):
            raise answer
        return answer


def test_the_list_takes_the_filters_of_the_api(pages: Pages) -> None:
    asked = MessageOptions(
        "demo", ["bounced", "Quota_exceeded"], "Ann@Example.com", "2026-11-01", "2026-11-02T00:00:00Z"
    )
    assert message_rows(NO_STORE, None, asked, 20) == []
    assert pages.asked == [
        Filter(
            ["demo"],
            statuses=["Bounced", "Quota_Exceeded"],
            addresses=["ann@example.com"],
            from_us=1_793_491_200_000_000,
            to_us=1_793_577_600_000_000,
        )
    ]


def test_without_an_account_and_with_a_star_all_accounts_are_meant(pages: Pages) -> None:
    for asked in (MessageOptions(), MessageOptions("*")):
        message_rows(NO_STORE, None, asked, 20)
    assert pages.asked == [Filter(None, statuses=[], addresses=[])] * 2


@pytest.mark.parametrize(
    ("asked", "email_id", "named"),
    [
        pytest.param(MessageOptions(statuses=["Bouncd"]), None, "Bouncd", id="no status"),
        pytest.param(MessageOptions(address="ann"), None, "address", id="no address"),
        pytest.param(MessageOptions(from_="yesterday"), None, "from", id="no time"),
        pytest.param(
            MessageOptions(from_="2026-11-02", to="2026-11-01"), None, "from", id="an end before its beginning"
        ),
        pytest.param(MessageOptions("a b"), None, "a b", id="no account"),
        pytest.param(MessageOptions(statuses=["Bounced"]), ID, "Filters", id="a filter beside an Email ID"),
        pytest.param(MessageOptions(), "17", "17", id="no Email ID"),
    ],
)
def test_an_invalid_parameter_is_refused_by_name(asked: MessageOptions, email_id: str | None, named: str) -> None:
    with pytest.raises(RequestError, match=named) as refused:
        message_rows(NO_STORE, email_id, asked, 20)
    assert refused.value.mend


def a_row(number: int, status: str) -> dict[str, Any]:
    row = dict.fromkeys(("account_id", "date_sent", "type", "to_address", "sub_status", "reason"), "x")
    return row | {"email_id": f"id-{number}", "status": status}


def test_following_tells_what_is_new_or_has_changed_and_outlives_the_store(
    pages: Pages, capsys: pytest.CaptureFixture[str]
) -> None:
    pages.left = [
        [a_row(2, "Pending"), a_row(1, "Delivered")],
        StoreError("ClickHouse is away", "there", "start it"),
        [a_row(2, "Pending"), a_row(1, "Delivered")],
        [a_row(3, "Pending"), a_row(2, "Bounced"), a_row(1, "Delivered")],
    ]
    follow_messages(NO_STORE, None, MessageOptions(), 20, as_json=False, wide=False, wait=lambda: len(pages.left) > 0)
    out, err = capsys.readouterr()
    head, *lines = [line.split("\t") for line in out.splitlines()]
    at = head.index("email_id"), head.index("status")
    assert [tuple(line[n] for n in at) for line in lines] == [
        ("id-1", "Delivered"),
        ("id-2", "Pending"),
        ("id-2", "Bounced"),
        ("id-3", "Pending"),
    ]
    assert "ClickHouse is away" in err


def test_following_says_where_it_may_have_missed_some(pages: Pages, capsys: pytest.CaptureFixture[str]) -> None:
    pages.left = [[a_row(1, "Pending")], [a_row(2, "Pending")]]
    follow_messages(NO_STORE, None, MessageOptions(), 1, as_json=True, wide=False, wait=lambda: bool(pages.left))
    assert "raise --limit" in capsys.readouterr().err


def test_following_does_not_wait_for_another_password(pages: Pages) -> None:
    pages.left = [StoreDenied("ClickHouse refuses us", "there", "mend the password")]
    with pytest.raises(StoreDenied):
        follow_messages(NO_STORE, None, MessageOptions(), 20, as_json=True, wide=False, wait=lambda: False)


def test_ctrl_c_ends_the_following(pages: Pages) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    pages.left = [[a_row(1, "Pending")]]
    follow_messages(NO_STORE, None, MessageOptions(), 20, as_json=True, wide=False, wait=interrupted)


@pytest.mark.parametrize("words", [["--limit", "0"], ["--status", "Bouncd"], ["--nothing"]], ids=lambda w: w[0])
async def test_it_is_a_usage_error(words: list[str], tmp_path: Path) -> None:
    ended = await in_process("status", *words, env=SETTINGS, folder=tmp_path)
    assert (ended.code, ended.out) == (2, "")


async def test_the_version_is_printed(tmp_path: Path) -> None:
    ended = await in_process("--version", env={}, folder=tmp_path)
    name, number = ended.out.split()
    assert (ended.code, name) == (0, "sendledger")
    assert [part.isdecimal() for part in number.split(".")] == [True, True, True]
