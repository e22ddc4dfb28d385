"""Provider weather: how the events of each provider arrive, and which of them is silent."""
