-- A change of an address in one scope. A version states all scopes; a row is one in which something is other than before.
-- A scope that was suppressed and that the next version does not state is open from there on: that is a change, too.
CREATE OR REPLACE VIEW suppression_history AS
SELECT channel, address, scope, suppressed, reason, since, released_at, actor, evidence, changed_at, version
FROM
(
    SELECT
        *,
        (suppressed, reason, since, released_at) AS said,
        lagInFrame(toNullable(version)) OVER earlier AS version_before,
        lagInFrame((suppressed, reason, since, released_at)) OVER earlier AS said_before
    FROM
    (
        SELECT channel, address, scope, suppressed, reason, since, released_at, actor, evidence, changed_at, version
        FROM suppression_changes FINAL
        WHERE scope != ''
        UNION ALL
        SELECT
            s.channel, s.address, s.scope, false, s.reason, s.since, NULL, '', [], v.following_at, v.following
        FROM
        (
            SELECT
                channel, address, scope, suppressed, reason, since, version,
                leadInFrame(version) OVER (PARTITION BY channel, address, scope ORDER BY version
                    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS stated_again
            FROM suppression_changes FINAL
            WHERE scope != ''
        ) AS s
        INNER JOIN
        (
            SELECT
                channel, address, version,
                leadInFrame(version) OVER later AS following,
                leadInFrame(changed_at) OVER later AS following_at
            FROM
            (
                SELECT channel, address, version, max(changed_at) AS changed_at
                FROM suppression_changes GROUP BY channel, address, version
            )
            WINDOW later AS (
                PARTITION BY channel, address ORDER BY version
                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
        ) AS v ON s.channel = v.channel AND s.address = v.address AND s.version = v.version
        WHERE s.suppressed AND (v.following != 0) AND (s.stated_again != v.following)
    )
    WINDOW earlier AS (
        PARTITION BY channel, address, scope ORDER BY version ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
WHERE (version_before IS NULL) OR (said != said_before)
    OR (ifNull(toString(tupleElement(said, 4)), '-') != ifNull(toString(tupleElement(said_before, 4)), '-'));
