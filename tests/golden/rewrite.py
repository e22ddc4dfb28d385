"""The golden cases: what each provider posts, and what it becomes. `make golden` writes the expectations anew.

A case is a body, `<provider>/<case>.json` (or another ending, where a provider posts no JSON), beside its
`<case>.expected.json`. Cases are found by their names: a new file is a new test. What is blank or false is left
out of an expectation, and so is the place in the log, which is the same for all; bytes are shown as text.
"""

import sys
from pathlib import Path
from typing import Any, Final

import orjson

from schemas.events import Bad, Event, Parsed, Place
from schemas.providers import ADAPTERS
from schemas.times import rfc3339, rfc3339_us

__all__ = ["cases", "expectation_of", "expected_path", "place_of", "shown"]

HERE: Final = Path(__file__).parent
RECEIVED_AT: Final = "2026-11-24T09:30:00.000000Z"
_PLACE: Final = frozenset({"topic", "partition", "offset"})


def cases() -> list[Path]:
    """Return the bodies of all cases."""
    bodies = (path for provider in ADAPTERS for path in (HERE / provider).glob("*.*"))
    return sorted(path for path in bodies if not path.name.endswith(".expected.json"))


def place_of(case: Path) -> Place:
    """Return where the record of a case is said to stand."""
    received_us = rfc3339_us(RECEIVED_AT)
    assert received_us is not None
    return Place(f"webhooks.{case.parent.name}", 3, 1042, received_us)


def expected_path(case: Path) -> Path:
    """Return the file that says what becomes of a case."""
    return case.with_suffix(".expected.json")


def expectation_of(case: Path) -> dict[str, Any]:
    """Return what becomes of a case, as its file should say it."""
    return shown(ADAPTERS[case.parent.name](case.read_bytes(), place_of(case)))


def shown(parsed: Parsed) -> dict[str, Any]:
    """Return what an adapter gave, as JSON that people can review."""
    return {"events": [_event(event) for event in parsed.events], "bad": [_bad(bad) for bad in parsed.bad]}


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
