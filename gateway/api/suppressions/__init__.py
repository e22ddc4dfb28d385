"""Routes of suppressions: commands (suppress, release, opt in, import), lists and single addresses."""
