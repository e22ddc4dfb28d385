"""Everything on one machine: Apache Kafka, the ClickHouse endpoint, and what keeps them running."""
