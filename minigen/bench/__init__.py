"""Measuring: stand-in weights of any size, this machine's ceilings, and our timings."""
