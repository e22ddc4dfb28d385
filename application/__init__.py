"""The use cases: send, suppress, release, opt in, import, set policies, handle dead letters. No HTTP, no terminal.

In:  a request as a JSON value; the principal; a Kafka producer, and a store for look-ups.
Out: records in Kafka; or RequestError, which the gateway turns into a problem and the command line into an exit code.
"""
