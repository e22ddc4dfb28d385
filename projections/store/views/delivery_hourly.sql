-- The number of messages by the hour of Date Sent and the other columns that dashboards group by. The status is
-- computed when the view is read.
CREATE OR REPLACE VIEW delivery_hourly AS
SELECT
    account_id,
    toStartOfHour(date_sent) AS hour,
    channel,
    template_id,
    provider,
    to_domain,
    status,
    count() AS messages
FROM message_statuses
GROUP BY account_id, hour, channel, template_id, provider, to_domain, status;
