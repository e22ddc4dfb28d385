"""One signature check per provider: bytes and headers in, nothing or `SignatureInvalid` out.

The webhook routes check each POST before it is stored; `stored.py` checks a stored one again.
"""
