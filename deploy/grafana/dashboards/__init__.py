"""The three dashboards: one on call, one of the business, one of a single account. Their JSON is beside this file."""

from pathlib import Path
from typing import Final

from deploy.grafana.dashboards.account import ACCOUNT
from deploy.grafana.dashboards.business import BUSINESS
from deploy.grafana.dashboards.on_call import ON_CALL

__all__ = ["DASHBOARDS", "FOLDER"]

DASHBOARDS: Final = (ON_CALL, BUSINESS, ACCOUNT)
FOLDER: Final = Path(__file__).parent
