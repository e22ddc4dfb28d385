"""The commands of `sendledger`, one file per noun. Imports that cost time are inside each command."""
