-- One row per message and erasure of its contents: who erased them, when and why.
CREATE OR REPLACE VIEW content_erasures AS
SELECT account_id, message_id AS email_id, erased_at, actor, reason, erasure_id
FROM erasures FINAL;
