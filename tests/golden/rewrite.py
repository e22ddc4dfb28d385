"""The golden cases: what each provider posts, and what it becomes. `make golden` writes the expectations anew.

A case is a body, `<provider>/<case>.json` (or another ending, where a provider posts no JSON), beside its
`<case>.expected.json`; and beside its `<case>.headers.json`, an object of name to text, where the record's headers
say something of their own. Cases are found by their names: a new file is a new test. What is blank or false is left
out of an expectation, and so is the place in the log, which is the same for all; bytes are shown as text.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from schemas.events import Bad, Event, Headers, Parsed, Place
from schemas.providers import ADAPTERS
from schemas.times import rfc3339, rfc3339_us

__all__ = ["as_headers", "cases", "expectation_of", "expected_path", "headers_of", "parsed", "place_of", "shown"]

HERE: Final = Path(__file__).parent
RECEIVED_AT: Final = "2026-11-24T09:30:00.000000Z"
_PLACE: Final = frozenset({"topic", "partition", "offset"})
_BESIDE_A_BODY: Final = (".expected.json", ".headers.json")


def cases() -> list[Path]:
    """Return the bodies of all cases."""
    bodies = (path for provider in ADAPTERS for path in (HERE / provider).glob("*.*"))
    return sorted(path for path in bodies if not path.name.endswith(_BESIDE_A_BODY))


def place_of(case: Path) -> Place:
    """Return where the record of a case is said to stand."""
    received_us = rfc3339_us(RECEIVED_AT)
    assert received_us is not None
    return Place(f"webhooks.{case.parent.name}", 3, 1042, received_us)


def headers_of(case: Path) -> Headers:
    """Return the headers of a case's record, as Kafka gives them; none where no file says them."""
    path = case.with_suffix(".headers.json")
    return as_headers(orjson.loads(path.read_bytes())) if path.exists() else ()


def as_headers(said: Mapping[str, str]) -> Headers:
    """Return headers as Kafka gives them."""
    return [(name, text.encode()) for name, text in said.items()]


def expected_path(case: Path) -> Path:
    """Return the file that says what becomes of a case."""
    return case.with_suffix(".expected.json")


def parsed(case: Path) -> Parsed:
    """Return what the provider's adapter makes of a case."""
    return ADAPTERS[case.parent.name](case.read_bytes(), place_of(case), headers_of(case))


def expectation_of(case: Path) -> dict[str, Any]:
    """Return what becomes of a case, as its file should say it."""
    return shown(parsed(case))


def shown(said: Parsed) -> dict[str, Any]:
    """Return what an adapter gave, as JSON that people can review."""
    return {"events": [_event(event) for event in said.events], "bad": [_bad(bad) for bad in said.bad]}


def _event(event: Event) -> dict[str, Any]:
    fields = event._asdict().items()
    said = {name: value for name, value in fields if value != "" and value is not False and name not in _PLACE}
    for name in ("occurred", "received"):
        said[f"{name}_at"] = rfc3339(said.pop(f"{name}_us"))
    if event.extra:
        said["extra"] = orjson.loads(event.extra)
    return said


def _bad(bad: Bad) -> dict[str, Any]:
    return bad._asdict() | {"value": bad.value.decode("utf-8", "backslashreplace")}


def main() -> None:
    """Write every expectation that differs, and say which."""
    for case in cases():
        path, text = expected_path(case), orjson.dumps(expectation_of(case), option=orjson.OPT_INDENT_2) + b"\n"
        if not path.exists() or path.read_bytes() != text:
            path.write_bytes(text)
            sys.stdout.write(f"wrote {path.relative_to(HERE)}\n")


if __name__ == "__main__":
    main()
