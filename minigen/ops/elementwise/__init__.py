"""Arithmetic entry by entry: sums, differences, multiples."""
