"""What a row of `bounced_emails` is, in SQL, and of `bounced_messages`. The views are made of this, as queries are.

In:  the tables `bounces` and `message_state`, and the view `suppressions`. Out: texts of SQL, without outside values.
"""
# ruff: noqa: S608 - all of it is text of our own

from typing import Final

from projections.store.views.message_rows import bounced_rows, fact_of

__all__ = ["messages", "rows"]


def rows(within: str = "", *, complete: bool = True) -> str:
    """Return the query of all columns. `within` is a condition on `account_id`.

    A condition outside says nothing to the subqueries that find the messages of the bounces. If not `complete`, the
    columns `recipient_id` and `suppressed` are left out, which take as long as all others: `recipient_of` is the
    message that tells the recipient, or all zeros.
    """
    where = f" AND ({within})" if within else ""
    of_accounts = f" WHERE ({within})" if within else ""
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
                -- An SMS has no CC: what names it, or was matched to it, is its To's, whatever the spelling.
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
                -- The recipient is the To's: of an address that is only a CC nobody says whose it is.
                argMax((m.recipient_kind, {"m.recipient_id" if complete else "e.message_id"}),
                    (m.to_key = to, e.occurred_at, e.event_id)) AS of_to,
                max(m.to_key = to) AS is_a_to,
                if(is_a_to, tupleElement(of_to, 1), '') AS recipient_kind,
                {"if(is_a_to, tupleElement(of_to, 2), '') AS recipient_id" if complete else _RECIPIENT_OF}
            FROM (SELECT * FROM bounces FINAL WHERE (link != 'withdrawn'){where}) AS e
            LEFT JOIN
            (
                SELECT
                    t.account_id AS account_id, t.message_id AS message_id,
                    {fact_of("channel")} AS channel,
                    {fact_of("to_key")} AS to_key,
                    {fact_of("recipient_kind")} AS recipient_kind
                    {f", {fact_of('recipient_id')} AS recipient_id" if complete else ""}
                FROM message_state AS t
                -- By the id alone: another account's message with the same id finds no bounce to join. A set of ids is
                -- asked four times as fast as one of keys.
                PREWHERE t.message_id IN (SELECT message_id FROM bounces{of_accounts}){where}
                GROUP BY t.account_id, t.message_id
            ) AS m ON (e.account_id = m.account_id) AND (e.message_id = m.message_id)
            GROUP BY account_id, channel, to
        ) AS b
        WHERE b.to != ''
    """


_RECIPIENT_OF: Final = (
    "if(is_a_to, tupleElement(of_to, 2), toUUID('00000000-0000-0000-0000-000000000000')) AS recipient_of"
)


def messages() -> str:
    """Return the query of the messages that are Bounced, with what the winning event says.

    That one is a bounce: so no other events are read. A condition on `date_sent` comes to the state.
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
