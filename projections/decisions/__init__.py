"""What may be sent: the rules, trials, and the state of accounts. Pure: no clock, no Kafka, no store."""
