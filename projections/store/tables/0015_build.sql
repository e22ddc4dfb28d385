-- How the rows of this generation came to be: one row, written before the first of them. The first generation, which
-- the workers of a new installation fill, has none.
CREATE TABLE IF NOT EXISTS build
(
    -- Names the consumer group: a later build under the same number must not go on where this one stood.
    id String,
    -- Of what the rows were made with: the code, and the settings that decide what a row says.
    rules String,
    -- Whether the rows are only there to be compared with others. Such a generation is never shown.
    trial Bool,
    started_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY (started_at, id);
