-- One row per message; message_rows.py builds the SQL.
CREATE OR REPLACE VIEW messages AS
{messages};
