"""Tests of the ops: every CPU kernel against its reference in float64."""
