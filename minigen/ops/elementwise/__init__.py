"""Arithmetic entry by entry: sums, differences, products, roots."""
