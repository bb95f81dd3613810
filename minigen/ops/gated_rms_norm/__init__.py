"""Root mean square normalisation in groups, with a gate before it or behind it."""
