"""Which addresses are suppressed, why and since when. Pure, but for the queries: no clock, no Kafka, no store."""
