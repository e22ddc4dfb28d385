"""`sendledger doctor`: is every dependency right, and what is the mend where it is not.

    examine.py ─▶ settings.py     each program's settings, its keys
               ─▶ kafka.py        the cluster, its topics, who reads and how far
               ─▶ clickhouse.py   the server, the database, migrations, parts
               ─▶ gateway.py      does it answer

Each file looks at one dependency and returns `Check`s (checks.py); none is kept from speaking by another's failure.
What they say is in our own words: a server's answer may hold what must not be shown.
"""
