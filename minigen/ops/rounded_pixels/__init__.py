"""Pixels, rounded to the nearest."""
