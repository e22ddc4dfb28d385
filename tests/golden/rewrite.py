"""The golden cases: posts of each provider, and the adapters' output. `make golden` rewrites the expectations.

A case is a body, `<provider>/<case>.json` (or another extension if the provider does not post JSON), with its
`<case>.expected.json`; and with `<case>.headers.json`, an object of name to text, if the record's headers matter.
Cases are found by their names: a new file is a new test. Blank and false values are left out of an expectation, and
so is the source position, which is the same for all; bytes are shown as text.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from schemas.decoding.times import rfc3339, rfc3339_us
from schemas.events import Event, Headers, Parsed, Rejection, SourcePosition
from schemas.providers import ADAPTERS

__all__ = ["as_headers", "cases", "expectation_of", "expected_path", "headers_of", "parsed", "shown", "source_position"]

HERE: Final = Path(__file__).parent
RECEIVED_AT: Final = "2026-11-24T09:30:00.000000Z"
_SOURCE_POSITION: Final = frozenset({"topic", "partition", "offset"})
_NOT_BODIES: Final = (".expected.json", ".headers.json")


def cases() -> list[Path]:
    """Return the bodies of all cases."""
    bodies = (path for provider in ADAPTERS for path in (HERE / provider).glob("*.*"))
    return sorted(path for path in bodies if not path.name.endswith(_NOT_BODIES))


def source_position(case: Path) -> SourcePosition:
    """Return the source position of a case's record."""
    received_us = rfc3339_us(RECEIVED_AT)
    assert received_us is not None
    return SourcePosition(f"webhooks.{case.parent.name}", 3, 1042, received_us)


def headers_of(case: Path) -> Headers:
    """Return the headers of a case's record, as Kafka gives them; none if there is no such file."""
    path = case.with_suffix(".headers.json")
    return as_headers(orjson.loads(path.read_bytes())) if path.exists() else ()


def as_headers(texts: Mapping[str, str]) -> Headers:
    """Return headers as Kafka gives them."""
    return [(name, text.encode()) for name, text in texts.items()]


def expected_path(case: Path) -> Path:
    """Return the file with the expectation of a case."""
    return case.with_suffix(".expected.json")


def parsed(case: Path) -> Parsed:
    """Return the output of the provider's adapter for a case."""
    return ADAPTERS[case.parent.name](case.read_bytes(), source_position(case), headers_of(case))


def expectation_of(case: Path) -> dict[str, Any]:
    """Return the output for a case, as its file should have it."""
    return shown(parsed(case))


def shown(output: Parsed) -> dict[str, Any]:
    """Return the output of an adapter as JSON that people can review."""
    return {
        "events": [_event(event) for event in output.events],
        "bad": [_rejection(rejection) for rejection in output.rejections],
    }


def _event(event: Event) -> dict[str, Any]:
    fields = event._asdict().items()
    said = {
        name: value for name, value in fields if value != "" and value is not False and name not in _SOURCE_POSITION
    }
    for name in ("occurred", "received"):
        said[f"{name}_at"] = rfc3339(said.pop(f"{name}_us"))
    if event.extra:
        said["extra"] = orjson.loads(event.extra)
    return said


def _rejection(rejection: Rejection) -> dict[str, Any]:
    return rejection._asdict() | {"value": rejection.value.decode("utf-8", "backslashreplace")}


def main() -> None:
    """Write every expectation that differs, and print its path."""
    for case in cases():
        path, text = expected_path(case), orjson.dumps(expectation_of(case), option=orjson.OPT_INDENT_2) + b"\n"
        if not path.exists() or path.read_bytes() != text:
            path.write_bytes(text)
            sys.stdout.write(f"wrote {path.relative_to(HERE)}\n")


if __name__ == "__main__":
    main()
