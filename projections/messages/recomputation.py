"""Compare the live rows of `messages` with rows that are recomputed from the event log.

Out: a query that gives, for each message that differs, the columns and both values.
The recomputation (`recomputation.sql`) shares no code with the live rows, so a mistake in either of them shows.
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
    """Return the query of (account_id, email_id, column, live value, recomputed value), as text, for each difference.

    A message that only one side has differs in the column `account_id`. The messages are compared in `parts` parts, so
    that no query has to keep all of them in memory.
    """
    compared = ", ".join(_compared(column) for column in COLUMNS)
    recomputed = files("projections.messages").joinpath("recomputation.sql").read_text(encoding="utf-8")
    return Query(
        f"""
        SELECT account, id, tupleElement(difference, 1) AS name, tupleElement(difference, 2) AS live_value,
            tupleElement(difference, 3) AS recomputed_value
        FROM
        (
            SELECT
                if(live.account_id = '', recomputed.account_id, live.account_id) AS account,
                toString(if(live.account_id = '', recomputed.email_id, live.email_id)) AS id,
                arrayJoin(if((live.account_id = '') OR (recomputed.account_id = ''),
                    [('account_id', live.account_id, recomputed.account_id)],
                    arrayFilter(one -> tupleElement(one, 2) != tupleElement(one, 3), [{compared}]))) AS difference
            FROM
            (
                SELECT * FROM messages
                WHERE (cityHash64(account_id, email_id) % {{parts:UInt32}} = {{part:UInt32}}) AND {_HAS_EVENTS}
            ) AS live
            FULL OUTER JOIN ({recomputed}) AS recomputed
            ON (live.account_id = recomputed.account_id) AND (live.email_id = recomputed.email_id)
        )
        ORDER BY account, id LIMIT {{limit:UInt32}}
        """,  # noqa: S608 - our own text
        {"part": part, "parts": parts, "limit": limit},
    )


_HAS_EVENTS: Final = "(decided_at IS NOT NULL OR dispatched_at IS NOT NULL OR provider != '' OR to_key != '')"
"""A message of which only the content is known has a row in `messages`, and no event in the log."""


def _compared(column: str) -> str:
    return f"('{column}', ifNull(toString(live.{column}), '-'), ifNull(toString(recomputed.{column}), '-'))"
