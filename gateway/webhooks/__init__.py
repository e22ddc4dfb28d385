"""The webhook routes. A body is stored as it came: `application.signatures` checks its signature, and the ledger
decodes its content.
"""
