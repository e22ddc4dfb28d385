"""Numbered migrations, applied by `sendledger migrate`."""
