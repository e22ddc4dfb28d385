-- One row per change of an address in one scope. A version contains all scopes; a row is a scope that differs from the
-- version before. A suppressed scope that is missing in the next version is released by it: that is a change, too.
CREATE OR REPLACE VIEW suppression_history AS
SELECT channel, address, scope, suppressed, reason, since, released_at, actor, evidence, changed_at, version
FROM
(
    SELECT
        *,
        (suppressed, reason, since, released_at) AS fields,
        lagInFrame(toNullable(version)) OVER earlier AS version_before,
        lagInFrame((suppressed, reason, since, released_at)) OVER earlier AS fields_before
    FROM
    (
        SELECT channel, address, scope, suppressed, reason, since, released_at, actor, evidence, changed_at, version
        FROM suppression_changes FINAL
        WHERE scope != ''
        UNION ALL
        SELECT
            s.channel, s.address, s.scope, false, s.reason, s.since, NULL, '', [], v.next_changed_at, v.next_version
        FROM
        (
            SELECT
                channel, address, scope, suppressed, reason, since, version,
                leadInFrame(version) OVER (PARTITION BY channel, address, scope ORDER BY version
                    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS next_version_of_scope
            FROM suppression_changes FINAL
            WHERE scope != ''
        ) AS s
        INNER JOIN
        (
            SELECT
                channel, address, version,
                leadInFrame(version) OVER later AS next_version,
                leadInFrame(changed_at) OVER later AS next_changed_at
            FROM
            (
                SELECT channel, address, version, max(changed_at) AS changed_at
                FROM suppression_changes GROUP BY channel, address, version
            )
            WINDOW later AS (
                PARTITION BY channel, address ORDER BY version
                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
        ) AS v ON s.channel = v.channel AND s.address = v.address AND s.version = v.version
        WHERE s.suppressed AND (v.next_version != 0) AND (s.next_version_of_scope != v.next_version)
    )
    WINDOW earlier AS (
        PARTITION BY channel, address, scope ORDER BY version ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
WHERE (version_before IS NULL) OR (fields != fields_before)
    OR (ifNull(toString(tupleElement(fields, 4)), '-') != ifNull(toString(tupleElement(fields_before, 4)), '-'));
