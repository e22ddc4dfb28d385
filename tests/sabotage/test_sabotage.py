"""`verify` must find errors: each sabotage is switched on, and must give a difference."""

from pathlib import Path

import pytest

from tests.ledger import test_match
from tests.sabotage.pipeline import Workload, differences, make_workload
from tests.sabotage.sabotages import ACKNOWLEDGED_FIRST, SABOTAGES, WITHDRAWN_STAYS
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

SEED = 1
"""The default of `sendledger simulate`."""
MESSAGES = 2_000
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "verification.md"


@pytest.fixture(scope="module")
def workload() -> Workload:
    return make_workload(MESSAGES, SEED)


def test_unchanged_code_gives_no_difference(clickhouse_url: str, workload: Workload) -> None:
    assert differences(clickhouse_url, workload)[:10] == []


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_sabotage_gives_a_difference(
    clickhouse_url: str, workload: Workload, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    SABOTAGES[name](monkeypatch)
    assert differences(clickhouse_url, workload, acknowledged_first=name == ACKNOWLEDGED_FIRST) != []


def test_a_withdrawn_match_that_is_read_from_the_state_fails_the_test_of_matching(
    clickhouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    WITHDRAWN_STAYS(monkeypatch)
    with fresh_store(clickhouse_url) as store, pytest.raises(AssertionError, match="Bounced"):
        test_match.test_a_later_second_dispatch_moves_an_event_to_its_own_message_although_the_to_of_the_first_is_unknown(
            store
        )


@pytest.mark.parametrize("name", SABOTAGES)
def test_every_sabotage_is_in_the_docs(name: str) -> None:
    assert f"| {name} |" in PAGE.read_text(encoding="utf-8")
