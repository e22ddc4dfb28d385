-- A row a message, as message_rows.py has it.
CREATE OR REPLACE VIEW messages AS
{messages};
