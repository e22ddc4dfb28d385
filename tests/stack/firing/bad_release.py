"""A release with a bug, as a script in place of `sendledger`: what a bad deploy is.

The ledger's adapter for SendGrid fails on events with a `category`, the gateway's delivery statistics fail always, and
the gate waits forever when it decides.
"""

import sys
import threading
from typing import Any
from unittest import mock

from cli.main import main
from gateway.api import stats
from projections.decisions.account import Accounts
from schemas.providers import sendgrid

_event = sendgrid._event


def _buggy_event(rest: dict[str, Any], *more: Any) -> Any:
    if "category" in rest:
        raise AttributeError("'NoneType' object has no attribute 'lower'")
    return _event(rest, *more)


def _buggy_counts(*_: object) -> Any:
    raise ZeroDivisionError


def _buggy_decision(*_: object, **__: object) -> Any:
    threading.Event().wait()


if __name__ == "__main__":
    mock.patch.object(sendgrid, "_event", _buggy_event).start()
    mock.patch.object(stats, "rates_of", _buggy_counts).start()
    mock.patch.object(Accounts, "decide", _buggy_decision).start()
    sys.exit(main())  # type: ignore[func-returns-value]  # as the installed script does
