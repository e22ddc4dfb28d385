"""Numbered SQL, applied by `sendledger migrate`."""
