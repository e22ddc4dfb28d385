-- One row per account, month of Date Sent and projection: how many rows it has, and the sum of their 64-bit hashes. Sums
-- do not depend on the order in which rows were written or merged. Different sums mean different rows; that a difference
-- leaves the sum equal by chance is as likely as 1 in 2^64. Suppressions have their scope as the account, and the month
-- since when they apply.
CREATE OR REPLACE VIEW projection_hashes AS
SELECT account_id, month, projection, count() AS rows, lower(hex(sum(row_hash))) AS hash
FROM
(
    SELECT account_id, toStartOfMonth(date_sent) AS month, 'messages' AS projection, cityHash64(tuple(*)) AS row_hash
    FROM messages
    UNION ALL
    SELECT account_id, toStartOfMonth(sent_at), 'events', cityHash64(tuple(*))
    FROM events FINAL
    WHERE (link != 'withdrawn') AND (sent_at >= (SELECT since FROM kept))
    UNION ALL
    SELECT account_id, toStartOfMonth(UUIDv7ToDateTime(message_id, 'UTC')), 'bounces', cityHash64(tuple(*))
    FROM bounces FINAL
    WHERE (link != 'withdrawn') AND (UUIDv7ToDateTime(message_id, 'UTC') >= (SELECT since FROM kept))
    UNION ALL
    SELECT account_id, toStartOfMonth(sent_at), 'contents', cityHash64(tuple(*))
    FROM contents FINAL
    WHERE sent_at >= (SELECT since FROM kept)
    UNION ALL
    SELECT scope, toStartOfMonth(since), 'suppressions', cityHash64(tuple(*))
    FROM suppressions
)
GROUP BY account_id, month, projection;
