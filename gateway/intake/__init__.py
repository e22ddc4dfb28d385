"""The signature checks, one for each provider: bytes and headers in, nothing or `SignatureInvalid` out.

No more is judged here: what a rightly signed body says is the ledger's business, years later too.
"""
