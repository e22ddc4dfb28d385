-- How many messages there are, by the hour of Date Sent and by what else dashboards ask for. A status is the fold's,
-- whenever it is read.
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
