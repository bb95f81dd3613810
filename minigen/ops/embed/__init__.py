"""Rows of a table: from token ids to vectors."""
