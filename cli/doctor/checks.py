"""A check: what was looked at, how it is, and the mend where it is not right."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["CONFIGURATION", "DOWN", "WRONG", "Check", "State", "exit_code", "fail", "ok", "unknown", "warn"]

WRONG: Final = 1
CONFIGURATION: Final = 3
DOWN: Final = 4


class State(StrEnum):
    """How it is. A warning is worth a look, and no reason to wake anybody."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `name` is stable, for programs; a failure's `code` says what kind it is, in exit codes."""

    name: str
    state: State
    what: str
    mend: str = ""
    code: int = 0

    def as_json(self) -> dict[str, str]:
        """Return what `--json` shows of it."""
        return {"name": self.name, "state": self.state.value, "what": self.what, "mend": self.mend}


def ok(name: str, what: str) -> Check:
    """Return a check that found all right."""
    return Check(name, State.OK, what)


def warn(name: str, what: str, mend: str) -> Check:
    """Return a check that found something worth a look."""
    return Check(name, State.WARN, what, mend)


def unknown(name: str, why: str) -> Check:
    """Return a check that could not be made, because of what another one says with its mend."""
    return Check(name, State.WARN, f"not looked at: {why}")


def fail(name: str, what: str, mend: str, code: int = WRONG) -> Check:
    """Return a check that found something wrong."""
    return Check(name, State.FAIL, what, mend, code)


def exit_code(checks: Iterable[Check]) -> int:
    """Return 0, or the worst that was found: configuration before a dependency that is down before anything else."""
    codes = {check.code for check in checks}
    return next((code for code in (CONFIGURATION, DOWN, WRONG) if code in codes), 0)
