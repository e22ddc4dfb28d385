-- A row a message that is Bounced, with what its winning event says: the same as in `messages`, of few columns, for
-- dashboards over many accounts.
CREATE OR REPLACE VIEW bounced_messages AS
SELECT
    account_id,
    email_id,
    date_sent,
    channel,
    to_domain,
    sub_status,
    code,
    enhanced_code,
    classification,
    fault,
    reason
FROM ({bounced_messages});
