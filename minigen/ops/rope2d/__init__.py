"""Two-dimensional rotary positions."""
