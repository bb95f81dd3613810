"""A number times every entry."""
