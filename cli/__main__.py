"""`python -m cli` is the `sendledger` command."""

from cli.main import main

main()
