"""The programs of docs/examples, run as a reader of the how-to pages runs them."""
