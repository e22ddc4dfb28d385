"""What the pages say about a message, where the status alone would mislead."""

from typing import Any

import pytest

from gateway.console.words import of_bounce, of_row


@pytest.mark.parametrize(
    ("sub_status", "code", "short"),
    [
        ("failed", "30005", "could not be sent"),
        ("failed", "30034", "sender refused"),
        ("undelivered", "30003", "phone not reached"),
        ("undelivered", "30007", "sender refused"),
        ("failed", "30001", "carrier failed"),
        ("undelivered", "30008", "phone not reached"),
        ("failed", "", "could not be sent"),
    ],
)
def test_a_text_that_failed_by_our_fault_does_not_blame_the_number(sub_status: str, code: str, short: str) -> None:
    row = {"channel": "sms", "status": "Bounced", "sub_status": sub_status, "code": code, "attempts": 1}
    assert of_row(row).short == short


@pytest.mark.parametrize(("fault", "short"), [("sender", "sender refused"), ("recipient", "could not be sent")])
def test_the_list_of_bounces_says_the_same(fault: str, short: str) -> None:
    row: dict[str, Any] = {"channel": "sms", "last_classification": "Failed ", "last_fault": fault}
    assert of_bounce(row).short == short
