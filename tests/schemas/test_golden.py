"""Golden cases of every provider, and the published vectors of event ids. See tests/golden/README.md."""

from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.providers import ADAPTERS
from tests.golden.rewrite import HERE, as_headers, cases, expectation_of, expected_path, parsed, source_position


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.parent.name}/{case.stem}")
def test_golden(case: Path) -> None:
    assert expectation_of(case) == orjson.loads(expected_path(case).read_bytes())


@pytest.mark.parametrize("kind", ["expected", "headers"])
def test_every_file_beside_the_cases_belongs_to_a_case(kind: str) -> None:
    belonging = {case.with_suffix(f".{kind}.json") for case in cases()}
    assert {path for provider in ADAPTERS for path in (HERE / provider).glob(f"*.{kind}.json")} <= belonging


@pytest.mark.parametrize("provider", ADAPTERS)
def test_every_provider_has_cases(provider: str) -> None:
    assert any(case.parent.name == provider for case in cases())


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.parent.name}/{case.stem}")
def test_an_adapter_gives_the_same_events_again(case: Path) -> None:
    assert parsed(case) == parsed(case)


VECTORS = [
    pytest.param(provider, row, id=f"{provider}: {row['case']}")
    for provider, rows in orjson.loads((HERE / "event_ids.json").read_bytes()).items()
    for row in rows
]


@pytest.mark.parametrize(("provider", "row"), VECTORS)
def test_event_id_is_the_hash_of_the_natural_key(provider: str, row: dict[str, Any]) -> None:
    """The hash is of the JSON text in the vector, so that anybody can compute our ids."""
    assert blake2b(row["natural_key"].encode(), digest_size=16).hexdigest() == row["event_id"]


@pytest.mark.parametrize(("provider", "row"), VECTORS)
def test_event_id_of_a_committed_vector_never_changes(provider: str, row: dict[str, Any]) -> None:
    source = source_position(HERE / provider / "vector.json")
    (event,) = ADAPTERS[provider](row["body"].encode(), source, as_headers(row.get("headers", {}))).events
    assert event.event_id == row["event_id"]
