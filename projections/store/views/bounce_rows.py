"""The SQL of the rows of `bounced_emails` and `bounced_messages`. Views and queries are built from it.

In:  the tables `bounces` and `message_state`, and the view `suppressions`. Out: SQL text, without values from outside.
"""
# ruff: noqa: S608 - all of it is our own text

from typing import Final

from projections.store.views import kept
from projections.store.views.message_rows import bounced_rows, fact_sql

__all__ = ["messages", "rows"]


def rows(within: str = "", *, complete: bool = True) -> str:
    """Return the query of all columns. `within` is a condition on `account_id`.

    ClickHouse does not push a condition of an outer query down into the subqueries that read the messages. If not
    `complete`, the columns `recipient_id` and `suppressed` are left out, which take as long as all others together;
    `recipient_of` is then the id of the message that has the recipient, or all zeros.
    """
    where = f" AND ({within})" if within else ""
    suppressed = """,
            ((b.channel, b.to, '*') IN (SELECT channel, address, scope FROM suppressions WHERE suppressed)
                OR (b.channel, b.to, b.account_id) IN
                    (SELECT channel, address, scope FROM suppressions WHERE suppressed))::Bool AS suppressed"""
    return f"""
        SELECT
            b.account_id AS account_id,
            b.channel AS channel,
            b.to AS address,
            b.bounces AS bounces,
            b.first_bounced_at AS first_bounced_at,
            b.last_bounced_at AS last_bounced_at,
            b.last_reason AS last_reason,
            b.last_code AS last_code,
            b.last_classification AS last_classification,
            b.last_fault AS last_fault,
            b.recipient_kind AS recipient_kind,
            {"b.recipient_id AS recipient_id" if complete else "b.recipient_of AS recipient_of"},
            b.last_email_id AS last_email_id{suppressed if complete else ""}
        FROM
        (
            SELECT
                e.account_id AS account_id,
                -- An SMS has no CC: every event of it is about the To, however the number is written.
                if(m.channel = 'sms', 'sms', toString(e.channel)) AS channel,
                if((e.address = '') OR (m.channel = 'sms'), m.to_key, e.address) AS to,
                uniqExact(e.message_id) AS bounces,
                min(e.occurred_at) AS first_bounced_at,
                max(e.occurred_at) AS last_bounced_at,
                argMax((e.reason, e.code, e.classification, e.fault, e.message_id),
                    (e.occurred_at, e.event_id)) AS last,
                tupleElement(last, 1) AS last_reason,
                toString(tupleElement(last, 2)) AS last_code,
                toString(tupleElement(last, 3)) AS last_classification,
                toString(tupleElement(last, 4)) AS last_fault,
                tupleElement(last, 5) AS last_email_id,
                -- The recipient belongs to the To. The recipient of an address that is only a CC is unknown.
                argMax((m.recipient_kind, {"m.recipient_id" if complete else "e.message_id"}),
                    (m.to_key = to, e.occurred_at, e.event_id)) AS of_to,
                max(m.to_key = to) AS is_a_to,
                if(is_a_to, tupleElement(of_to, 1), '') AS recipient_kind,
                {"if(is_a_to, tupleElement(of_to, 2), '') AS recipient_id" if complete else _RECIPIENT_OF}
            FROM (SELECT * FROM bounces FINAL WHERE (link != 'withdrawn') AND {kept.of_message()}{where}) AS e
            LEFT JOIN
            (
                {_facts_of_messages(within, complete=complete)}
            ) AS m ON (e.account_id = m.account_id) AND (e.message_id = m.message_id)
            GROUP BY account_id, channel, to
        ) AS b
        WHERE b.to != ''
    """


def _facts_of_messages(within: str, *, complete: bool) -> str:
    """Return the query of the channel, To and recipient of each message with a bounce."""
    of_accounts, where = (f" WHERE ({within})", f" AND ({within})") if within else ("", "")
    return f"""SELECT
                    t.account_id AS account_id, t.message_id AS message_id,
                    {fact_sql("channel")} AS channel,
                    {fact_sql("to_key")} AS to_key,
                    {fact_sql("recipient_kind")} AS recipient_kind
                    {f", {fact_sql('recipient_id')} AS recipient_id" if complete else ""}
                FROM message_state AS t
                -- By id alone, which is four times as fast as by full key. A message of another account with the same
                -- id joins no bounce.
                PREWHERE t.message_id IN (SELECT message_id FROM bounces{of_accounts}){where}
                GROUP BY t.account_id, t.message_id"""


_RECIPIENT_OF: Final = (
    "if(is_a_to, tupleElement(of_to, 2), toUUID('00000000-0000-0000-0000-000000000000')) AS recipient_of"
)


def messages() -> str:
    """Return the query of the Bounced messages, with the values of the winning event.

    The winning event of a Bounced message is a bounce, so no other events are read. A condition on `date_sent` is
    pushed down to the state.
    """
    return f"""
        SELECT
            s.account_id AS account_id,
            s.email_id AS email_id,
            s.date_sent AS date_sent,
            any(s.channel) AS channel,
            any(s.to_domain) AS to_domain,
            argMin((b.sub_status, b.code, b.enhanced_code, b.classification, b.fault, b.reason),
                (indexOf(['bounced', 'blocked', 'failed'], b.type), b.code = '', b.occurred_at, b.event_id)) AS winner,
            toString(tupleElement(winner, 1)) AS sub_status,
            toString(tupleElement(winner, 2)) AS code,
            toString(tupleElement(winner, 3)) AS enhanced_code,
            toString(tupleElement(winner, 4)) AS classification,
            toString(tupleElement(winner, 5)) AS fault,
            tupleElement(winner, 6) AS reason
        FROM ({bounced_rows()}) AS s
        INNER JOIN (SELECT * FROM bounces FINAL WHERE link != 'withdrawn') AS b
        ON (s.account_id = b.account_id) AND (s.email_id = b.message_id)
        WHERE (b.address = '') OR (s.to_hash = 0) OR (b.address = s.to_key)
        GROUP BY s.account_id, s.date_sent, s.email_id
    """
