-- One row per message, with the columns of `messages` that messages are counted by, from the same rules. Reading them
-- needs no events, so millions are counted in a second: docs/adr/0013-what-millions-of-messages-are-counted-by.md.
CREATE OR REPLACE VIEW message_statuses AS
{counted_rows};
