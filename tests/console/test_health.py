"""The page Health: what each session sees, and how it fails."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any, Final

import pytest

from processors.dead_letters import DeadLetter
from processors.kafka.topics import create_topics
from projections.messages.provider_feedback import read_provider_feedback
from projections.store import Store
from schemas.events import Rejection
from schemas.settings import TopicSettings, read
from tests.building import FakeRecord
from tests.console.building import HOSTILE, a_client, a_token, fill, log_of
from tests.fakes import FakeKafka
from tests.letters import park
from tests.metrics import a_worker, served
from tests.stores import fresh_store

OF_ALL = a_token("*", role="viewer")
PART = {"x-partial": "1"}
AWAY: Final = FakeKafka(fails=True)


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        fill(store, log_of("acme"))
        fill(store, [sent for sent in log_of("globex") if sent.to.startswith("+")])
        yield store


async def page_of(token: str, store: Store | None = None, path: str = "/health", **overrides: Any) -> tuple[int, str]:
    async with a_client(store, token, **overrides) as client:
        answer = await client.get(path, follow_redirects=True)
    return answer.status_code, unescape(answer.text)


async def test_without_kafka_and_clickhouse_the_page_says_so_and_how_to_mend_it() -> None:
    status, text = await page_of(OF_ALL, kafka=AWAY)
    assert status == 200
    assert "ClickHouse and Kafka can't be reached" in text
    for check in ("kafka", "clickhouse", "lag", "parts"):
        assert f"<td>{check}</td>" in text
    assert "To fix it: Start it, or set SENDLEDGER_KAFKA_BOOTSTRAP" in text
    assert "To fix it: Start it, or set SENDLEDGER_CLICKHOUSE_URL" in text
    assert "ClickHouse did not answer in time" in text
    assert text.count("Kafka did not answer in time") == 2


async def test_a_session_of_some_accounts_sees_whether_the_services_answer_and_no_more() -> None:
    status, text = await page_of(a_token("acme"), kafka=AWAY)
    assert status == 200
    assert "ClickHouse and Kafka can't be reached" in text
    for of_the_installation in ("127.0.0.1", "All checks", "Dead letters", "lag of group"):
        assert of_the_installation not in text


@pytest.mark.clickhouse
async def test_a_session_sees_the_providers_of_its_own_messages(store: Store) -> None:
    _, acme = await page_of(a_token("acme"), store)
    _, globex = await page_of(a_token("globex"), store)
    _, both = await page_of(a_token("acme", "globex"), store, "/health?account=globex")
    assert '<td class="to">sendgrid</td>' in acme
    assert '<td class="to">twilio</td>' in acme
    for text in (globex, both):
        assert '<td class="to">twilio</td>' in text
        assert "sendgrid" not in text


@pytest.mark.clickhouse
def test_an_event_counts_once_and_no_more_for_an_account_from_which_it_was_withdrawn(clickhouse_url: str) -> None:
    with fresh_store(clickhouse_url) as store:
        fill(store, log_of("acme")[1:2])
        copied = f"INSERT INTO {store.tables}.events SELECT * FROM {store.tables}.events WHERE provider != ''"
        [before] = read_provider_feedback(store, ["acme"])
        store.command(copied)
        assert read_provider_feedback(store, None) == [before]
        store.command(copied.replace("SELECT *", "SELECT * REPLACE ('withdrawn' AS link)"))
        assert read_provider_feedback(store, ["acme"]) == []


@pytest.mark.clickhouse
async def test_without_kafka_alone_what_clickhouse_knows_is_shown(store: Store, clickhouse_url: str) -> None:
    _, text = await page_of(
        OF_ALL, store, kafka=AWAY, clickhouse_url=clickhouse_url, clickhouse_database=store.database
    )
    assert "<h2>Kafka can't be reached</h2>" in text
    assert "<td>migrations</td>" in text
    assert "all applied, and unchanged since" in text
    assert "<dt>orphans, 24 h</dt><dd><b>0</b>" in text


async def test_the_part_that_is_read_again_is_the_content_of_the_page() -> None:
    async with a_client(None, OF_ALL, AWAY) as client:
        answers = [await client.get("/health?account=*", headers=headers) for headers in ({}, PART)]
    page, part = (re.sub("<time.*?</time>", "", answer.text) for answer in answers)
    assert part.strip().startswith("<section")
    assert part.strip() in page


@pytest.mark.parametrize(
    ("token", "status"),
    [
        pytest.param(a_token("*", role="operator"), 200, id="operator of all accounts"),
        pytest.param(a_token("acme", role="operator"), 403, id="operator of one account"),
        pytest.param(a_token("*", role="support"), 403, id="support"),
        pytest.param(a_token("*", role="viewer"), 403, id="viewer"),
    ],
)
async def test_dead_letters_are_for_operators_of_all_accounts(token: str, status: int) -> None:
    assert (await page_of(token, path="/health/dead-letters"))[0] == status


async def test_without_kafka_the_dead_letters_say_so() -> None:
    _, text = await page_of(a_token("*", role="operator"), path="/health/dead-letters?reason=record_not_json")
    assert "Kafka does not answer" in text
    assert 'href="/health/dead-letters?reason=record_not_json">Try again' in text


@pytest.mark.kafka
@pytest.mark.clickhouse
class TestOnRealServices:
    @pytest.fixture
    async def bootstrap(self, kafka_bootstrap: str) -> str:
        """Kafka with our topics, and two dead letters."""
        await create_topics(read(TopicSettings, kafka_bootstrap=kafka_bootstrap))
        record = FakeRecord("accounts.policies", b"{", key=b"k", offset=7)
        rejection = Rejection("record_not_json", HOSTILE, b"{", None)
        await park(kafka_bootstrap, [DeadLetter(record, rejection)] * 2, "gate")
        return kafka_bootstrap

    async def test_an_operator_sees_the_checks_and_the_dead_letters_by_reason(
        self, store: Store, bootstrap: str, clickhouse_url: str
    ) -> None:
        given: dict[str, Any] = {
            "kafka_bootstrap": bootstrap,
            "clickhouse_url": clickhouse_url,
            "clickhouse_database": store.database,
        }
        operator = a_token("*", role="operator")
        _, text = await page_of(operator, store, **given)
        assert "<b>workers</b>: none in group ledger; none in group gate" in text
        assert "<td>topics.exist</td>" in text
        assert "lag of group ledger" in text
        assert 'href="/health/dead-letters?reason=record_not_json">record not json</a>' in text
        _, viewed = await page_of(OF_ALL, store, **given)
        assert "record not json" in viewed
        assert "/health/dead-letters" not in viewed
        async with a_client(store, operator, **given) as client:
            letters = (await client.get("/health/dead-letters?reason=record_not_json")).text
            others = (await client.get("/health/dead-letters?reason=other")).text
        assert "<code>accounts.policies/0/7</code>" in letters
        assert "<script>document" not in letters
        assert "&lt;script&gt;document" in letters
        assert "There is no open dead letter of the last 7 days for this reason" in others


@pytest.mark.clickhouse
async def test_the_page_has_the_metrics_of_the_workers_that_answer(store: Store) -> None:
    with served(a_worker(0.2, duplicates=3)) as url:
        _, text = await page_of(OF_ALL, store, worker_metrics=f"{url}, http://127.0.0.1:1/metrics")
        _, of_account = await page_of(OF_ALL, store, "/health?account=acme", worker_metrics=url)
    assert "Metrics of 1 worker; 1 did not answer." in text
    assert "2 retries since the start because ClickHouse was unavailable" in text
    assert "<dt>delay, half within</dt><dd><b>0.2 s</b>" in text
    assert "the oldest webhook of each write" in text
    assert '<td data-label="Duplicates" class="n">3</td>' in text
    assert '<td class="to">sendgrid</td>' in of_account
    assert "Duplicates" not in of_account  # the workers count for the whole installation
