"""The accounts: the queries over them."""
