"""Golden cases of every provider, and the published vectors of event ids. tests/golden/README.md says what they are."""

from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.events import Parsed
from schemas.providers import ADAPTERS
from tests.golden.rewrite import HERE, cases, expectation_of, expected_path, place_of


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.parent.name}/{case.stem}")
def test_golden(case: Path) -> None:
    assert expectation_of(case) == orjson.loads(expected_path(case).read_bytes())


def test_every_expectation_belongs_to_a_case() -> None:
    belonging = {expected_path(case) for case in cases()}
    assert {path for provider in ADAPTERS for path in (HERE / provider).glob("*.expected.json")} == belonging


@pytest.mark.parametrize("provider", ADAPTERS)
def test_every_provider_has_cases(provider: str) -> None:
    assert any(case.parent.name == provider for case in cases())


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.parent.name}/{case.stem}")
def test_reading_again_gives_the_same(case: Path) -> None:
    def read() -> Parsed:
        return ADAPTERS[case.parent.name](case.read_bytes(), place_of(case))

    assert read() == read()


VECTORS = [
    pytest.param(provider, row, id=f"{provider}: {row['case']}")
    for provider, rows in orjson.loads((HERE / "event_ids.json").read_bytes()).items()
    for row in rows
]


@pytest.mark.parametrize(("provider", "row"), VECTORS)
def test_event_id_is_the_hash_of_the_natural_key(provider: str, row: dict[str, Any]) -> None:
    """The natural key is hashed as the JSON text that the vector shows: whoever can hash can make our ids."""
    assert blake2b(row["natural_key"].encode(), digest_size=16).hexdigest() == row["event_id"]


@pytest.mark.parametrize(("provider", "row"), VECTORS)
def test_event_id_of_a_committed_vector_never_changes(provider: str, row: dict[str, Any]) -> None:
    place = place_of(HERE / provider / "vector.json")
    (event,) = ADAPTERS[provider](row["body"].encode(), place).events
    assert event.event_id == row["event_id"]
