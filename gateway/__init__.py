"""The HTTP edge: webhooks in, API out."""
