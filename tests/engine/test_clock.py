"""Nothing in the engine reads a clock that it was not given, so a test or a simulation can own the time."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from processors import engine
from tests.engine.building import FakeOwner, a_batch

FOLDER: Final = Path(engine.__file__).parent
READ_A_CLOCK: Final = {
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "time",
    "time_ns",
    "now",
    "utcnow",
}


def clock_readings(path: Path) -> Iterator[str]:
    """Yield the calls of the standard library's clocks in a file. A reference, as a default of `clock`, is none."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            owner, _, name = called.rpartition(".")
            if name in READ_A_CLOCK and owner in ("", "time", "datetime", "datetime.datetime"):
                yield f"{path.relative_to(FOLDER)}:{node.lineno} {called}"


def test_no_module_reads_a_clock_that_it_was_not_given() -> None:
    assert [found for path in sorted(FOLDER.rglob("*.py")) for found in clock_readings(path)] == []


@pytest.mark.parametrize("source", ["monotonic()", "time.time()", "datetime.now(UTC)", "time.perf_counter()"])
def test_the_check_finds_a_reading(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FOLDER", tmp_path)
    module = tmp_path / "module.py"
    module.write_text(f"now = {source}\n")
    assert len(list(clock_readings(module))) == 1


def test_a_batch_gets_its_time_from_the_tracker() -> None:
    owner = FakeOwner()
    owner.now = 7.0
    assert a_batch().since == 0.0
    assert owner.open(0).since == 7.0
