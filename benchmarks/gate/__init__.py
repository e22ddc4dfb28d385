"""The gate: decisions a second, and how long one takes."""
