"""Forward passes, written once, over a table of ops."""
