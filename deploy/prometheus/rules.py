"""Write the alerts as a file of Prometheus' rules.

In:  `ALERTS`; the address under which the folder docs/ is published, if there is one.
Out: the text of `rules.yml`. The same input gives the same text.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy.prometheus.alerts import GROUPS, Alert

__all__ = ["RULES_FILE", "rules_text", "runbook_url"]

RULES_FILE: Final = Path(__file__).with_name("rules.yml")

_HEAD: Final = "# Made by `python -m deploy.prometheus`: change deploy/prometheus/alerts.py, not this file.\ngroups:\n"


def runbook_url(alert: Alert, docs_url: str = "docs") -> str:
    """Return the address of the alert's page; without `docs_url` its path in the repository."""
    return f"{docs_url.rstrip('/')}/how-to/{alert.runbook}.md"


def rules_text(docs_url: str = "docs", *, groups: Mapping[str, Sequence[Alert]] = GROUPS) -> str:
    """Return `rules.yml`."""
    written = (
        f"  - name: {name}\n    rules:\n" + "".join(_rule(alert, docs_url) for alert in alerts)
        for name, alerts in groups.items()
    )
    return _HEAD + "".join(written)


def _rule(alert: Alert, docs_url: str) -> str:
    expression = "".join(f"          {line}\n" for line in alert.expr.splitlines())
    annotations = {
        "summary": alert.summary,
        "description": alert.description,
        "runbook_url": runbook_url(alert, docs_url),
    }
    # A text in JSON is a quoted text in YAML, too.
    written = "".join(
        f"          {name}: {json.dumps(text, ensure_ascii=False)}\n" for name, text in annotations.items()
    )
    return (
        f"      - alert: {alert.name}\n"
        f"        expr: |\n{expression}"
        f"        for: {alert.lasting}\n"
        f"        labels:\n          severity: {alert.severity}\n"
        f"        annotations:\n{written}"
    )
