-- A row a message, of the columns of `messages` that messages are counted by, made by the same rules. They take no events,
-- so that millions are counted in a second: docs/adr/0013-what-millions-of-messages-are-counted-by.md.
CREATE OR REPLACE VIEW message_statuses AS
{counted_rows};
