"""Tests of minigen."""
