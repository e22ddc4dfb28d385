"""Golden cases of every provider, and the published vectors of event ids. tests/golden/README.md says what they are."""

from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.providers import ADAPTERS
from tests.golden.rewrite import HERE, as_headers, cases, expectation_of, expected_path, parsed, place_of


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.parent.name}/{case.stem}")
def test_golden(case: Path) -> None:
    assert expectation_of(case) == orjson.loads(expected_path(case).read_bytes())


@pytest.mark.parametrize("kind", ["expected", "headers"])
def test_what_lies_beside_a_case_belongs_to_one(kind: str) -> None:
    belonging = {case.with_suffix(f".{kind}.json") for case in cases()}
    assert {path for provider in ADAPTERS for path in (HERE / provider).glob(f"*.{kind}.json")} <= belonging


@pytest.mark.parametrize("provider", ADAPTERS)
def test_every_provider_has_cases(provider: str) -> None:
    assert any(case.parent.name == provider for case in cases())


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.parent.name}/{case.stem}")
def test_reading_again_gives_the_same(case: Path) -> None:
    assert parsed(case) == parsed(case)


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
    (event,) = ADAPTERS[provider](row["body"].encode(), place, as_headers(row.get("headers", {}))).events
    assert event.event_id == row["event_id"]
