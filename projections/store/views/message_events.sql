-- An event of a message, once. `cc`: its address is not the message's To. An SMS has no CC, whatever the spelling.
CREATE OR REPLACE VIEW message_events AS
{message_events};
