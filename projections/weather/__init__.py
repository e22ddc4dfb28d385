"""Provider weather: how the events of each provider arrive, and who has gone silent."""
