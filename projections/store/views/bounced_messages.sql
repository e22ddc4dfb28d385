-- One row per Bounced message, with the values of its winning event: a few columns of `messages`, for dashboards over
-- many accounts.
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
