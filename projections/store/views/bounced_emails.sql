-- One row per address (To or CC) to which messages of an account bounced, were blocked or failed.
CREATE OR REPLACE VIEW bounced_emails AS
{bounced_emails};
