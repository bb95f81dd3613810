"""The scan of Mamba-2: a head forgets as one, so a sequence can be cut into chunks."""
