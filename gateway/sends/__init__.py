"""`POST /v1/sends`: requests in, and the decisions about them back where the caller waits."""
