-- The record in force: the one updated last; of one moment the greater in `packed`, as the gate compares them.
CREATE TABLE IF NOT EXISTS policies
(
    account_id String,
    stated SimpleAggregateFunction(max, Tuple(updated_us Int64, packed String, record String))
)
ENGINE = AggregatingMergeTree
ORDER BY account_id;
