-- A change of an address in one scope. A version states all scopes; a row is one in which something is other than before.
CREATE OR REPLACE VIEW suppression_history AS
SELECT channel, address, scope, suppressed, reason, since, released_at, actor, evidence, changed_at, version
FROM
(
    SELECT
        *,
        (suppressed, reason, since, released_at) AS said,
        lagInFrame(toNullable(version)) OVER earlier AS version_before,
        lagInFrame((suppressed, reason, since, released_at)) OVER earlier AS said_before
    FROM suppression_changes FINAL
    WINDOW earlier AS (
        PARTITION BY channel, address, scope ORDER BY version ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
WHERE (version_before IS NULL) OR (said != said_before)
    OR (ifNull(toString(tupleElement(said, 4)), '-') != ifNull(toString(tupleElement(said_before, 4)), '-'));
