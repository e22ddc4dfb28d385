-- Each insert into `events` feeds these views, so each costs the ledger time: docs/reference/benchmarks.md.

-- An event that may be evidence about an address is found in `evidence`. By its own id `holders` finds only events
-- whose provider gives no id, or none of a usable length: almost none.
CREATE MATERIALIZED VIEW IF NOT EXISTS holders_of_events_without_id TO holders AS
SELECT lower(hex(event_id)) AS known_by, account_id, message_id
FROM events
WHERE (provider != '') AND (length(provider_message_id) NOT BETWEEN 1 AND 1000);
DROP VIEW IF EXISTS holders_of_events;

-- The matcher alone withdraws events, and writes this list itself.
DROP VIEW IF EXISTS withdrawn_addressees_of_events;

-- Few merges, as in `holders` and `addressees`.
ALTER TABLE arrivals MODIFY SETTING merge_selector_base = 12;
ALTER TABLE evidence MODIFY SETTING merge_selector_base = 12;
