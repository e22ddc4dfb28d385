"""`verify` is worth its name only if it finds what is wrong: each sabotage is switched on, and must show."""

from pathlib import Path

import pytest

from tests.ledger import test_matching
from tests.sabotage.pipeline import Told, differences, tell
from tests.sabotage.sabotages import ACKNOWLEDGED_FIRST, SABOTAGES, WITHDRAWN_STAYS
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

SEED = 1
"""The default of `sendledger simulate`."""
MESSAGES = 2_000
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "verification.md"


@pytest.fixture(scope="module")
def told() -> Told:
    return tell(MESSAGES, SEED)


def test_honest_code_shows_nothing(clickhouse_url: str, told: Told) -> None:
    assert differences(clickhouse_url, told)[:10] == []


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_sabotage_shows(clickhouse_url: str, told: Told, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    SABOTAGES[name](monkeypatch)
    assert differences(clickhouse_url, told, acknowledged_first=name == ACKNOWLEDGED_FIRST) != []


def test_a_withdrawn_match_that_is_read_from_the_state_shows(
    clickhouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    WITHDRAWN_STAYS(monkeypatch)
    with fresh_store(clickhouse_url) as store, pytest.raises(AssertionError, match="Bounced"):
        test_matching.test_a_later_second_dispatch_sends_an_event_to_its_own_message_though_nobody_told_the_firsts_to(
            store
        )


@pytest.mark.parametrize("name", SABOTAGES)
def test_every_sabotage_stands_in_the_docs(name: str) -> None:
    assert f"| {name} |" in PAGE.read_text(encoding="utf-8")
