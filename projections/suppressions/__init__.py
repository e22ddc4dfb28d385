"""Which addresses are closed, and since when."""
