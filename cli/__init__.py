"""The `sendledger` command."""
