"""A check: its subject, its result, and the mend if something is wrong."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["CONFIGURATION", "DOWN", "WRONG", "Check", "State", "exit_code", "fail", "ok", "unknown", "warn"]

WRONG: Final = 1
CONFIGURATION: Final = 3
DOWN: Final = 4


class State(StrEnum):
    """The result. A warning can wait until working hours."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `name` is stable, for programs; the `code` of a failure is its exit code."""

    name: str
    state: State
    what: str
    mend: str = ""
    code: int = 0

    def as_json(self) -> dict[str, str]:
        """Return its JSON form."""
        return {"name": self.name, "state": self.state.value, "what": self.what, "mend": self.mend}


def ok(name: str, what: str) -> Check:
    """Return a passed check."""
    return Check(name, State.OK, what)


def warn(name: str, what: str, mend: str) -> Check:
    """Return a warning."""
    return Check(name, State.WARN, what, mend)


def unknown(name: str, why: str) -> Check:
    """Return a check that was skipped because another one failed."""
    return Check(name, State.WARN, f"not checked: {why}")


def fail(name: str, what: str, mend: str, code: int = WRONG) -> Check:
    """Return a failed check."""
    return Check(name, State.FAIL, what, mend, code)


def exit_code(checks: Iterable[Check]) -> int:
    """Return 0, or the code of the worst failure: configuration, then a dependency that is down, then anything else."""
    codes = {check.code for check in checks}
    return next((code for code in (CONFIGURATION, DOWN, WRONG) if code in codes), 0)
