-- One row per command: who suppressed, released or opted in which address, when and why.
CREATE OR REPLACE VIEW suppression_commands AS
SELECT
    at, received_at, action, channel, address, scope, sender, group, reason, note, actor, command_id,
    concat('suppressions.commands/', toString(partition), '/', toString(offset)) AS source
FROM commands FINAL;
