"""Rows of a sequence: take, write, append, join, repeat."""
