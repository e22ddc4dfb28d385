"""The Faust apps and their agents."""
