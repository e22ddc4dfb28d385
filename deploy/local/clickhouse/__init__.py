"""ClickHouse's HTTP interface over one in-process chDB engine: the local substitute for a ClickHouse server.

    python -m deploy.local.clickhouse PATH [--port 8123] [--users-file FILE]

    ASGI request ── request.py ─▶ users.py ─▶ statements.py ─▶ engine.py ─▶ chDB
                 ◀─ endpoint.py ── codecs.py ◀── answers ──────────┘

One engine per process, one process per path. Differences from a server: docs/reference/local-stack.md.
"""
