"""Suppressing, releasing and opting in: what is asked for becomes a command in the log."""
