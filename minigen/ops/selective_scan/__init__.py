"""The scan of Mamba-1: every channel has a state, and chooses what it remembers."""
