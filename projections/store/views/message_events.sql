-- One row per event of a message. `cc`: its address is not the message's To. An SMS has no CC.
CREATE OR REPLACE VIEW message_events AS
{message_events};
