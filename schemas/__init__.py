"""What flows through sendledger: topics, records, events, providers, errors, metrics, settings."""
