"""`sendledger doctor`: checks every dependency, and says how to mend what is wrong.

    run.py ─▶ settings.py     each program's settings, its keys
           ─▶ gateway.py      whether it answers
           ─▶ application.checks.kafka        the cluster, its topics, consumers and their lag
           ─▶ application.checks.clickhouse   the server, the database, migrations, parts

A failure of one check does not prevent the others.
"""
