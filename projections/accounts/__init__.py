"""Accounts: tables and queries."""
