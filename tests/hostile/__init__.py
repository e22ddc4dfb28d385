"""Hostile input: the guarantees of `docs/explanation/hostile-input.md` hold for any bytes, texts, numbers, headers and
keys.

strategies.py generates the input; each test module feeds it to one stage: decoders, adapters, the gate's intake and
both of its steps, the ledger's decoding and writing, the gateway's routes.
"""
