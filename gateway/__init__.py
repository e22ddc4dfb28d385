"""The HTTP server: webhooks, API and console."""
