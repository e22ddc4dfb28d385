"""What the gate decides: which addresses are closed, and what may be sent. Pure: no clock, no Kafka, no store."""
