"""`python -m deploy.grafana` writes the dashboards as JSON."""

from deploy.grafana.dashboards import DASHBOARDS, FOLDER
from deploy.grafana.panels import dashboard_text

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for dashboard in DASHBOARDS:
        (FOLDER / f"{dashboard.uid}.json").write_text(dashboard_text(dashboard), encoding="utf-8")
