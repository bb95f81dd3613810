"""Replay of what the original PyTorch code computed (see tests/golden/README.md)."""
