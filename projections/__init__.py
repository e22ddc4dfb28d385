"""What is kept: pure folds, tables and queries."""
