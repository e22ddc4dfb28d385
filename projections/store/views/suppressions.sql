-- One row per address and scope that is suppressed or released, in the newest version of the address. A version without
-- scopes has one row with an empty scope; it replaces the version before, and is not shown.
CREATE OR REPLACE VIEW suppressions AS
SELECT
    c.channel AS channel,
    c.address AS address,
    c.scope AS scope,
    c.suppressed AS suppressed,
    c.reason AS reason,
    c.since AS since,
    c.released_at AS released_at,
    c.actor AS actor,
    c.evidence AS evidence,
    c.version AS version,
    c.changed_at AS changed_at
FROM suppression_changes AS c FINAL
INNER JOIN
(
    SELECT channel, address, max(version) AS newest FROM suppression_changes GROUP BY channel, address
) AS n ON c.channel = n.channel AND c.address = n.address AND c.version = n.newest
WHERE c.scope != '';
