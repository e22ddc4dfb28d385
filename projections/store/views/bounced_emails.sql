-- An address (To or CC) that an account had bounced, blocked or failed messages to.
CREATE OR REPLACE VIEW bounced_emails AS
{bounced_emails};
