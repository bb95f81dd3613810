"""The training loss, as a number."""
