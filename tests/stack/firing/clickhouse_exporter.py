"""The metrics of clickhouse-server's exporter that alerts need, read from the local endpoint at each scrape.

The endpoint runs ClickHouse's engine without a server, so it lacks the exporter. The values are the engine's own, from
its system tables, under the exporter's names.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Final

import httpx

from tests.http_server import serving

__all__ = ["clickhouse_exporter"]

_WITHIN_SECONDS: Final = 0.9
_SQL: Final = """
SELECT 'ClickHouseAsyncMetrics_DiskAvailable_default' AS name, toFloat64(free_space) AS value
FROM system.disks WHERE name = 'default'
UNION ALL
SELECT 'ClickHouseAsyncMetrics_DiskTotal_default', toFloat64(total_space) FROM system.disks WHERE name = 'default'
UNION ALL
SELECT 'ClickHouseAsyncMetrics_MaxPartCountForPartition', toFloat64(max(parts)) FROM
  (SELECT count() AS parts FROM system.parts WHERE active GROUP BY database, table, partition)
UNION ALL
SELECT 'ClickHouseMetrics_MemoryTracking', toFloat64(value) FROM system.metrics WHERE metric = 'MemoryTracking'
FORMAT TSV
"""


@contextmanager
def clickhouse_exporter(url: str) -> Iterator[int]:
    """Yield the port of the metrics of the endpoint at `url`."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                answer = httpx.post(url, content=_SQL, timeout=_WITHIN_SECONDS, trust_env=False).raise_for_status()
            except httpx.HTTPError:
                self._answer(503, "")
            else:
                self._answer(200, "".join(line.replace("\t", " ") + "\n" for line in answer.text.splitlines()))

        def _answer(self, status: int, text: str) -> None:
            with suppress(ConnectionError):  # Prometheus has not waited for it
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(text.encode())

    with serving(Answer) as port:
        yield port
