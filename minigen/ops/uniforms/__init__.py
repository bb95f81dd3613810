"""Random numbers that are named by counters."""
