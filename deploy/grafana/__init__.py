"""Dashboards for Grafana as code, and its provisioning. `python -m deploy.grafana` writes `dashboards/*.json`."""
