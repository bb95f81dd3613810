"""GELU: a number times the chance that a normal one lies below it."""
