"""Alerts for Prometheus, made from the catalogue of metrics (`schemas/telemetry.py`), and how they become files."""
