"""Checks of Kafka and ClickHouse: what is there, whether it is as it should be, and the mend if not.

`sendledger doctor` prints them; the page Health of the console shows them. Each file checks one dependency and returns
`Check`s (check.py). Their texts are our own: a server's error text may contain secrets.
"""
