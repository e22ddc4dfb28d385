"""The live rows of `messages` beside rows folded anew from the event log: what differs.

In:  a store. Out: for each message that differs, the columns and both values.
The fresh fold (`fresh_fold.sql`) shares no code with the live one, so a mistake of either shows.
"""

from importlib.resources import files
from typing import Final

from projections.messages.queries import Query

__all__ = ["COLUMNS", "differences"]

COLUMNS: Final = (
    *("channel", "type", "template_id", "sent_to", "recipient_id", "to_address", "to_domain", "cc_address", "subject"),
    *("status", "sub_status", "reason", "code", "enhanced_code", "classification", "date_sent", "decided_at"),
    *("dispatched_at", "processed_at", "delivered_at", "bounced_at", "opened_at", "clicked_at", "opens"),
    *("machine_opens", "clicks", "attempts", "complained", "provider", "provider_message_id", "appointment_id"),
    "anomalies",
)


def differences(part: int, parts: int, *, limit: int = 1000) -> Query:
    """Return the query of (account_id, email_id, column, live, fresh): each value that differs, as text.

    A message that only one side has differs in the column `account_id`. The messages are compared in `parts` parts, so
    that no question has to hold them all.
    """
    told = ", ".join(_told(column) for column in COLUMNS)
    fresh = files("projections.messages").joinpath("fresh_fold.sql").read_text(encoding="utf-8")
    return Query(
        f"""
        SELECT account, id, tupleElement(difference, 1) AS name, tupleElement(difference, 2) AS live_value,
            tupleElement(difference, 3) AS fresh_value
        FROM
        (
            SELECT
                if(live.account_id = '', fresh.account_id, live.account_id) AS account,
                toString(if(live.account_id = '', fresh.email_id, live.email_id)) AS id,
                arrayJoin(if((live.account_id = '') OR (fresh.account_id = ''),
                    [('account_id', live.account_id, fresh.account_id)],
                    arrayFilter(told -> tupleElement(told, 2) != tupleElement(told, 3), [{told}]))) AS difference
            FROM
            (
                SELECT * FROM messages
                WHERE (cityHash64(account_id, email_id) % {{parts:UInt32}} = {{part:UInt32}}) AND {_KNOWN_BY_EVENTS}
            ) AS live
            FULL OUTER JOIN ({fresh}) AS fresh
            ON (live.account_id = fresh.account_id) AND (live.email_id = fresh.email_id)
        )
        ORDER BY account, id LIMIT {{limit:UInt32}}
        """,  # noqa: S608 - text of our own
        {"part": part, "parts": parts, "limit": limit},
    )


_KNOWN_BY_EVENTS: Final = "(decided_at IS NOT NULL OR dispatched_at IS NOT NULL OR provider != '' OR to_key != '')"
"""A message of which only its content is known has a row, and no event."""


def _told(column: str) -> str:
    return f"('{column}', ifNull(toString(live.{column}), '-'), ifNull(toString(fresh.{column}), '-'))"
