"""Adaptive layer norm: a condition scales, shifts and gates every token alike."""
