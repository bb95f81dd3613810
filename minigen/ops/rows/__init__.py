"""Rows of a sequence: take some, write some, append some."""
