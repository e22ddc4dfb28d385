"""What a row of `bounced_emails` is, in SQL. The view is made of this, as queries are.

In:  the tables `bounces` and `message_state`, and the view `suppressions`. Out: a text of SQL, without outside values.
"""
# ruff: noqa: S608 - all of it is text of our own

from projections.store.views.message_rows import fact_of

__all__ = ["rows"]


def rows(within: str = "") -> str:
    """Return the query of all columns. `within` is a condition on `account_id`.

    A condition outside says nothing to the subqueries that find the messages of the bounces.
    """
    where = f" AND ({within})" if within else ""
    of_accounts = f" WHERE ({within})" if within else ""
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
            b.recipient_id AS recipient_id,
            b.last_email_id AS last_email_id,
            ((b.channel, b.to, '*') IN (SELECT channel, address, scope FROM suppressions WHERE suppressed)
                OR (b.channel, b.to, b.account_id) IN
                    (SELECT channel, address, scope FROM suppressions WHERE suppressed))::Bool AS suppressed
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
                argMax(e.reason, (e.occurred_at, e.event_id)) AS last_reason,
                toString(argMax(e.code, (e.occurred_at, e.event_id))) AS last_code,
                toString(argMax(e.classification, (e.occurred_at, e.event_id))) AS last_classification,
                toString(argMax(e.fault, (e.occurred_at, e.event_id))) AS last_fault,
                -- The recipient is the To's: of an address that is only a CC nobody says whose it is.
                argMax(m.recipient_kind, (m.to_key = to, e.occurred_at, e.event_id)) AS kind_of_last,
                argMax(m.recipient_id, (m.to_key = to, e.occurred_at, e.event_id)) AS id_of_last,
                max(m.to_key = to) AS is_a_to,
                if(is_a_to, kind_of_last, '') AS recipient_kind,
                if(is_a_to, id_of_last, '') AS recipient_id,
                argMax(e.message_id, (e.occurred_at, e.event_id)) AS last_email_id
            FROM (SELECT * FROM bounces FINAL WHERE (link != 'withdrawn'){where}) AS e
            LEFT JOIN
            (
                SELECT
                    t.account_id AS account_id, t.message_id AS message_id,
                    {fact_of("channel")} AS channel,
                    {fact_of("to_key")} AS to_key,
                    {fact_of("recipient_kind")} AS recipient_kind,
                    {fact_of("recipient_id")} AS recipient_id
                FROM message_state AS t
                WHERE (t.account_id, t.sent_at, t.message_id) IN
                    (SELECT x.account_id, UUIDv7ToDateTime(x.message_id, 'UTC'), x.message_id
                    FROM (SELECT account_id, message_id FROM bounces{of_accounts}) AS x)
                GROUP BY t.account_id, t.message_id
            ) AS m ON (e.account_id = m.account_id) AND (e.message_id = m.message_id)
            GROUP BY account_id, channel, to
        ) AS b
        WHERE b.to != ''
    """
