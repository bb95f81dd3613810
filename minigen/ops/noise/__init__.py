"""Random numbers for any rows: uniform and normal."""
