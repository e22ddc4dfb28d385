"""Hostile input: whatever bytes, texts, numbers, headers and keys come in, the guarantees of
`docs/explanation/hostile-input.md` hold.

strategies.py draws the input; each test module feeds it to one stage of the way: decoders, adapters, the gate's intake
and both its steps, the ledger's reading and writing, the gateway's routes.
"""
